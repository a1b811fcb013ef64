-- Agents: programs of an account that call models under a name, each with a cap on one run, rules of its own for whose key
-- pays, and API keys. A deleted agent keeps its row and name, for what it ran. The Postgres twin has the same tables and names.
create table agent (
    agent_id      text    not null,
    account_id    text    not null,
    name          text    not null,
    state         text    not null,
    run_cap_nanos integer,
    created_at    integer not null,
    deleted_at    integer,
    constraint agent_pk primary key (agent_id),
    constraint agent_account_fk foreign key (account_id) references account (account_id),
    constraint agent_state_known check (state in ('running', 'stopped')),
    constraint agent_run_cap_positive check (run_cap_nanos > 0),
    constraint agent_stopped_when_deleted check (deleted_at is null or state = 'stopped')
) strict;
create unique index agent_name_unique on agent (account_id, name) where deleted_at is null;
create index agent_running on agent (account_id) where state = 'running';

-- An API key that belongs to an agent; without one it is the account's, and may name an agent with each call.
alter table api_key add column agent_id text constraint api_key_agent_fk references agent (agent_id);
create index api_key_agent on api_key (agent_id) where agent_id is not null;

-- Which agent made the run.
alter table execution add column agent_id text;
create index execution_agent on execution (agent_id, execution_id) where agent_id is not null;

-- What an agent decides otherwise than its account: whose key a provider's models of a class run with. Columns as in key_policy.
create table agent_key_policy (
    agent_id     text    not null,
    account_id   text    not null,
    provider     text    not null,
    model_class  text    not null,
    policy       text    not null,
    cap_nanos    integer,
    consented_by text,
    consented_at integer,
    constraint agent_key_policy_pk primary key (agent_id, provider, model_class),
    constraint agent_key_policy_agent_fk foreign key (agent_id) references agent (agent_id),
    constraint agent_key_policy_known check (policy in ('own', 'platform', 'own_then_platform'))
) strict, without rowid;
create index agent_key_policy_account on agent_key_policy (account_id);

-- The agents whose runs a key is for, as a JSON list, or null for every run.
alter table provider_key add column allowed_agents text;

-- The agent whose own rule let a run be paid from here; null where it was the account's. Each rule's cap counts its own runs.
alter table key_fallback add column agent_id text;
