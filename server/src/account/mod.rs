//! Owns: accounts and the users who sign in: sign-up, e-mail links, sign-in, password reset.
//! Does not own: browser sessions (`session`), API keys (`api_key`), balances (`ledger`), what the mail says (`mail`).
//! Invariant: no answer tells whether an e-mail has an account: same sentence, same work, and a mail either way.

mod delete;
mod email;
mod link;
mod reset;
mod second_factor;
mod settings;
mod sign_in;
mod sign_up;
mod totp;

pub use delete::{Confirmation, Deletion, Leftover, delete_account, delete_user, forget_texts, load_deletion};
pub use email::Email;
pub use link::{Purpose, issue as issue_link, sweep_expired as sweep_links};
pub use reset::{request_password_reset, reset_password};
pub(crate) use second_factor::reseal_second_factor;
pub use second_factor::{
    SecondFactor, begin_second_factor, check_second_factor, confirm_second_factor, end_second_factor,
    load_second_factor, renew_recovery_codes, sign_in_second,
};
pub(crate) use settings::issue_email_link;
pub use settings::{change_account, change_password, confirm_new_email, request_email_change};
pub use sign_in::sign_in;
pub(crate) use sign_up::checked_name;
pub use sign_up::{SignUp, sign_up, verify_email};
pub use totp::{code_at, from_base32};

use crate::db::Tx;
use crate::error::{Error, Result};
use crate::password::{Password, PasswordHash};
use crate::{Server, ledger, member, on_read, on_tx};
use domain::denial::Denial;
use domain::id::{AccountId, UserId};
use domain::member::Standing;
pub use domain::member::{Permission, Role};
use domain::time::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// Who is signed in, as every page sees it. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub user_id: UserId,
    /// The account that this request is about: the one chosen in this browser.
    pub account_id: AccountId,
    pub email: String,
    /// What they are in that account.
    pub role: Role,
    /// Ours: sees the admin pages.
    pub is_admin: bool,
    pub email_verified: bool,
    pub account_name: String,
    /// An IANA name, such as `Europe/Vienna`.
    pub time_zone: String,
}

impl User {
    /// A denial that names who may do it, unless this user's role in the account may.
    pub fn require(&self, permission: Permission) -> std::result::Result<(), Denial> {
        Standing { role: self.role, account_name: &self.account_name }.require(permission)
    }
}

/// The account a new user belongs to.
#[derive(Clone, Debug)]
pub enum NewAccount {
    /// A new one with this name and time zone, on the plan that everybody starts on.
    Open { name: String, time_zone: String },
    /// One that exists.
    Join(AccountId),
}

/// A user to add.
#[derive(Clone, Debug)]
pub struct NewUser {
    pub email: Email,
    pub password: PasswordHash,
    pub account: NewAccount,
    pub role: Role,
    pub is_admin: bool,
}

#[derive(sqlx::FromRow)]
struct UserRow {
    user_id: UserId,
    account_id: AccountId,
    email: String,
    role: String,
    is_admin: i64,
    email_verified_at: Option<Timestamp>,
    account_name: String,
    time_zone: String,
}

impl UserRow {
    fn into_user(self) -> Result<User> {
        let role =
            self.role.parse().map_err(|error| Error::internal(&format!("member.role of {}", self.user_id), error))?;
        Ok(User {
            user_id: self.user_id,
            account_id: self.account_id,
            email: self.email,
            role,
            is_admin: self.is_admin != 0,
            email_verified: self.email_verified_at.is_some(),
            account_name: self.account_name,
            time_zone: self.time_zone,
        })
    }
}

/// The user with this id in the account that they open first; nobody, when they were deleted.
pub async fn load_user(server: &Server, user_id: &UserId) -> Result<Option<User>> {
    load_user_in(server, user_id, None).await
}

/// The user in the account they chose, if they are (still) a member of it, else in the one they open first.
pub async fn load_user_in(server: &Server, user_id: &UserId, chosen: Option<&AccountId>) -> Result<Option<User>> {
    let row: Option<UserRow> = on_read!(&server.db, conn => {
        sqlx::query_as(
            r#"select u.user_id, a.account_id, u.email, m.role, u.is_admin, u.email_verified_at,
                      a.name as account_name, a.time_zone
               from   "user" u
               join   member m on m.user_id = u.user_id
               join   account a on a.account_id = m.account_id
               where  u.user_id = $1
               order  by case when m.account_id = $2 then 0 when m.account_id = u.account_id then 1 else 2 end,
                         m.created_at, m.account_id
               limit  1"#,
        )
        .bind(user_id)
        .bind(chosen)
        .fetch_optional(conn)
        .await
    })?;
    row.map(UserRow::into_user).transpose()
}

/// The id of the user with this e-mail.
pub async fn load_user_id(server: &Server, email: &Email) -> Result<Option<UserId>> {
    let user_id = on_read!(&server.db, conn => {
        sqlx::query_scalar(r#"select user_id from "user" where email = $1"#).bind(email).fetch_optional(conn).await
    })?;
    Ok(user_id)
}

/// Adds a user whose e-mail needs no link, for the demo, `tokenbank admin create` and tests. `Conflict` if the e-mail
/// is taken; then roll back.
pub async fn create_verified(tx: &mut Tx, server: &Server, new: NewUser) -> Result<User> {
    let (email, role, is_admin) = (new.email.to_string(), new.role, new.is_admin);
    let Some(user_id) = insert_user(tx, server, new).await? else {
        return Err(Denial::Conflict { problem: format!("{email} has an account already.") }.into());
    };
    set_verified(tx, &user_id, server.clock.now()).await?;
    let (account_id, account_name, time_zone): (AccountId, String, String) = on_tx!(tx, conn => {
        sqlx::query_as(
            r#"select a.account_id, a.name, a.time_zone
               from   "user" u
               join   account a on a.account_id = u.account_id
               where  u.user_id = $1"#,
        )
        .bind(&user_id)
        .fetch_one(conn)
        .await
    })?;
    Ok(User { user_id, account_id, email, role, is_admin, email_verified: true, account_name, time_zone })
}

/// Makes the user with this e-mail an admin of this installation; without such a user, adds one with an account of
/// its own. An existing user keeps their password.
pub async fn make_admin(server: &Server, email: &str, password: &SecretString) -> Result<UserId> {
    let email = Email::parse(email)?;
    if let Some(user_id) = load_user_id(server, &email).await? {
        let mut tx = server.db.begin().await?;
        on_tx!(&mut tx, conn => {
            sqlx::query(r#"update "user" set is_admin = 1 where user_id = $1"#).bind(&user_id).execute(conn).await.map(drop)
        })?;
        set_verified(&mut tx, &user_id, server.clock.now()).await?;
        tx.commit().await?;
        return Ok(user_id);
    }

    let hash = server.passwords.hash(&server.clock, Password::check(password, &email)?).await?;
    let account = NewAccount::Open { name: "Administration".to_owned(), time_zone: "UTC".to_owned() };
    let mut tx = server.db.begin().await?;
    let new = NewUser { email, password: hash, account, role: Role::Owner, is_admin: true };
    let user = create_verified(&mut tx, server, new).await?;
    tx.commit().await?;
    Ok(user.user_id)
}

/// Adds the user, with their account if it is new; `None` if the e-mail is taken, and then the caller must roll back.
async fn insert_user(tx: &mut Tx, server: &Server, new: NewUser) -> Result<Option<UserId>> {
    let clock = &server.clock;
    let account_id = match new.account {
        NewAccount::Join(account_id) => account_id,
        NewAccount::Open { name, time_zone } => open_account(tx, server, &name, &time_zone).await?,
    };
    let user_id = UserId::new(clock.new_id());
    let inserted = on_tx!(&mut *tx, conn => {
        sqlx::query(
            r#"insert into "user" (user_id, account_id, email, password_hash, is_admin, created_at)
               values ($1, $2, $3, $4, $5, $6)
               on conflict (email) do nothing"#,
        )
        .bind(&user_id)
        .bind(&account_id)
        .bind(&new.email)
        .bind(&new.password)
        .bind(i64::from(new.is_admin))
        .bind(clock.now())
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if inserted == 0 {
        return Ok(None);
    }
    member::insert(tx, clock, &account_id, &user_id, new.role).await?;
    Ok(Some(user_id))
}

/// Opens an account with a balance of zero, on the plan that everybody starts on.
pub(crate) async fn open_account(tx: &mut Tx, server: &Server, name: &str, time_zone: &str) -> Result<AccountId> {
    let account_id = AccountId::new(server.clock.new_id());
    on_tx!(&mut *tx, conn => {
        sqlx::query(
            "insert into account (account_id, name, plan_id, time_zone, created_at)
             values ($1, $2, $3, $4, $5)",
        )
        .bind(&account_id)
        .bind(name)
        .bind(&server.catalogue.load().signup_plan)
        .bind(time_zone)
        .bind(server.clock.now())
        .execute(conn)
        .await
        .map(drop)
    })?;
    ledger::open_account(tx, &account_id).await?;
    Ok(account_id)
}

/// Notes that the user has shown to own the e-mail; the first time counts.
async fn set_verified(tx: &mut Tx, user_id: &UserId, now: Timestamp) -> Result<()> {
    on_tx!(tx, conn => {
        sqlx::query(r#"update "user" set email_verified_at = $1 where user_id = $2 and email_verified_at is null"#)
            .bind(now)
            .bind(user_id)
            .execute(conn)
            .await
            .map(drop)
    })?;
    Ok(())
}
