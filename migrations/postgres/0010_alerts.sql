-- What an account is told: notices with who got each, what each person wants to be told, budgets, the state of what was told
-- already, and webhooks with their messages. The SQLite twin has the same tables and names.

-- Something that happened, once for each `dedupe_key` of an account. `body` is the notice as JSON; `told_at` is when it
-- was handed to its readers.
create table notice (
    notice_id  text not null,
    account_id text not null,
    kind       text not null,
    dedupe_key text not null,
    body       text not null,
    raised_at  bigint not null,
    told_at    bigint,
    constraint notice_pk primary key (notice_id),
    constraint notice_account_fk foreign key (account_id) references account (account_id),
    constraint notice_once unique (account_id, dedupe_key)
);
create index notice_untold on notice (raised_at) where told_at is null;

-- A notice in somebody's list. `stop_hash` is the SHA-256 of the secret in its mail's link for ending mails of its kind.
create table notice_reader (
    account_id text not null,
    user_id    text not null,
    notice_id  text not null,
    in_app     bigint not null,
    by_mail    bigint not null,
    stop_hash  text,
    read_at    bigint,
    constraint notice_reader_pk primary key (account_id, user_id, notice_id),
    constraint notice_reader_stop_unique unique (stop_hash),
    constraint notice_reader_notice_fk foreign key (notice_id) references notice (notice_id),
    constraint notice_reader_flags check (in_app in (0, 1) and by_mail in (0, 1))
);
create index notice_reader_unread on notice_reader (account_id, user_id) where in_app = 1 and read_at is null;

-- What somebody chose for a kind in an account; without a row, both.
create table notice_preference (
    account_id text not null,
    user_id    text not null,
    kind       text not null,
    in_app     bigint not null,
    by_mail    bigint not null,
    constraint notice_preference_pk primary key (account_id, user_id, kind),
    constraint notice_preference_flags check (in_app in (0, 1) and by_mail in (0, 1))
);

-- Below which balance an account is told; without a row, the catalogue's. 0 is never.
create table alert_setting (
    account_id        text not null,
    low_balance_nanos bigint not null,
    constraint alert_setting_pk primary key (account_id),
    constraint alert_setting_account_fk foreign key (account_id) references account (account_id),
    constraint alert_setting_not_negative check (low_balance_nanos >= 0)
);

-- What a month (UTC) may cost: of all runs, or of one model's or skill's. It tells and stops nothing.
create table budget (
    budget_id    text not null,
    account_id   text not null,
    scope        text not null,
    scope_id     text not null,
    amount_nanos bigint not null,
    created_at   bigint not null,
    constraint budget_pk primary key (budget_id),
    constraint budget_account_fk foreign key (account_id) references account (account_id),
    constraint budget_one_for_each_scope unique (account_id, scope, scope_id),
    constraint budget_scope_known check (scope in ('all', 'model', 'skill')),
    constraint budget_positive check (amount_nanos > 0)
);

-- The highest share of something that an account was told in a period, or whether it is told that its balance is low.
-- `subject` is `executions`, `budget:ID`, `forecast:ID` or `low_balance`; `episode` counts how often it fell.
create table alert_state (
    account_id   text not null,
    subject      text not null,
    period_start bigint not null,
    told_percent bigint not null,
    episode      bigint not null,
    constraint alert_state_pk primary key (account_id, subject, period_start),
    constraint alert_state_account_fk foreign key (account_id) references account (account_id)
);

-- How far an account was looked at: the number of its newest posting and its executions then.
create table alert_seen (
    account_id text not null,
    last_seq   bigint not null,
    executions bigint not null,
    seen_at    bigint not null,
    constraint alert_seen_pk primary key (account_id),
    constraint alert_seen_account_fk foreign key (account_id) references account (account_id)
);

-- An address that an account's notices are sent to. `kinds` is a JSON list, or null for all. The secret is sealed as
-- provider keys are; the one before counts too until `former_until`. `failing_since` is the first failure since the last success.
create table webhook (
    webhook_id          text not null,
    account_id          text not null,
    url                 text not null,
    label               text not null,
    kinds               text,
    state               text not null,
    hint                text not null,
    sealed              text,
    wrapped_key         text,
    key_version         bigint not null,
    master_version      bigint not null,
    former_sealed       text,
    former_wrapped_key  text,
    former_version      bigint,
    former_master       bigint,
    former_until        bigint,
    failing_since       bigint,
    problem             text,
    created_at          bigint not null,
    deleted_at          bigint,
    constraint webhook_pk primary key (webhook_id),
    constraint webhook_account_fk foreign key (account_id) references account (account_id),
    constraint webhook_state_known check (state in ('enabled', 'disabled', 'failed')),
    constraint webhook_sealed_until_deleted check (deleted_at is not null or (sealed is not null and wrapped_key is not null)),
    constraint webhook_erased_when_deleted check (deleted_at is null or (sealed is null and wrapped_key is null and former_sealed is null))
);
create index webhook_account on webhook (account_id) where deleted_at is null;

-- One message to one webhook: the outbox. `delivery_id` is what the receiver sees as `webhook-id`.
-- `attempts` counts all of them, `tries` those since it was last asked for: a replay begins the schedule anew.
create table webhook_delivery (
    delivery_id   text not null,
    webhook_id    text not null,
    account_id    text not null,
    notice_id     text,
    event         text not null,
    payload       text not null,
    is_test       bigint not null,
    state         text not null,
    attempts      bigint not null,
    tries         bigint not null,
    next_at       bigint not null,
    leased_until  bigint,
    first_tried_at bigint,
    ended_at      bigint,
    created_at    bigint not null,
    constraint webhook_delivery_pk primary key (delivery_id),
    constraint webhook_delivery_webhook_fk foreign key (webhook_id) references webhook (webhook_id),
    constraint webhook_delivery_once unique (webhook_id, notice_id),
    constraint webhook_delivery_state_known check (state in ('open', 'delivered', 'given_up', 'dropped')),
    constraint webhook_delivery_ends_once check ((state = 'open') = (ended_at is null))
);
create index webhook_delivery_due on webhook_delivery (next_at) where state = 'open';
create index webhook_delivery_open on webhook_delivery (webhook_id) where state = 'open';
create index webhook_delivery_old on webhook_delivery (ended_at) where ended_at is not null;
create index webhook_delivery_log on webhook_delivery (webhook_id, delivery_id);

-- One try: when, what was answered (nothing, when nobody answered), and in how long.
create table webhook_attempt (
    delivery_id text not null,
    number      bigint not null,
    tried_at    bigint not null,
    duration_ms bigint not null,
    status      bigint,
    problem     text,
    constraint webhook_attempt_pk primary key (delivery_id, number),
    constraint webhook_attempt_delivery_fk foreign key (delivery_id) references webhook_delivery (delivery_id)
);
