-- Money that goes back: refunds that owners ask for, what refunds and disputes took of an account's credit, disputes and
-- fraud warnings as Stripe has them, and why an account is frozen. `claim` belongs to the ledger: written only by
-- server/src/ledger, under the lock of the account's balance. The SQLite twin has the same tables and names.

-- A refund of unused credit. Its id is the idempotency key at Stripe and the id of its claim. `request_id` is one press of
-- the button, which may reach several purchases. `cash_cents` is what arrives: the price less what Stripe keeps.
create table refund (
    refund_id        text   not null,
    request_id       text   not null,
    account_id       text   not null,
    user_id          text   not null,
    purchase_id      text   not null,
    credit_nanos     bigint not null,
    bonus_nanos      bigint not null,
    price_cents      bigint not null,
    fee_cents        bigint not null,
    cash_cents       bigint not null,
    state            text   not null,
    stripe_refund_id text,
    problem          text,
    created_at       bigint not null,
    ended_at         bigint,
    constraint refund_pk primary key (refund_id),
    constraint refund_once_a_request unique (request_id, purchase_id),
    constraint refund_stripe_unique unique (stripe_refund_id),
    constraint refund_account_fk foreign key (account_id) references account (account_id),
    constraint refund_purchase_fk foreign key (purchase_id) references purchase (purchase_id),
    constraint refund_state_known check (state in ('pending', 'succeeded', 'failed')),
    constraint refund_pays check (cash_cents > 0 and credit_nanos > 0 and bonus_nanos >= 0)
);
create index refund_account on refund (account_id, refund_id);
create index refund_purchase on refund (purchase_id);
create index refund_pending on refund (created_at) where state = 'pending';

-- What a refund or a dispute has taken back in all: credit, bonus and money of the purchase; from which lots, as a JSON
-- list of [lot_id, nanos]; and what no credit covered, which the account owes. `changes` counts its postings.
create table claim (
    claim_id     text   not null,
    account_id   text   not null,
    purchase_id  text   not null,
    kind         text   not null,
    credit_nanos bigint not null,
    bonus_nanos  bigint not null,
    cash_nanos   bigint not null,
    taken        text   not null,
    owed_nanos   bigint not null,
    changes      bigint not null,
    created_at   bigint not null,
    changed_at   bigint not null,
    constraint claim_pk primary key (claim_id),
    constraint claim_account_fk foreign key (account_id) references account (account_id),
    constraint claim_purchase_fk foreign key (purchase_id) references purchase (purchase_id),
    constraint claim_kind_known check (kind in ('refund', 'stripe_refund', 'dispute')),
    constraint claim_never_negative check (
        credit_nanos >= 0 and bonus_nanos >= 0 and cash_nanos >= 0 and owed_nanos >= 0
        and owed_nanos <= credit_nanos + bonus_nanos
    )
);
create index claim_account on claim (account_id);
create index claim_purchase on claim (purchase_id);
create index claim_owed on claim (account_id) where owed_nanos > 0;

-- A dispute as Stripe has it. Account and purchase are null as long as it cannot be placed; `problem` says why.
-- `readings` counts the readings of Stripe that were begun, `stored_reading` is the newest one that was stored.
create table dispute (
    stripe_dispute_id text   not null,
    account_id        text,
    purchase_id       text,
    amount_cents      bigint not null,
    currency          text   not null,
    reason            text   not null,
    state             text   not null,
    problem           text,
    readings          bigint not null,
    stored_reading    bigint not null,
    created_at        bigint not null,
    changed_at        bigint not null,
    constraint dispute_pk primary key (stripe_dispute_id),
    constraint dispute_account_fk foreign key (account_id) references account (account_id),
    constraint dispute_purchase_fk foreign key (purchase_id) references purchase (purchase_id),
    constraint dispute_state_known check (
        state in ('unread', 'warning_needs_response', 'warning_under_review', 'warning_closed', 'needs_response',
                  'under_review', 'won', 'lost', 'prevented')
    )
);
create index dispute_account on dispute (account_id, stripe_dispute_id);
create index dispute_purchase on dispute (purchase_id) where purchase_id is not null;

-- Why an account starts no new runs. `account.frozen_at` and `frozen_reason` follow from the rows that are not lifted.
-- `reference` is the dispute or the warning.
create table account_freeze (
    account_id text   not null,
    cause      text   not null,
    reference  text   not null,
    frozen_at  bigint not null,
    lifted_at  bigint,
    constraint account_freeze_pk primary key (account_id, cause, reference),
    constraint account_freeze_account_fk foreign key (account_id) references account (account_id),
    constraint account_freeze_cause_known check (cause in ('dispute', 'fraud_warning', 'owed', 'by_hand'))
);

-- The readings of a purchase's refunds at Stripe, as above.
alter table purchase add column readings bigint not null default 0;
alter table purchase add column stored_reading bigint not null default 0;
