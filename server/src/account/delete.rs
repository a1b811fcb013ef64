//! Owns: deleting an account or a user: what stands in the way, what goes, and what stays because law or the ledger needs
//! it.
//! Invariant: postings, purchases, invoices and usage stay, without a name, an address or a text beside them; nothing
//! that was paid disappears unless its owner said so.

use super::settings::check_password;
use super::{Permission, User, second_factor};
use crate::db::Tx;
use crate::error::Result;
use crate::job::{self, Job, NewJob};
use crate::mail::{self, Mail};
use crate::{Server, api_key, ledger, member, on_read, on_tx, payment_method, session, top_up};
use domain::denial::Denial;
use domain::id::{AccountId, UserId};
use domain::ledger::Balance;
use domain::money::Usd;
use secrecy::SecretString;
use std::net::IpAddr;

/// What a deleted account is called.
const NAME: &str = "Deleted account";

/// What deleting an account would mean, for the page that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    pub members: i64,
    /// Members who belong to no other account; their sign-ins are deleted with it.
    pub only_here: i64,
    pub runs: i64,
    pub api_keys: i64,
    pub purchases: i64,
    pub balance: Balance,
    /// What has to end first, in sentences.
    pub obstacles: Vec<String>,
}

/// What becomes of paid credit that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// It stands in the way.
    Keep,
    /// Its owner gives it up.
    GiveUp,
}

/// What somebody typed to delete the account.
pub struct Confirmation {
    /// The account's name.
    pub name: String,
    pub password: SecretString,
    pub leftover: Leftover,
}

#[derive(sqlx::FromRow)]
struct Counts {
    members: i64,
    only_here: i64,
    runs: i64,
    api_keys: i64,
    purchases: i64,
    open_runs: i64,
    open_purchases: i64,
    subscriptions: i64,
}

const COUNTS: &str = "
    select (select count(*) from member where account_id = $1) as members,
           (select count(*) from member m where m.account_id = $1 and not exists (
                select 1 from member other where other.user_id = m.user_id and other.account_id <> $1)) as only_here,
           (select count(*) from execution where account_id = $1) as runs,
           (select count(*) from api_key where account_id = $1 and revoked_at is null) as api_keys,
           (select count(*) from purchase where account_id = $1 and state = 'paid') as purchases,
           (select count(*) from hold where account_id = $1 and state = 'open') as open_runs,
           (select count(*) from purchase where account_id = $1 and state in ('pending', 'held_back'))
             + (select count(*) from plan_change where account_id = $1 and state = 'pending') as open_purchases,
           (select count(*) from subscription
             where account_id = $1 and status in ('incomplete', 'trialing', 'active', 'past_due', 'unpaid', 'paused'))
             as subscriptions";

impl Counts {
    fn obstacles(&self) -> Vec<String> {
        let mut obstacles = Vec::new();
        if self.open_runs > 0 {
            obstacles
                .push(format!("{} open. Wait until they have ended.", counted(self.open_runs, "run is", "runs are")));
        }
        if self.open_purchases > 0 {
            obstacles.push("A payment is on its way. Finish it, or wait until it has lapsed.".to_owned());
        }
        if self.subscriptions > 0 {
            obstacles.push("A subscription is active. Cancel it under Plan; it ends with the paid period.".to_owned());
        }
        obstacles
    }
}

/// What deleting the user's account would mean.
pub async fn load_deletion(server: &Server, account_id: &AccountId) -> Result<Deletion> {
    let counts: Counts = on_read!(&server.db, conn => sqlx::query_as(COUNTS).bind(account_id).fetch_one(conn).await)?;
    let balance = ledger::load_balance(server, account_id).await?;
    let obstacles = counts.obstacles();
    let Counts { members, only_here, runs, api_keys, purchases, .. } = counts;
    Ok(Deletion { members, only_here, runs, api_keys, purchases, balance, obstacles })
}

/// Deletes the account that the user looks at, with its data; the texts of its runs follow within minutes, by a job.
/// Members who belong to no other account are deleted as users. Denials: `RoleMayNot`; `Invalid` for what was typed;
/// `Conflict` while runs or payments are open, a subscription is active, or paid credit is left that is not given up.
pub async fn delete_account(server: &Server, user: &User, confirmation: Confirmation, ip: IpAddr) -> Result<()> {
    user.require(Permission::ManageAccount)?;
    if confirmation.name.trim() != user.account_name {
        return Err(
            Denial::invalid("account_name", "Not the name of this account", "Type it as it stands above.").into()
        );
    }
    check_password(server, user, &confirmation.password, ip).await?;

    let account_id = &user.account_id;
    let mut tx = server.db.begin().await?;
    member::lock(&mut tx, account_id).await?;
    let counts: Counts = on_tx!(&mut tx, conn => sqlx::query_as(COUNTS).bind(account_id).fetch_one(conn).await)?;
    if let Some(problem) = counts.obstacles().into_iter().next() {
        return Err(Denial::Conflict { problem }.into());
    }
    let paid: Usd = on_tx!(&mut tx, conn => {
        sqlx::query_scalar("select coalesce(max(paid_nanos), 0) from balance where account_id = $1")
            .bind(account_id)
            .fetch_one(conn)
            .await
    })?;
    if paid.is_positive() && confirmation.leftover == Leftover::Keep {
        let problem =
            format!("{paid} of paid credit is left. Spend it, ask for a refund, or tick that you give it up.");
        return Err(Denial::Conflict { problem }.into());
    }

    ledger::give_up(&mut tx, &server.clock, account_id).await?;
    let keys = api_key::revoke_of(&mut tx, &server.clock, account_id, None).await?;
    let deleted = Mail::AccountDeleted { email: user.email.clone(), account_name: user.account_name.clone() };
    mail::send_later(&mut tx, &server.clock, deleted).await?;
    forget_account(&mut tx, server, account_id).await?;
    for (user_id, is_admin) in take_members(&mut tx, account_id).await? {
        // Admins of the installation are not deleted by the way.
        if is_admin || belongs_somewhere(&mut tx, &user_id).await? {
            member::settle(&mut tx, server, &user_id).await?;
        } else {
            forget_user(&mut tx, server, &user_id).await?;
        }
    }
    let forget = Job::ForgetTexts { account_id: account_id.clone() };
    job::insert(&mut tx, &server.clock, NewJob::now(forget, &server.clock)).await?;
    tx.commit().await?;
    server.wake_jobs.notify_one();
    server.api_callers.forget_all(&keys);
    tracing::info!(%account_id, user_id = %user.user_id, "an account was deleted");
    Ok(())
}

/// Deletes the user: they leave every account, and their e-mail may sign up anew. Denied with `Conflict` while they are the
/// only owner of an account, for then it must be handed over or deleted first.
pub async fn delete_user(server: &Server, user: &User, password: &SecretString, ip: IpAddr) -> Result<()> {
    check_password(server, user, password, ip).await?;
    let accounts = member::list_accounts(server, &user.user_id).await?;
    let mut tx = server.db.begin().await?;
    let mut keys = Vec::new();
    for account in &accounts {
        member::lock(&mut tx, &account.account_id).await?;
        let left = on_tx!(&mut tx, conn => {
            sqlx::query(
                "delete from member
                 where  account_id = $1 and user_id = $2
                        and (role <> 'owner' or exists (select 1 from member other
                             where other.account_id = $1 and other.user_id <> $2 and other.role = 'owner'))",
            )
            .bind(&account.account_id)
            .bind(&user.user_id)
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
        })?;
        if left == 0 {
            let name = &account.account_name;
            let problem = format!("You are the only owner of {name}. Hand it over or delete it first.");
            return Err(Denial::Conflict { problem }.into());
        }
        top_up::withdraw(&mut tx, server, &account.account_id, &user.user_id).await?;
        keys.extend(api_key::revoke_of(&mut tx, &server.clock, &account.account_id, Some(&user.user_id)).await?);
        member::seats_changed(&mut tx, &server.clock, &account.account_id).await?;
    }
    forget_user(&mut tx, server, &user.user_id).await?;
    tx.commit().await?;
    server.wake_jobs.notify_one();
    server.api_callers.forget_all(&keys);
    tracing::info!(user_id = %user.user_id, "a user was deleted");
    Ok(())
}

/// The job that follows a deletion: texts of runs, and what Stripe's events say about people.
pub async fn forget_texts(server: &Server, account_id: &AccountId) -> Result<()> {
    ledger::forget_texts(server, account_id).await?;
    let customer: Option<Option<String>> = on_read!(&server.db, conn => {
        sqlx::query_scalar("select stripe_customer_id from account where account_id = $1 and deleted_at is not null")
            .bind(account_id)
            .fetch_optional(conn)
            .await
    })?;
    let Some(customer) = customer.flatten() else { return Ok(()) };
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            r#"update stripe_event
               set    payload = '{"forgotten":true}'
               where  state in ('applied', 'ignored') and payload like '%"' || $1 || '"%'"#,
        )
        .bind(&customer)
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await
}

/// The account's row without its name, frozen for good; what only served it goes.
async fn forget_account(tx: &mut Tx, server: &Server, account_id: &AccountId) -> Result<()> {
    let now = server.clock.now();
    on_tx!(&mut *tx, conn => {
        sqlx::query(
            "update account
             set    name = $2, time_zone = 'UTC', frozen_reason = 'it was deleted', frozen_at = $3, deleted_at = $3
             where  account_id = $1",
        )
        .bind(account_id)
        .bind(NAME)
        .bind(now)
        .execute(conn)
        .await
        .map(drop)
    })?;
    payment_method::forget(&mut *tx, server, account_id).await?;
    for statement in [
        "delete from invitation where account_id = $1",
        "delete from provider_key where account_id = $1",
        "delete from key_policy where account_id = $1",
        "delete from agent_key_policy where account_id = $1",
        "update agent
         set    name = 'deleted', state = 'stopped',
                deleted_at = coalesce(deleted_at, (select deleted_at from account where account_id = $1))
         where  account_id = $1",
        "delete from key_connection where account_id = $1",
        "delete from webhook_attempt where delivery_id in (select delivery_id from webhook_delivery where account_id = $1)",
        "delete from webhook_delivery where account_id = $1",
        "delete from webhook where account_id = $1",
        "delete from notice_reader where account_id = $1",
        "delete from notice_preference where account_id = $1",
        "delete from notice where account_id = $1",
        "delete from budget where account_id = $1",
        "delete from advice_dismissal where account_id = $1",
        "update top_up_rule set is_on = 0 where account_id = $1",
        "delete from idempotent_request where account_id = $1",
        "delete from refused_run where account_id = $1",
        "update api_key set name = 'deleted' where account_id = $1",
        "update invoice set page_url = null, pdf_url = null where account_id = $1",
        "update trial_appeal set reason = '' where account_id = $1",
    ] {
        on_tx!(&mut *tx, conn => sqlx::query(statement).bind(account_id).execute(conn).await.map(drop))?;
    }
    Ok(())
}

/// Empties the account of its members; who they were, and whether they are admins of the installation.
async fn take_members(tx: &mut Tx, account_id: &AccountId) -> Result<Vec<(UserId, bool)>> {
    let rows: Vec<(UserId, i64)> = on_tx!(&mut *tx, conn => {
        sqlx::query_as(
            r#"select m.user_id, u.is_admin
               from   member m
               join   "user" u on u.user_id = m.user_id
               where  m.account_id = $1
               order  by m.user_id"#,
        )
        .bind(account_id)
        .fetch_all(conn)
        .await
    })?;
    on_tx!(tx, conn => {
        sqlx::query("delete from member where account_id = $1").bind(account_id).execute(conn).await.map(drop)
    })?;
    Ok(rows.into_iter().map(|(user_id, is_admin)| (user_id, is_admin != 0)).collect())
}

async fn belongs_somewhere(tx: &mut Tx, user_id: &UserId) -> Result<bool> {
    let accounts: i64 = on_tx!(tx, conn => {
        sqlx::query_scalar("select count(*) from member where user_id = $1").bind(user_id).fetch_one(conn).await
    })?;
    Ok(accounts > 0)
}

/// The user's row without an address or a password; sessions and links end.
async fn forget_user(tx: &mut Tx, server: &Server, user_id: &UserId) -> Result<()> {
    session::delete_all(tx, user_id).await?;
    second_factor::forget(tx, user_id).await?;
    for statement in [
        "delete from user_token where user_id = $1",
        "delete from email_change where user_id = $1",
        "delete from notice_reader where user_id = $1",
        "delete from notice_preference where user_id = $1",
    ] {
        on_tx!(&mut *tx, conn => sqlx::query(statement).bind(user_id).execute(conn).await.map(drop))?;
    }
    on_tx!(tx, conn => {
        sqlx::query(
            r#"update "user"
               set    email = 'deleted:' || user_id, password_hash = '', email_verified_at = null, is_admin = 0,
                      deleted_at = $2
               where  user_id = $1"#,
        )
        .bind(user_id)
        .bind(server.clock.now())
        .execute(conn)
        .await
        .map(drop)
    })?;
    Ok(())
}

fn counted(number: i64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}
