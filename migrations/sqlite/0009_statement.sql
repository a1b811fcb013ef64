-- The statement and what belongs to it: ways through an account's postings by kind, codes that give credit, and advice
-- that somebody has put away. The Postgres twin has the same tables and names.

-- What is rare on a statement (all but holds, runs and what came of them) is found without reading every run, and costs
-- the runs nothing.
create index posting_rare on posting (account_id, seq) where kind not in ('hold', 'capture', 'void', 'expire');
-- Runs that were not charged.
create index posting_not_charged on posting (account_id, seq) where kind in ('void', 'expire');

-- A code that gives credit to whoever has it. Only its SHA-256 is kept, and its last letters to tell it from others.
-- `person` is the SHA-256 of the one address it is for, in one spelling. `credit_days` is how long its credit lasts once
-- given, null for ever; `redeem_until` is when the code itself ends.
create table credit_code (
    code_id        text    not null,
    code_hash      text    not null,
    hint           text    not null,
    kind           text    not null,
    amount_nanos   integer not null,
    credit_days    integer,
    allowed_models text,
    person         text,
    most_uses      integer not null,
    uses           integer not null default 0,
    redeem_until   integer,
    revoked_at     integer,
    created_at     integer not null,
    constraint credit_code_pk primary key (code_id),
    constraint credit_code_hash_unique unique (code_hash),
    constraint credit_code_kind_known check (kind in ('promotional', 'gift')),
    constraint credit_code_amount_positive check (amount_nanos > 0),
    constraint credit_code_days_positive check (credit_days is null or credit_days > 0),
    constraint credit_code_within_uses check (uses >= 0 and uses <= most_uses)
) strict;

-- Who used a code: an account once, and a person once, whatever accounts they are in. `person` is the SHA-256 of their
-- address, so that it outlives the user without saying who it was.
create table code_use (
    code_use_id text    not null,
    code_id     text    not null,
    account_id  text    not null,
    person      text    not null,
    created_at  integer not null,
    constraint code_use_pk primary key (code_use_id),
    constraint code_use_once_per_account unique (code_id, account_id),
    constraint code_use_once_per_person unique (code_id, person),
    constraint code_use_code_fk foreign key (code_id) references credit_code (code_id),
    constraint code_use_account_fk foreign key (account_id) references account (account_id)
) strict;
create index code_use_account on code_use (account_id, code_use_id);

-- Advice that a user does not want to see until a moment.
create table advice_dismissal (
    account_id      text    not null,
    user_id         text    not null,
    advice          text    not null,
    dismissed_until integer not null,
    constraint advice_dismissal_pk primary key (account_id, user_id, advice),
    constraint advice_dismissal_account_fk foreign key (account_id) references account (account_id),
    constraint advice_dismissal_known check (advice in ('own_keys', 'stay', 'our_keys'))
) strict, without rowid;
