//! Owns: an account's budgets for a month, and the balance below which it is told.
//! Invariant: a budget tells and stops nothing; a changed budget is a new one, whose shares are told anew.

use super::{forget_seen, subject};
use crate::account::{Permission, User};
use crate::error::{Error, Result};
use crate::{Server, on_read, on_tx};
use domain::catalogue::Catalogue;
use domain::denial::Denial;
use domain::id::{AccountId, BudgetId, ModelId, SkillId};
use domain::money::Usd;

/// Budgets that an account may have.
const MOST_BUDGETS: i64 = 20;
/// No month costs more.
const LARGEST: i64 = 1_000_000;

domain::text_enum! {
    /// What a budget counts.
    Scope {
        All = "all",
        Model = "model",
        Skill = "skill",
        /// The runs of one of our API keys.
        ApiKey = "api_key",
        /// One member's runs, from pages and with their API keys.
        Member = "member",
    }
}

/// What a month may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    pub budget_id: BudgetId,
    pub scope: Scope,
    /// The model, skill, API key or member; empty for all runs.
    pub scope_id: String,
    pub amount: Usd,
    /// What an API key is called, or a member's address.
    label: Option<String>,
}

impl Budget {
    /// What it counts, in words: `all runs`, or the name of its model, skill, API key or member.
    pub fn name(&self, catalogue: &Catalogue) -> String {
        let known = match self.scope {
            Scope::All => Some("all runs".to_owned()),
            Scope::Model => catalogue.model(&ModelId::new(&self.scope_id)).ok().map(|model| model.name.clone()),
            Scope::Skill => catalogue.skill(&SkillId::new(&self.scope_id)).ok().map(|skill| skill.name.clone()),
            Scope::ApiKey => self.label.as_ref().map(|name| format!("the API key {name}")),
            Scope::Member => self.label.clone(),
        };
        known.unwrap_or_else(|| self.scope_id.clone())
    }
}

/// The account's budgets: the one for all runs first.
pub async fn list_budgets(server: &Server, account_id: &AccountId) -> Result<Vec<Budget>> {
    let rows: Vec<(BudgetId, String, String, Usd, Option<String>)> = on_read!(&server.db, conn => {
        sqlx::query_as(
            r#"select   b.budget_id, b.scope, b.scope_id, b.amount_nanos, coalesce(k.name, u.email)
               from     budget b
               left join api_key k on b.scope = 'api_key' and k.api_key_id = b.scope_id and k.account_id = b.account_id
               left join "user" u on b.scope = 'member' and u.user_id = b.scope_id
               where    b.account_id = $1
               order by b.scope, b.scope_id
               limit    100"#,
        )
        .bind(account_id)
        .fetch_all(conn)
        .await
    })?;
    rows.into_iter()
        .map(|(budget_id, scope, scope_id, amount, label)| {
            Ok(Budget { budget_id, scope: scope.parse()?, scope_id, amount, label })
        })
        .collect()
}

/// Sets the budget of all runs, or of one model, skill, API key or member; one there was is replaced. `amount` is dollars as
/// they were typed. Denials: `RoleMayNot`, `Invalid`, `NotFound` (no such key or member of this account), `Conflict` past 20
/// budgets.
pub async fn set_budget(server: &Server, user: &User, scope: Scope, scope_id: &str, amount: &str) -> Result<()> {
    user.require(Permission::ManageBilling)?;
    let amount = dollars("amount", amount)?;
    if !amount.is_positive() {
        return Err(Denial::invalid("amount", "A budget of nothing", "Type dollars, such as 50.").into());
    }
    let catalogue = server.catalogue.load_full();
    let scope_id = match scope {
        Scope::All => String::new(),
        Scope::Model => catalogue.model(&ModelId::new(scope_id))?.id.to_string(),
        Scope::Skill => catalogue.skill(&SkillId::new(scope_id))?.id.to_string(),
        Scope::ApiKey | Scope::Member => scope_id.to_owned(),
    };

    let mut tx = server.db.begin().await?;
    subject::require(&mut tx, &user.account_id, (scope, &scope_id)).await?;
    on_tx!(&mut tx, conn => {
        sqlx::query("delete from budget where account_id = $1 and scope = $2 and scope_id = $3 and amount_nanos <> $4")
            .bind(&user.account_id)
            .bind(scope.as_str())
            .bind(&scope_id)
            .bind(amount)
            .execute(conn)
            .await
            .map(drop)
    })?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into budget (budget_id, account_id, scope, scope_id, amount_nanos, created_at)
             values ($1, $2, $3, $4, $5, $6)
             on conflict (account_id, scope, scope_id) do nothing",
        )
        .bind(server.clock.new_id())
        .bind(&user.account_id)
        .bind(scope.as_str())
        .bind(&scope_id)
        .bind(amount)
        .bind(server.clock.now())
        .execute(conn)
        .await
        .map(drop)
    })?;
    let count: i64 = on_tx!(&mut tx, conn => {
        sqlx::query_scalar("select count(*) from budget where account_id = $1")
            .bind(&user.account_id)
            .fetch_one(conn)
            .await
    })?;
    if count > MOST_BUDGETS {
        let problem = format!("This account has {MOST_BUDGETS} budgets, the most it may have. Delete one first.");
        return Err(Denial::Conflict { problem }.into());
    }
    forget_seen(&mut tx, &user.account_id).await?;
    tx.commit().await
}

/// Deletes a budget. Denials: `RoleMayNot`, `NotFound`.
pub async fn delete_budget(server: &Server, user: &User, budget_id: &BudgetId) -> Result<()> {
    user.require(Permission::ManageBilling)?;
    let mut tx = server.db.begin().await?;
    let deleted = on_tx!(&mut tx, conn => {
        sqlx::query("delete from budget where budget_id = $1 and account_id = $2")
            .bind(budget_id)
            .bind(&user.account_id)
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
    })?;
    if deleted == 0 {
        return Err(Denial::NotFound { what: "budget".to_owned() }.into());
    }
    tx.commit().await
}

/// Below which balance the account is told: its own mark, else the catalogue's; $0.00 is never.
pub async fn load_low_mark(server: &Server, account_id: &AccountId) -> Result<Usd> {
    let own: Option<Usd> = on_read!(&server.db, conn => {
        sqlx::query_scalar("select low_balance_nanos from alert_setting where account_id = $1")
            .bind(account_id)
            .fetch_optional(conn)
            .await
    })?;
    Ok(own.unwrap_or_else(|| server.catalogue.load().limits.low_balance))
}

/// Sets the mark, in dollars as they were typed. Denials: `RoleMayNot`, `Invalid`.
pub async fn set_low_mark(server: &Server, user: &User, mark: &str) -> Result<()> {
    user.require(Permission::ManageBilling)?;
    let mark = dollars("mark", mark)?;
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into alert_setting (account_id, low_balance_nanos)
             values ($1, $2)
             on conflict (account_id) do update set low_balance_nanos = excluded.low_balance_nanos",
        )
        .bind(&user.account_id)
        .bind(mark)
        .execute(conn)
        .await
        .map(drop)
    })?;
    forget_seen(&mut tx, &user.account_id).await?;
    tx.commit().await
}

/// Dollars as people type them, whole cents, not negative.
fn dollars(field: &'static str, typed: &str) -> Result<Usd> {
    let amount = Usd::parse_typed(typed).filter(|amount| amount.to_cents_exact().is_some());
    let amount = amount.filter(|amount| Usd::from_dollars(LARGEST).is_some_and(|largest| *amount <= largest));
    amount.ok_or_else(|| {
        Error::from(Denial::invalid(
            field,
            "Not an amount up to $1,000,000, in whole cents",
            "Type dollars, such as 50.",
        ))
    })
}
