-- Plans that are paid for: subscriptions at Stripe as we last saw them, changes that somebody asked for, invoices, and
-- the prices at Stripe that stand for the catalogue's.
-- Everything here but `plan_change` is a copy of what Stripe has, read from its API; Stripe is right where they differ.

-- `plan_id`, `key_mode` and `seats` are what Stripe bills next. `had_*` is what the account has until the paid period
-- ends, where that is more. `unpaid_since` is when the first renewal failed that is still open. `look_at` is when to ask
-- Stripe again without being told: a renewal is due, or a payment is missing. `told` is how things stand as the people
-- who pay were told by mail.
create table subscription (
    stripe_subscription_id text    not null,
    account_id             text    not null,
    status                 text    not null,
    plan_id                text    not null,
    key_mode               text    not null,
    seats                  integer not null,
    had_plan_id            text    not null,
    had_key_mode           text    not null,
    had_seats              integer not null,
    stripe_item_id         text    not null,
    stripe_price_id        text    not null,
    unit_cents             integer not null,
    catalogue_version      text    not null,
    period_start           integer not null,
    period_end             integer not null,
    trial_end              integer,
    cancels_at             integer,
    unpaid_since           integer,
    problem                text,
    told                   text    not null,
    look_at                integer,
    refreshed_at           integer not null,
    created_at             integer not null,
    ended_at               integer,
    constraint subscription_pk primary key (stripe_subscription_id),
    constraint subscription_account_fk foreign key (account_id) references account (account_id),
    constraint subscription_key_mode_known check (key_mode in ('standard', 'byok') and had_key_mode in ('standard', 'byok')),
    constraint subscription_told_known check (told in ('nothing', 'in_order', 'grace', 'suspended', 'ended')),
    constraint subscription_seats_positive check (seats >= 1 and had_seats >= 1),
    constraint subscription_period_forward check (period_start <= period_end),
    constraint subscription_status_known check (
        status in ('incomplete', 'incomplete_expired', 'trialing', 'active', 'past_due', 'unpaid', 'canceled', 'paused')
    )
) strict;
-- An account has one subscription at a time; a second one that was paid is given back.
create unique index subscription_one_live on subscription (account_id)
where status in ('trialing', 'active', 'past_due', 'unpaid', 'paused');
create index subscription_account on subscription (account_id, created_at);
create index subscription_due on subscription (look_at) where look_at is not null;

-- A change that somebody asked for, from its preview to its end. The id was made when the form was rendered, and is the
-- idempotency key at Stripe, so a second click is the same change. `proration_at` is the moment that the preview was
-- computed for, `preview_cents` what it said; a change that would cost something else is refused. `trial_days` are days
-- that cost nothing before the first payment.
create table plan_change (
    plan_change_id    text    not null,
    account_id        text    not null,
    user_id           text    not null,
    kind              text    not null,
    plan_id           text    not null,
    key_mode          text    not null,
    seats             integer not null,
    preview_cents     integer,
    proration_at      integer,
    trial_days        integer,
    state             text    not null,
    stripe_session_id text,
    problem           text,
    created_at        integer not null,
    ended_at          integer,
    constraint plan_change_pk primary key (plan_change_id),
    constraint plan_change_account_fk foreign key (account_id) references account (account_id),
    constraint plan_change_kind_known check (
        kind in ('subscribe', 'now', 'now_with_credit', 'at_period_end', 'cancel', 'resume', 'seats')
    ),
    constraint plan_change_key_mode_known check (key_mode in ('standard', 'byok')),
    constraint plan_change_state_known check (state in ('pending', 'done', 'failed', 'expired')),
    constraint plan_change_session_unique unique (stripe_session_id)
) strict;
create index plan_change_account on plan_change (account_id, plan_change_id);
create index plan_change_pending on plan_change (created_at) where state = 'pending';

-- Stripe's invoices for plans. `lines` is their JSON: text and cents of each.
create table invoice (
    stripe_invoice_id      text    not null,
    account_id             text    not null,
    stripe_subscription_id text,
    number                 text,
    status                 text    not null,
    reason                 text,
    total_cents            integer not null,
    paid_cents             integer not null,
    due_cents              integer not null,
    lines                  text    not null,
    period_start           integer not null,
    period_end             integer not null,
    attempts               integer not null,
    next_attempt_at        integer,
    problem                text,
    page_url               text,
    pdf_url                text,
    refreshed_at           integer not null,
    created_at             integer not null,
    paid_at                integer,
    constraint invoice_pk primary key (stripe_invoice_id),
    constraint invoice_account_fk foreign key (account_id) references account (account_id),
    constraint invoice_status_known check (status in ('draft', 'open', 'paid', 'uncollectible', 'void'))
) strict;
create index invoice_account on invoice (account_id, created_at, stripe_invoice_id);
create index invoice_open on invoice (account_id) where status = 'open';

-- The price at Stripe for a plan and a key mode of the catalogue. `drift` says how Stripe's differs from ours, when
-- somebody edited it by hand: it is shown, and not followed.
create table stripe_price (
    lookup_key        text    not null,
    plan_id           text    not null,
    key_mode          text    not null,
    unit_cents        integer not null,
    catalogue_version text    not null,
    stripe_product_id text    not null,
    stripe_price_id   text    not null,
    drift             text,
    synced_at         integer not null,
    constraint stripe_price_pk primary key (lookup_key),
    constraint stripe_price_id_unique unique (stripe_price_id),
    constraint stripe_price_key_mode_known check (key_mode in ('standard', 'byok'))
) strict;
create index stripe_price_plan on stripe_price (plan_id, key_mode);

-- What a meter at Stripe is told: how many executions an account had in an hour. Off the money path; an hour is told once.
create table meter_event (
    account_id text    not null,
    hour       integer not null,
    executions integer not null,
    state      text    not null,
    problem    text,
    created_at integer not null,
    sent_at    integer,
    constraint meter_event_pk primary key (account_id, hour),
    constraint meter_event_account_fk foreign key (account_id) references account (account_id),
    constraint meter_event_state_known check (state in ('open', 'sent', 'failed'))
) strict;
create index meter_event_open on meter_event (hour) where state = 'open';
