//! Owns: what may be paid from here in place of an account's own key: the consent, its cap, and counting runs against it.
//! Does not own: when that happens (`domain::key::choose`), taking the money (`ledger`).
//! Invariant: the runs of a month that fell back, those that go on with the most they can cost, stay within the cap: one is
//! counted before it begins, under the account's lock.

use crate::account::{Permission, User};
use crate::db::Tx;
use crate::error::Result;
use crate::{Server, on_read, on_tx};
use domain::catalogue::ModelClass;
use domain::denial::Denial;
use domain::id::{AccountId, AgentId, ExecutionId};
use domain::key::KeyPolicy;
use domain::money::Usd;
use domain::period::Period;
use domain::provider::Provider;
use domain::time::Timestamp;

/// A run that was counted and never became a hold stops to count after this.
const LOST_SECONDS: i64 = 60;
/// The largest cap, which is a slip of the pen rather than a wish.
const LARGEST_CAP_DOLLARS: i64 = 100_000;

/// A run that is paid from here because no key of the account's own works.
#[derive(Clone, Debug)]
pub struct Fallback {
    pub provider: Provider,
    pub class: ModelClass,
    /// The agent whose own rule it is, and whose cap it counts against; `None` where it is the account's.
    pub agent: Option<AgentId>,
    pub cap: Usd,
}

/// What such runs have cost this month.
#[derive(Clone, Debug, Default)]
pub struct MonthSpend(Vec<(Provider, ModelClass, Option<AgentId>, Usd)>);

impl MonthSpend {
    fn read(rows: Vec<(String, String, Option<AgentId>, Usd)>) -> Result<MonthSpend> {
        let rows = rows
            .into_iter()
            .map(|(provider, class, agent, spent)| Ok((provider.parse()?, class.parse()?, agent, spent)));
        Ok(MonthSpend(rows.collect::<Result<_>>()?))
    }

    /// What was paid by the rule of the account, or of its agent.
    pub fn of(&self, provider: Provider, class: ModelClass, agent: Option<&AgentId>) -> Usd {
        let mut rows = self.0.iter();
        let found = rows.find(|row| (row.0, row.1, row.2.as_ref()) == (provider, class, agent));
        found.map_or(Usd::ZERO, |row| row.3)
    }
}

/// What the month's runs cost, or can still cost, by provider, class and whose rule it was, but for one run.
const SPEND: &str = "
    select    f.provider, f.model_class, f.agent_id,
              cast(sum(case when e.execution_id is not null then e.cost_nanos
                            when h.state = 'open' then f.ceiling_nanos
                            when h.execution_id is null and f.created_at > $3 then f.ceiling_nanos
                            else 0 end) as bigint)
    from      key_fallback f
    left join execution e on e.execution_id = f.execution_id
    left join hold h on h.execution_id = f.execution_id
    where     f.account_id = $1 and f.created_at >= $2 and f.execution_id <> $4
    group     by f.provider, f.model_class, f.agent_id";

/// Their sums, by provider, class and whose rule it was.
pub async fn load_spend(server: &Server, account_id: &AccountId) -> Result<MonthSpend> {
    let now = server.clock.now();
    let rows = on_read!(&server.db, conn => {
        sqlx::query_as(SPEND)
            .bind(account_id)
            .bind(month_start(now))
            .bind(now.plus_seconds(-LOST_SECONDS))
            .bind("")
            .fetch_all(conn)
            .await
    })?;
    MonthSpend::read(rows)
}

/// Counts a run before it begins; the same run again counts once. Denial: `FallbackCap`.
pub async fn count(
    server: &Server,
    account_id: &AccountId,
    execution_id: &ExecutionId,
    fallback: &Fallback,
    ceiling: Usd,
) -> Result<()> {
    let now = server.clock.now();
    let mut tx = server.db.begin().await?;
    lock_account(&mut tx, account_id).await?;
    let rows = on_tx!(&mut tx, conn => {
        sqlx::query_as(SPEND)
            .bind(account_id)
            .bind(month_start(now))
            .bind(now.plus_seconds(-LOST_SECONDS))
            .bind(execution_id)
            .fetch_all(conn)
            .await
    })?;
    let spent = MonthSpend::read(rows)?.of(fallback.provider, fallback.class, fallback.agent.as_ref());
    let left = fallback.cap.saturating_sub(spent);
    if ceiling > left {
        let provider = fallback.provider.name().to_owned();
        return Err(Denial::FallbackCap { provider, cap: fallback.cap, needed: ceiling, left }.into());
    }
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into key_fallback (execution_id, account_id, provider, model_class, ceiling_nanos, created_at, agent_id)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (execution_id) do nothing",
        )
        .bind(execution_id)
        .bind(account_id)
        .bind(fallback.provider.as_str())
        .bind(fallback.class.as_str())
        .bind(ceiling)
        .bind(now)
        .bind(&fallback.agent)
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await
}

/// Decides whose key a provider's models of a class run with; `None` leaves it to whether there is a key. Falling back on ours
/// needs a cap, which is the consent. Denials: `Invalid`, and `RoleMayNot`: whoever lets credit pay must be allowed to buy.
pub async fn set_policy(
    server: &Server,
    user: &User,
    (provider, class): (Provider, ModelClass),
    policy: Option<KeyPolicy>,
    cap: &str,
) -> Result<()> {
    let cap = consented(user, policy, cap)?;
    let now = server.clock.now();
    let mut tx = server.db.begin().await?;
    match policy {
        None => on_tx!(&mut tx, conn => {
            sqlx::query("delete from key_policy where account_id = $1 and provider = $2 and model_class = $3")
                .bind(&user.account_id)
                .bind(provider.as_str())
                .bind(class.as_str())
                .execute(conn)
                .await
                .map(drop)
        })?,
        Some(policy) => on_tx!(&mut tx, conn => {
            sqlx::query(
                "insert into key_policy (account_id, provider, model_class, policy, cap_nanos, consented_by, consented_at)
                 values ($1, $2, $3, $4, $5, $6, $7)
                 on conflict (account_id, provider, model_class) do update
                 set    policy = excluded.policy, cap_nanos = excluded.cap_nanos, consented_by = excluded.consented_by,
                        consented_at = excluded.consented_at",
            )
            .bind(&user.account_id)
            .bind(provider.as_str())
            .bind(class.as_str())
            .bind(policy.as_str())
            .bind(cap)
            .bind(cap.map(|_| user.user_id.as_str()))
            .bind(cap.map(|_| now))
            .execute(conn)
            .await
            .map(drop)
        })?,
    }
    tx.commit().await?;
    tracing::info!(user_id = %user.user_id, %provider, %class, policy = policy.map_or("none", KeyPolicy::as_str), "key policy");
    Ok(())
}

/// The cap that goes with a policy, if whoever decides it may: falling back on ours needs one, and somebody who may buy.
pub(super) fn consented(user: &User, policy: Option<KeyPolicy>, cap: &str) -> std::result::Result<Option<Usd>, Denial> {
    user.require(Permission::ManageKeys)?;
    match policy {
        Some(KeyPolicy::OwnThenPlatform) => {
            user.require(Permission::ManageBilling)?;
            read_cap(cap).map(Some)
        }
        Some(KeyPolicy::Own | KeyPolicy::Platform) | None => Ok(None),
    }
}

fn read_cap(text: &str) -> std::result::Result<Usd, Denial> {
    let most = Usd::from_dollars(LARGEST_CAP_DOLLARS).unwrap_or(Usd::ZERO);
    Usd::parse_typed(text).filter(|cap| cap.is_positive() && *cap <= most).ok_or_else(|| {
        let remedy = "Write what may be paid in a month at most, such as 5.00, or choose your key alone.";
        Denial::invalid("cap", "Letting Tokenbank pay needs an amount of dollars", remedy)
    })
}

/// Months are those of the calendar, in UTC.
fn month_start(now: Timestamp) -> Timestamp {
    Period::month_from(Timestamp::from_seconds(0), now).start
}

async fn lock_account(tx: &mut Tx, account_id: &AccountId) -> Result<()> {
    match tx {
        // A write transaction is alone there.
        Tx::Sqlite(_) => Ok(()),
        Tx::Postgres(transaction) => Ok(sqlx::query("select account_id from account where account_id = $1 for update")
            .bind(account_id)
            .execute(&mut **transaction)
            .await
            .map(drop)?),
    }
}
