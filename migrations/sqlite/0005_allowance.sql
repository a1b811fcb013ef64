-- What a plan pays for: executions of the allowance counted by period, what a day costs us, and trials.
-- `allowance_use` and `platform_day` belong to the ledger: written only by server/src/ledger, in the transaction of the
-- hold or of its end, under the lock of the account's balance. The Postgres twin has the same tables and names.

-- What an account prefers between its plan's allowance and its credits.
alter table account add column pay_with text not null default 'plan_first'
    constraint account_pay_with_known check (pay_with in ('plan_first', 'plan_only', 'credits'));

-- A run that the plan pays for is a hold of no credit. `allowance_period` is the start of the period that it counts in,
-- `platform_day` the day in UTC whose cost it is, and `platform_nanos` the most that it can cost us.
alter table hold add column allowance_period integer;
alter table hold add column platform_day integer;
alter table hold add column platform_nanos integer not null default 0;
create index hold_allowance on hold (account_id, allowance_period) where allowance_period is not null;
create index hold_platform_day on hold (account_id, platform_day) where platform_day is not null;

-- Executions of an account's allowance in one period, running ones included. A run that fails gives its execution back.
-- `next_at` is when the next one may begin once the plan slows them down.
create table allowance_use (
    account_id   text    not null,
    period_start integer not null,
    executions   integer not null,
    next_at      integer not null,
    constraint allowance_use_pk primary key (account_id, period_start),
    constraint allowance_use_account_fk foreign key (account_id) references account (account_id),
    constraint allowance_use_never_negative check (executions >= 0)
) strict, without rowid;

-- What a day in UTC cost us for an account that its plan or its trial paid for: spent, and the most that runs which have
-- not ended can still cost.
create table platform_day (
    account_id  text    not null,
    day         integer not null,
    spent_nanos integer not null,
    held_nanos  integer not null,
    constraint platform_day_pk primary key (account_id, day),
    constraint platform_day_account_fk foreign key (account_id) references account (account_id),
    constraint platform_day_never_negative check (spent_nanos >= 0 and held_nanos >= 0)
) strict, without rowid;

-- One trial for each person: `person` is the SHA-256 of the verified e-mail in one spelling, so that it outlives the user
-- without saying who it was; `card_fingerprint` is Stripe's name of the card. `attempt` is 1, and one more for each appeal that was granted.
create table trial (
    trial_id         text    not null,
    account_id       text    not null,
    user_id          text    not null,
    kind             text    not null,
    person           text    not null,
    card_fingerprint text,
    attempt          integer not null,
    state            text    not null,
    amount_nanos     integer not null,
    plan_id          text    not null,
    started_at       integer not null,
    ends_at          integer not null,
    reminded_at      integer,
    ended_at         integer,
    constraint trial_pk primary key (trial_id),
    constraint trial_account_fk foreign key (account_id) references account (account_id),
    constraint trial_one_for_each_person unique (person, attempt),
    constraint trial_one_for_each_card unique (card_fingerprint, attempt),
    constraint trial_kind_known check (kind in ('own_key', 'managed', 'managed_with_card')),
    constraint trial_state_known check (state in ('running', 'ended', 'converted')),
    constraint trial_ends_once check ((state = 'running') = (ended_at is null))
) strict;
create unique index trial_one_running on trial (account_id) where state = 'running';
create index trial_due on trial (ends_at) where state = 'running';

-- Somebody who had no trial, or needs another, says why. A person answers.
create table trial_appeal (
    appeal_id  text    not null,
    account_id text    not null,
    user_id    text    not null,
    person     text    not null,
    reason     text    not null,
    state      text    not null,
    answered_by text,
    created_at integer not null,
    ended_at   integer,
    constraint trial_appeal_pk primary key (appeal_id),
    constraint trial_appeal_account_fk foreign key (account_id) references account (account_id),
    constraint trial_appeal_state_known check (state in ('open', 'granted', 'refused', 'used')),
    constraint trial_appeal_ends_once check ((state = 'open') = (ended_at is null))
) strict;
create unique index trial_appeal_one_open on trial_appeal (person) where state in ('open', 'granted');
create index trial_appeal_open on trial_appeal (created_at) where state = 'open';
