-- The foundation: who pays and signs in, the ledger, purchases, runs, jobs.
-- Money is integer nano-dollars, time is integer microseconds since 1970 UTC, ids are text (UUIDv7).
-- The Postgres twin of this file has the same tables, columns and names.

create table account (
    account_id         text   not null,
    name               text   not null,
    plan_id            text   not null,
    time_zone          text   not null,
    stripe_customer_id text,
    frozen_reason      text,
    frozen_at          integer,
    created_at         integer not null,
    constraint account_pk primary key (account_id),
    constraint account_stripe_customer_unique unique (stripe_customer_id)
) strict;

-- Whoever signs in. One account for each user for now.
create table "user" (
    user_id           text   not null,
    account_id        text   not null,
    email             text   not null,
    password_hash     text   not null,
    role              text   not null,
    is_admin          integer not null,
    email_verified_at integer,
    created_at        integer not null,
    constraint user_pk primary key (user_id),
    constraint user_email_unique unique (email),
    constraint user_account_fk foreign key (account_id) references account (account_id),
    constraint user_role_known check (role in ('owner', 'admin', 'billing', 'developer', 'viewer'))
) strict;
create index user_account on "user" (account_id);

-- A browser session; `state` is the session's JSON.
create table session (
    session_id text   not null,
    user_id    text,
    state      text   not null,
    expires_at integer not null,
    constraint session_pk primary key (session_id)
) strict;
create index session_by_user on session (user_id);
create index session_expires on session (expires_at);

-- Links sent by e-mail. Only the SHA-256 of the secret is kept; used once.
create table user_token (
    token_hash text   not null,
    user_id    text   not null,
    purpose    text   not null,
    created_at integer not null,
    expires_at integer not null,
    used_at    integer,
    constraint user_token_pk primary key (token_hash),
    constraint user_token_user_fk foreign key (user_id) references "user" (user_id),
    constraint user_token_purpose_known check (purpose in ('verify_email', 'reset_password'))
) strict;

-- Our own API keys (`tb_…`). Only the SHA-256 of the secret is kept.
create table api_key (
    api_key_id text   not null,
    account_id text   not null,
    user_id    text   not null,
    name       text   not null,
    key_hash   text   not null,
    hint       text   not null,
    created_at integer not null,
    revoked_at integer,
    constraint api_key_pk primary key (api_key_id),
    constraint api_key_hash_unique unique (key_hash),
    constraint api_key_account_fk foreign key (account_id) references account (account_id)
) strict;
create index api_key_account on api_key (account_id);

-- ── The ledger: written only by server/src/ledger ──────────────────────────────────────────────────────────────

-- What an account has, kept with each posting and locked by each writer; always the sum of its entries.
-- `last_seq` is the number of the account's newest posting.
create table balance (
    account_id        text   not null,
    paid_nanos        integer not null default 0,
    bonus_nanos       integer not null default 0,
    promotional_nanos integer not null default 0,
    trial_nanos       integer not null default 0,
    held_nanos        integer not null default 0,
    receivable_nanos  integer not null default 0,
    last_seq          integer not null default 0,
    constraint balance_pk primary key (account_id),
    constraint balance_account_fk foreign key (account_id) references account (account_id),
    constraint balance_never_negative check (
        paid_nanos >= 0 and bonus_nanos >= 0 and promotional_nanos >= 0 and trial_nanos >= 0 and held_nanos >= 0
    )
) strict;

-- A balanced group of entries. Append-only. `idempotency_key` says which fact it records, once.
-- `seq` counts an account's postings without a gap, so two writers that did not see each other cannot both commit.
-- `change_nanos` is the change of what the account has (spendable and held), `balance_after_nanos` the result.
create table posting (
    posting_id          text   not null,
    account_id          text   not null,
    seq                 integer not null,
    kind                text   not null,
    idempotency_key     text   not null,
    reference           text,
    memo                text   not null,
    change_nanos        integer not null,
    balance_after_nanos integer not null,
    created_at          integer not null,
    constraint posting_pk primary key (posting_id),
    constraint posting_idempotency_key_unique unique (idempotency_key),
    constraint posting_account_seq_unique unique (account_id, seq),
    constraint posting_account_fk foreign key (account_id) references account (account_id),
    constraint posting_kind_known check (
        kind in ('grant', 'hold', 'capture', 'void', 'expire', 'lot_expiry', 'refund', 'dispute', 'adjustment')
    )
) strict;
-- The statement: what changed the customer's credit.
create index posting_statement on posting (account_id, seq) where change_nanos <> 0;

-- One side of a posting. `account_id` is null for the platform's books. Credit to a customer is positive.
create table entry (
    posting_id   text   not null,
    line         integer not null,
    book         text   not null,
    account_id   text,
    lot_id       text,
    amount_nanos integer not null,
    constraint entry_pk primary key (posting_id, line),
    constraint entry_posting_fk foreign key (posting_id) references posting (posting_id),
    constraint entry_book_known check (
        book in (
            'paid', 'bonus', 'promotional', 'trial', 'held', 'receivable',
            'stripe_clearing', 'markup_revenue', 'usage_revenue', 'bonus_expense', 'trial_expense', 'promo_expense',
            'stripe_fees', 'refunds', 'overrun_loss', 'creator_payable', 'breakage'
        )
    ),
    constraint entry_not_zero check (amount_nanos <> 0)
) strict, without rowid;
create index entry_lot on entry (lot_id) where lot_id is not null;

-- A grant of credit, what is left of it, and what open holds have taken from it and may give back.
-- `allowed_models` is a JSON list, or null for all.
create table lot (
    lot_id          text   not null,
    account_id      text   not null,
    kind            text   not null,
    granted_nanos   integer not null,
    remaining_nanos integer not null,
    held_nanos      integer not null default 0,
    allowed_models  text,
    expires_at      integer,
    created_at      integer not null,
    constraint lot_pk primary key (lot_id),
    constraint lot_account_fk foreign key (account_id) references account (account_id),
    constraint lot_kind_known check (kind in ('trial', 'promotional', 'bonus', 'paid')),
    constraint lot_within_grant check (
        remaining_nanos >= 0 and held_nanos >= 0 and remaining_nanos + held_nanos <= granted_nanos
    ),
    constraint lot_bought_never_expires check (expires_at is null or kind in ('trial', 'promotional'))
) strict;
create index lot_account_open on lot (account_id) where remaining_nanos > 0 or held_nanos > 0;
create index lot_expiry on lot (expires_at) where expires_at is not null and remaining_nanos > 0;

-- Money set aside for one run. The first row of a run: `draft` says, as JSON, what it was started with.
-- `taken` is a JSON list of [lot_id, nanos], in burn order. `overrun_nanos` is what the run cost above the hold.
create table hold (
    execution_id   text   not null,
    account_id     text   not null,
    amount_nanos   integer not null,
    captured_nanos integer not null default 0,
    overrun_nanos  integer not null default 0,
    state          text   not null,
    taken          text   not null,
    draft          text   not null,
    expires_at     integer not null,
    created_at     integer not null,
    ended_at       integer,
    constraint hold_pk primary key (execution_id),
    constraint hold_account_fk foreign key (account_id) references account (account_id),
    constraint hold_state_known check (state in ('open', 'captured', 'voided', 'expired')),
    constraint hold_capture_within check (
        captured_nanos >= 0 and captured_nanos <= amount_nanos
        and overrun_nanos >= 0 and (overrun_nanos = 0 or captured_nanos = amount_nanos)
    ),
    constraint hold_ends_once check ((state = 'open') = (ended_at is null)),
    constraint hold_takes_when_captured check (state = 'captured' or captured_nanos = 0)
) strict;
create index hold_open on hold (account_id, expires_at) where state = 'open';
create index hold_open_expiry on hold (expires_at) where state = 'open';

create trigger posting_append_only_update before update on posting
begin select raise(abort, 'posting is append-only'); end;
create trigger posting_append_only_delete before delete on posting
begin select raise(abort, 'posting is append-only'); end;
create trigger entry_append_only_update before update on entry
begin select raise(abort, 'entry is append-only'); end;
create trigger entry_append_only_delete before delete on entry
begin select raise(abort, 'entry is append-only'); end;

-- ── Runs and usage ─────────────────────────────────────────────────────────────────────────────────────────────

-- A run that ended: what was used, what it cost, who paid. Never repriced. A running one is an open hold.
create table execution (
    execution_id          text   not null,
    account_id            text   not null,
    user_id               text,
    api_key_id            text,
    skill_id              text,
    model_id              text   not null,
    provider              text   not null,
    state                 text   not null,
    source                text   not null,
    rate_version          text   not null,
    input_tokens          integer not null,
    cache_read_tokens     integer not null,
    cache_write_5m_tokens integer not null,
    cache_write_1h_tokens integer not null,
    output_tokens         integer not null,
    reasoning_tokens      integer not null,
    usage_estimated       integer not null,
    raw_usage             text,
    cost_nanos            integer not null,
    charge_nanos          integer not null,
    quote_likely_nanos    integer not null,
    quote_p50_nanos       integer not null,
    quote_p90_nanos       integer not null,
    quote_ceiling_nanos   integer not null,
    note                  text,
    input_text            text,
    output_text           text,
    started_at            integer not null,
    first_token_at        integer,
    ended_at              integer not null,
    constraint execution_pk primary key (execution_id),
    constraint execution_account_fk foreign key (account_id) references account (account_id),
    constraint execution_state_known check (state in ('completed', 'stopped', 'waived', 'failed', 'expired')),
    constraint execution_source_known check (source in ('own_key', 'trial', 'allowance', 'credits'))
) strict;
create index execution_account on execution (account_id, execution_id);
create index execution_skill on execution (account_id, skill_id, execution_id);

-- Sums by hour, kept with each run that ends; always equal to the runs themselves.
create table usage_hour (
    account_id    text   not null,
    hour          integer not null,
    model_id      text   not null,
    skill_id      text   not null,
    source        text   not null,
    executions    integer not null,
    input_tokens  integer not null,
    output_tokens integer not null,
    cost_nanos    integer not null,
    charge_nanos  integer not null,
    constraint usage_hour_pk primary key (account_id, hour, model_id, skill_id, source)
) strict, without rowid;

-- Dated prices, one row for each provider and model. `prices` is JSON, pico-dollars a token.
create table rate (
    rate_version text   not null,
    provider     text   not null,
    model_id     text   not null,
    prices       text   not null,
    source       text   not null,
    effective_at integer not null,
    created_at   integer not null,
    constraint rate_pk primary key (provider, model_id, effective_at)
) strict;

-- ── Stripe ─────────────────────────────────────────────────────────────────────────────────────────────────────

create table purchase (
    purchase_id              text   not null,
    account_id               text   not null,
    user_id                  text   not null,
    pack_id                  text   not null,
    amount_nanos             integer not null,
    bonus_nanos              integer not null,
    price_cents              integer not null,
    currency                 text   not null,
    state                    text   not null,
    stripe_session_id        text,
    stripe_payment_intent_id text,
    problem                  text,
    created_at               integer not null,
    ended_at                 integer,
    constraint purchase_pk primary key (purchase_id),
    constraint purchase_account_fk foreign key (account_id) references account (account_id),
    constraint purchase_session_unique unique (stripe_session_id),
    constraint purchase_payment_intent_unique unique (stripe_payment_intent_id),
    constraint purchase_state_known check (state in ('pending', 'paid', 'failed', 'expired', 'held_back'))
) strict;
create index purchase_account on purchase (account_id, purchase_id);
create index purchase_pending on purchase (created_at) where state = 'pending';

-- Every verified event as it came, before anything is done with it.
create table stripe_event (
    stripe_event_id text   not null,
    kind            text   not null,
    payload         text   not null,
    state           text   not null,
    problem         text,
    received_at     integer not null,
    applied_at      integer,
    constraint stripe_event_pk primary key (stripe_event_id),
    constraint stripe_event_state_known check (state in ('new', 'applied', 'ignored', 'failed'))
) strict;
create index stripe_event_left on stripe_event (received_at) where state in ('new', 'failed');

-- ── Jobs ───────────────────────────────────────────────────────────────────────────────────────────────────────

-- Work to do later, at least once. `unique_key` keeps one open job for one purpose.
create table job (
    job_id       text   not null,
    kind         text   not null,
    payload      text   not null,
    unique_key   text,
    state        text   not null,
    attempts     integer not null default 0,
    run_at       integer not null,
    leased_until integer,
    problem      text,
    created_at   integer not null,
    ended_at     integer,
    constraint job_pk primary key (job_id),
    constraint job_state_known check (state in ('open', 'done', 'dead'))
) strict;
create unique index job_one_open on job (unique_key) where unique_key is not null and state = 'open';
create index job_due on job (run_at) where state = 'open';
