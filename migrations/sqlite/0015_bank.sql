-- What a freeze leaves and who lifted it; consent that is withdrawn; budgets of API keys and members. The Postgres twin has the same columns and names.

-- The cause behind `frozen_reason`, for the ledger: what is owed leaves runs on the account's own keys. Null where only the
-- reason is known; then nothing runs.
alter table account add column frozen_cause text
    constraint account_frozen_cause_known check (frozen_cause in ('dispute', 'fraud_warning', 'owed', 'by_hand'));
update account
set    frozen_cause = (select   f.cause
                       from     account_freeze f
                       where    f.account_id = account.account_id and f.lifted_at is null
                       order by case when f.cause = 'owed' then 1 else 0 end, f.frozen_at, f.cause
                       limit    1)
where  frozen_at is not null and deleted_at is null;

-- Why an operator froze an account, and why one lifted a freeze: what was lifted so is not frozen again by news about the
-- same warning. Their words are for the record; nobody outside sees them.
alter table account_freeze add column reason text;
alter table account_freeze add column lifted_reason text;

-- Since when nobody stands behind a rule any more: whoever agreed to it left, or may no longer spend. Agreeing again ends it.
alter table top_up_rule add column withdrawn_at integer;

-- Budgets of one API key and of one member. What their runs took from credit is counted on from the account's postings:
-- `counted_nanos` until the place `counted_seq`, in the month that began at `counted_month`.
-- A check cannot be changed here, so the table is made anew.
create table budget_of_more (
    budget_id     text    not null,
    account_id    text    not null,
    scope         text    not null,
    scope_id      text    not null,
    amount_nanos  integer not null,
    created_at    integer not null,
    counted_month integer not null default 0,
    counted_seq   integer not null default 0,
    counted_nanos integer not null default 0,
    constraint budget_pk primary key (budget_id),
    constraint budget_account_fk foreign key (account_id) references account (account_id),
    constraint budget_one_for_each_scope unique (account_id, scope, scope_id),
    constraint budget_scope_known check (scope in ('all', 'model', 'skill', 'api_key', 'member')),
    constraint budget_positive check (amount_nanos > 0)
) strict;
insert into budget_of_more (budget_id, account_id, scope, scope_id, amount_nanos, created_at)
select budget_id, account_id, scope, scope_id, amount_nanos, created_at from budget;
drop table budget;
alter table budget_of_more rename to budget;
