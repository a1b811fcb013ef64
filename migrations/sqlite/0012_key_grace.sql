-- A plan at the own-key price whose last usable key was lost keeps that price for some days (spec §3), then has the
-- standard price. A row is one loss, with what came of it; an account has one that is open at a time. `ends_at` is the
-- moment that people were told, whatever the catalogue says later. `moving_at` is when the standard price was first asked
-- for at Stripe, so that the news of it is told apart from a change that somebody chose; `standard_month_cents` is what a month
-- costs then, as it was said.
-- The Postgres twin has the same tables and names.
create table key_grace (
    key_grace_id text    not null,
    account_id   text    not null,
    lost_at      integer not null,
    ends_at      integer not null,
    standard_month_cents integer,
    state        text    not null,
    moving_at    integer,
    ended_at     integer,
    constraint key_grace_pk primary key (key_grace_id),
    constraint key_grace_account_fk foreign key (account_id) references account (account_id),
    constraint key_grace_state_known check (state in ('open', 'key_works', 'moved', 'over')),
    constraint key_grace_ends_once check ((state = 'open') = (ended_at is null)),
    constraint key_grace_forward check (lost_at <= ends_at)
) strict;
create unique index key_grace_one_open on key_grace (account_id) where state = 'open';
create index key_grace_account on key_grace (account_id, lost_at);

-- The accounts whose keys decide what they pay.
create index subscription_own_keys on subscription (account_id)
where key_mode = 'byok' and status in ('trialing', 'active', 'past_due', 'unpaid', 'paused');

-- The invoices of a subscription that can still change.
create index invoice_subscription on invoice (stripe_subscription_id, created_at);
