-- Organisations: a user may belong to several accounts, with a role in each; people come by invitation.
-- The role moves from "user" to member. "user".account_id stays as the account that a user opens first.
-- An account or user that was deleted keeps its row without a name or an address, for the ledger points at it.
-- The Postgres twin of this file has the same tables, columns and names.

create table member (
    account_id text    not null,
    user_id    text    not null,
    role       text    not null,
    created_at integer not null,
    constraint member_pk primary key (account_id, user_id),
    constraint member_account_fk foreign key (account_id) references account (account_id),
    constraint member_user_fk foreign key (user_id) references "user" (user_id),
    constraint member_role_known check (role in ('owner', 'admin', 'billing', 'developer', 'viewer'))
) strict;
create index member_user on member (user_id);

insert into member (account_id, user_id, role, created_at)
select account_id, user_id, role, created_at from "user";

-- SQLite cannot drop a column that a check names, so the table is made again; what points at it is checked at the end.
pragma defer_foreign_keys = on;
create temporary table user_before as select * from "user";
drop table "user";
create table "user" (
    user_id           text    not null,
    account_id        text    not null,
    email             text    not null,
    password_hash     text    not null,
    is_admin          integer not null,
    email_verified_at integer,
    created_at        integer not null,
    deleted_at        integer,
    constraint user_pk primary key (user_id),
    constraint user_email_unique unique (email),
    constraint user_account_fk foreign key (account_id) references account (account_id)
) strict;
insert into "user" (user_id, account_id, email, password_hash, is_admin, email_verified_at, created_at)
select user_id, account_id, email, password_hash, is_admin, email_verified_at, created_at from user_before;
drop table user_before;
create index user_account on "user" (account_id);

alter table account add column deleted_at integer;

-- Somebody asked to join. Only the SHA-256 of the link's secret is kept, made when the mail is sent.
create table invitation (
    invitation_id text    not null,
    account_id    text    not null,
    email         text    not null,
    role          text    not null,
    token_hash    text,
    invited_by    text    not null,
    created_at    integer not null,
    expires_at    integer not null,
    accepted_at   integer,
    accepted_by   text,
    revoked_at    integer,
    constraint invitation_pk primary key (invitation_id),
    constraint invitation_token_unique unique (token_hash),
    constraint invitation_account_fk foreign key (account_id) references account (account_id),
    constraint invitation_role_known check (role in ('owner', 'admin', 'billing', 'developer', 'viewer')),
    constraint invitation_ends_once check (accepted_at is null or revoked_at is null)
) strict;
create unique index invitation_one_open on invitation (account_id, email) where accepted_at is null and revoked_at is null;

-- A new address that a user has still to confirm. Only the SHA-256 of the link's secret is kept; used once.
create table email_change (
    email_change_id text    not null,
    user_id         text    not null,
    new_email       text    not null,
    token_hash      text,
    created_at      integer not null,
    expires_at      integer not null,
    used_at         integer,
    constraint email_change_pk primary key (email_change_id),
    constraint email_change_token_unique unique (token_hash),
    constraint email_change_user_fk foreign key (user_id) references "user" (user_id)
) strict;
create index email_change_user on email_change (user_id);

-- A key in an authenticator app. It counts from its first code (`confirmed_at`); `last_step` is the newest code's time step,
-- so that each code counts once.
create table second_factor (
    user_id      text    not null,
    secret       text    not null,
    last_step    integer not null,
    confirmed_at integer,
    created_at   integer not null,
    constraint second_factor_pk primary key (user_id),
    constraint second_factor_user_fk foreign key (user_id) references "user" (user_id)
) strict;

-- For when the app is lost. Only the SHA-256 of a code is kept; used once.
create table recovery_code (
    user_id   text    not null,
    code_hash text    not null,
    used_at   integer,
    constraint recovery_code_pk primary key (user_id, code_hash),
    constraint recovery_code_user_fk foreign key (user_id) references "user" (user_id)
) strict;
