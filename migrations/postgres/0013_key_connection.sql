-- Connecting an own key of OpenRouter by its sign-in instead of pasting one (spec §3). A row is one way there and back: begun
-- in one browser's session for one account, worth something for some minutes, and used once. What is needed to fetch the
-- key (the PKCE verifier) is sealed by the vault and erased when the row is used; of the state that comes back in the address,
-- and of the session, there are only hashes.
-- The SQLite twin has the same tables and names.
create table key_connection (
    key_connection_id text    not null,
    account_id        text    not null,
    user_id           text    not null,
    session_hash      text    not null,
    state_hash        text    not null,
    sealed            text,
    wrapped_key       text,
    master_version    bigint not null,
    created_at        bigint not null,
    expires_at        bigint not null,
    used_at           bigint,
    constraint key_connection_pk primary key (key_connection_id),
    constraint key_connection_account_fk foreign key (account_id) references account (account_id),
    constraint key_connection_state_once unique (state_hash),
    constraint key_connection_erased check ((used_at is null) = (sealed is not null) and (sealed is null) = (wrapped_key is null)),
    constraint key_connection_forward check (created_at <= expires_at)
);
create index key_connection_expiry on key_connection (expires_at);
