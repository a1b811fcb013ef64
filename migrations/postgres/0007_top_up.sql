-- Credit that is bought automatically: the card that is kept by consent, the rule, each charge; and what makes a request
-- that costs money safe to repeat. The SQLite twin has the same tables and names.

-- How a purchase is paid: on Stripe's page, or by an automatic charge, which has a row in `top_up` of the same id and no
-- Checkout. `keeps_card`: the buyer agreed on our page that Stripe keeps the card for later charges.
alter table purchase add column origin text not null default 'checkout'
    constraint purchase_origin_known check (origin in ('checkout', 'auto_top_up'));
alter table purchase add column keeps_card bigint not null default 0
    constraint purchase_keeps_card_known check (keeps_card in (0, 1));

-- Belongs to the ledger, which writes it under the lock of the balance: a capture that leaves less than this asks whether
-- a top-up is due. Null while nobody wants to know: no rule, a rule that is paused, a charge under way.
alter table balance add column top_up_below_nanos bigint;

-- The card that may be charged without its owner being there, one for each account; gone when consent is taken back.
-- `card` names it for suspensions: the number's fingerprint and the expiry.
create table kept_card (
    account_id               text    not null,
    user_id                  text    not null,
    stripe_payment_method_id text    not null,
    card                     text    not null,
    brand                    text    not null,
    last4                    text    not null,
    exp_month                bigint not null,
    exp_year                 bigint not null,
    kept_at                  bigint not null,
    constraint kept_card_pk primary key (account_id),
    constraint kept_card_account_fk foreign key (account_id) references account (account_id),
    constraint kept_card_method_unique unique (stripe_payment_method_id)
);

-- Stripe's page on which a card is left without paying. The id was made when the form was rendered.
create table card_setup (
    card_setup_id     text    not null,
    account_id        text    not null,
    user_id           text    not null,
    state             text    not null,
    stripe_session_id text,
    created_at        bigint not null,
    ended_at          bigint,
    constraint card_setup_pk primary key (card_setup_id),
    constraint card_setup_account_fk foreign key (account_id) references account (account_id),
    constraint card_setup_session_unique unique (stripe_session_id),
    constraint card_setup_state_known check (state in ('pending', 'done', 'expired')),
    constraint card_setup_ends_once check ((state = 'pending') = (ended_at is null))
);
create index card_setup_pending on card_setup (created_at) where state = 'pending';

-- What an account agreed to, by whom, and until when. `suspended_card` is the card that a suspension is tied to.
create table top_up_rule (
    account_id       text    not null,
    user_id          text    not null,
    is_on            bigint not null,
    threshold_nanos  bigint not null,
    pack_id          text    not null,
    cap_nanos        bigint not null,
    charges_a_month  bigint not null,
    consented_at     bigint not null,
    consent_ends_at  bigint not null,
    suspended_reason text,
    suspended_card   text,
    told_consent_end bigint not null default 0,
    updated_at       bigint not null,
    constraint top_up_rule_pk primary key (account_id),
    constraint top_up_rule_account_fk foreign key (account_id) references account (account_id),
    constraint top_up_rule_on_known check (is_on in (0, 1)),
    constraint top_up_rule_positive check (threshold_nanos > 0 and cap_nanos > 0 and charges_a_month > 0),
    constraint top_up_rule_suspended_whole check ((suspended_reason is null) = (suspended_card is null))
);
create index top_up_rule_on on top_up_rule (account_id) where is_on = 1;

-- One automatic charge. Its id is its purchase's and the idempotency key at Stripe. `open`: it was sent, or will be, and
-- nobody knows yet. `needs_action`: the bank wants the customer's yes until `recover_until`.
create table top_up (
    top_up_id                text    not null,
    account_id               text    not null,
    cause                    text    not null,
    state                    text    not null,
    price_nanos              bigint not null,
    stripe_payment_method_id text    not null,
    card                     text    not null,
    last4                    text    not null,
    stripe_payment_intent_id text,
    reason                   text,
    decline_code             text,
    problem                  text,
    sent_at                  bigint,
    recover_until            bigint,
    created_at               bigint not null,
    ended_at                 bigint,
    constraint top_up_pk primary key (top_up_id),
    constraint top_up_purchase_fk foreign key (top_up_id) references purchase (purchase_id),
    constraint top_up_account_fk foreign key (account_id) references account (account_id),
    constraint top_up_cause_known check (cause in ('enabled', 'capture', 'refused_hold', 'sweep')),
    constraint top_up_state_known check (state in ('open', 'needs_action', 'paid', 'refused', 'expired')),
    constraint top_up_ends_once check ((state in ('open', 'needs_action')) = (ended_at is null)),
    constraint top_up_recovery_whole check (state <> 'needs_action' or recover_until is not null)
);
-- Whatever asks for a charge, and however often: an account has one under way.
create unique index top_up_one_open on top_up (account_id) where state in ('open', 'needs_action');
create index top_up_account on top_up (account_id, created_at);
create index top_up_waiting on top_up (created_at) where state in ('open', 'needs_action');

-- A request of the API that was sent with an Idempotency-Key, for a day: which run it began and what was answered.
create table idempotent_request (
    account_id      text    not null,
    idempotency_key text    not null,
    request_hash    text    not null,
    execution_id    text    not null,
    status          bigint,
    content_type    text,
    headers         text,
    body            text,
    created_at      bigint not null,
    constraint idempotent_request_pk primary key (account_id, idempotency_key),
    constraint idempotent_request_account_fk foreign key (account_id) references account (account_id)
);
create index idempotent_request_created on idempotent_request (created_at);

-- Runs that were refused for want of credit, so that whoever looks sees why nothing ran: one line for each hour, cause,
-- model and user.
create table refused_run (
    account_id text    not null,
    hour       bigint not null,
    code       text    not null,
    model_id   text    not null,
    user_id    text    not null,
    sentence   text    not null,
    last_at    bigint not null,
    constraint refused_run_pk primary key (account_id, hour, code, model_id, user_id),
    constraint refused_run_account_fk foreign key (account_id) references account (account_id)
);
