-- The users' own keys of providers, sealed: the secret is encrypted under a data key of its row, and that under the master
-- key of `master_version`, which is not in the database. A deleted key keeps its row, for what was run with it, and loses
-- its secret. The SQLite twin has the same tables and names.
create table provider_key (
    provider_key_id text    not null,
    account_id      text    not null,
    provider        text    not null,
    label           text    not null,
    hint            text    not null,
    base_url        text,
    sealed          text,
    wrapped_key     text,
    key_version     bigint not null,
    master_version  bigint not null,
    position        bigint not null,
    allowed_models  text,
    enabled         bigint not null,
    state           text    not null,
    problem         text,
    checked_at      bigint not null,
    last_used_at    bigint,
    created_at      bigint not null,
    deleted_at      bigint,
    constraint provider_key_pk primary key (provider_key_id),
    constraint provider_key_account_fk foreign key (account_id) references account (account_id),
    constraint provider_key_enabled_flag check (enabled in (0, 1)),
    constraint provider_key_state_known check (state in
        ('valid', 'valid_no_credit', 'valid_restricted', 'rate_limited', 'invalid', 'unreachable', 'region_blocked')),
    constraint provider_key_sealed_until_deleted check (deleted_at is not null or (sealed is not null and wrapped_key is not null)),
    constraint provider_key_erased_when_deleted check (deleted_at is null or (sealed is null and wrapped_key is null))
);
create index provider_key_account on provider_key (account_id, provider, position) where deleted_at is null;
create index provider_key_master on provider_key (master_version, provider_key_id) where deleted_at is null;

-- Which key pays for a provider's models of a class; without a row, one's own where there is one.
create table key_policy (
    account_id  text not null,
    provider    text not null,
    model_class text not null,
    policy      text not null,
    constraint key_policy_pk primary key (account_id, provider, model_class),
    constraint key_policy_account_fk foreign key (account_id) references account (account_id),
    constraint key_policy_known check (policy in ('own', 'platform', 'own_then_platform'))
);
