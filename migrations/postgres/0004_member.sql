-- Organisations: a user may belong to several accounts, with a role in each; people come by invitation.
-- The role moves from "user" to member. "user".account_id stays as the account that a user opens first.
-- An account or user that was deleted keeps its row without a name or an address, for the ledger points at it.
-- The SQLite twin of this file has the same tables, columns and names.

create table member (
    account_id text   not null,
    user_id    text   not null,
    role       text   not null,
    created_at bigint not null,
    constraint member_pk primary key (account_id, user_id),
    constraint member_account_fk foreign key (account_id) references account (account_id),
    constraint member_user_fk foreign key (user_id) references "user" (user_id),
    constraint member_role_known check (role in ('owner', 'admin', 'billing', 'developer', 'viewer'))
);
create index member_user on member (user_id);

insert into member (account_id, user_id, role, created_at)
select account_id, user_id, role, created_at from "user";

alter table "user" drop column role;
alter table "user" add column deleted_at bigint;
alter table account add column deleted_at bigint;

-- Somebody asked to join. Only the SHA-256 of the link's secret is kept, made when the mail is sent.
create table invitation (
    invitation_id text   not null,
    account_id    text   not null,
    email         text   not null,
    role          text   not null,
    token_hash    text,
    invited_by    text   not null,
    created_at    bigint not null,
    expires_at    bigint not null,
    accepted_at   bigint,
    accepted_by   text,
    revoked_at    bigint,
    constraint invitation_pk primary key (invitation_id),
    constraint invitation_token_unique unique (token_hash),
    constraint invitation_account_fk foreign key (account_id) references account (account_id),
    constraint invitation_role_known check (role in ('owner', 'admin', 'billing', 'developer', 'viewer')),
    constraint invitation_ends_once check (accepted_at is null or revoked_at is null)
);
create unique index invitation_one_open on invitation (account_id, email) where accepted_at is null and revoked_at is null;

-- A new address that a user has still to confirm. Only the SHA-256 of the link's secret is kept; used once.
create table email_change (
    email_change_id text   not null,
    user_id         text   not null,
    new_email       text   not null,
    token_hash      text,
    created_at      bigint not null,
    expires_at      bigint not null,
    used_at         bigint,
    constraint email_change_pk primary key (email_change_id),
    constraint email_change_token_unique unique (token_hash),
    constraint email_change_user_fk foreign key (user_id) references "user" (user_id)
);
create index email_change_user on email_change (user_id);

-- A key in an authenticator app. It counts from its first code (`confirmed_at`); `last_step` is the newest code's time step,
-- so that each code counts once.
create table second_factor (
    user_id      text   not null,
    secret       text   not null,
    last_step    bigint not null,
    confirmed_at bigint,
    created_at   bigint not null,
    constraint second_factor_pk primary key (user_id),
    constraint second_factor_user_fk foreign key (user_id) references "user" (user_id)
);

-- For when the app is lost. Only the SHA-256 of a code is kept; used once.
create table recovery_code (
    user_id   text   not null,
    code_hash text   not null,
    used_at   bigint,
    constraint recovery_code_pk primary key (user_id, code_hash),
    constraint recovery_code_user_fk foreign key (user_id) references "user" (user_id)
);
