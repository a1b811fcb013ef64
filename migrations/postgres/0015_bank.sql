-- What a freeze leaves and who lifted it; consent that is withdrawn; budgets of API keys and members. The SQLite twin has the same columns and names.

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
alter table top_up_rule add column withdrawn_at bigint;

-- Budgets of one API key and of one member. What their runs took from credit is counted on from the account's postings:
-- `counted_nanos` until the place `counted_seq`, in the month that began at `counted_month`.
alter table budget drop constraint budget_scope_known;
alter table budget add constraint budget_scope_known check (scope in ('all', 'model', 'skill', 'api_key', 'member'));
alter table budget add column counted_month bigint not null default 0;
alter table budget add column counted_seq bigint not null default 0;
alter table budget add column counted_nanos bigint not null default 0;
