-- What is known of a key over time (its health, the last thirty days, what it was used for), when it ends, and how much of ours
-- may pay in its place; and the second factor's key under the vault. The SQLite twin has the same tables and names.
alter table provider_key add column expires_at bigint;
-- `failures` and `successes` are those in a row, so that one bad answer, or one good one, does not turn everything.
alter table provider_key add column health text not null default 'healthy'
    constraint provider_key_health_known check (health in ('healthy', 'limited', 'no_credit', 'failing', 'expired'));
alter table provider_key add column health_since bigint not null default 0;
alter table provider_key add column failures bigint not null default 0;
alter table provider_key add column successes bigint not null default 0;
alter table provider_key add column probe_at bigint not null default 0;
create index provider_key_probe on provider_key (probe_at) where deleted_at is null;
update provider_key set health = 'no_credit' where state = 'valid_no_credit';
update provider_key set health = 'failing' where state in ('invalid', 'region_blocked');

-- What a key did on a day in UTC: answers that were good, limited and failed, probes included; and what was run with it, at list
-- price. Of interest to people, and of no consequence for money: a crash may lose the last run.
create table provider_key_day (
    provider_key_id text    not null,
    day             bigint not null,
    good            bigint not null,
    limited         bigint not null,
    failed          bigint not null,
    runs            bigint not null,
    cost_nanos      bigint not null,
    constraint provider_key_day_pk primary key (provider_key_id, day),
    constraint provider_key_day_key_fk foreign key (provider_key_id) references provider_key (provider_key_id)
);

-- Consent to pay in place of one's own key: how much a month at most, by whom. Without it nothing is paid.
alter table key_policy add column cap_nanos bigint;
alter table key_policy add column consented_by text;
alter table key_policy add column consented_at bigint;

-- A run that was paid from here because no key of the account's own worked. What it took is its hold while it runs, and its
-- charge afterwards; the cap counts them.
create table key_fallback (
    execution_id text    not null,
    account_id   text    not null,
    provider     text    not null,
    model_class  text    not null,
    ceiling_nanos bigint not null,
    created_at   bigint not null,
    constraint key_fallback_pk primary key (execution_id)
);
create index key_fallback_account on key_fallback (account_id, provider, model_class, created_at);

-- Under the vault since now: `secret` is sealed where `master_version` says under which master key, and as it was before where
-- that is null, until its next use or `tokenbank vault rotate`.
alter table second_factor add column wrapped_key text;
alter table second_factor add column master_version bigint;
