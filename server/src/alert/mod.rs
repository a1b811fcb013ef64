//! Owns: looking at what accounts used, and telling them when a share of a limit or budget is reached or the balance is low.
//! Does not own: the rules (`domain::alert`, `domain::forecast`), telling (`notice`), what others raise (payments, keys).
//! Invariant: nothing is read or written on the way of a run; a sweep looks at accounts whose ledger moved. Each share is
//! told once in a period, by however many nodes that sweep.

mod budget;
mod subject;
mod usage;

pub use budget::{Budget, Scope, delete_budget, list_budgets, load_low_mark, set_budget, set_low_mark};
pub use usage::{Month, load_month};

use crate::allowance::{self, load_counters};
use crate::db::Tx;
use crate::error::Result;
use crate::notice::{self, Notice};
use crate::{Server, ledger, on_read, on_tx};
use domain::alert::{Step, Watch, low_balance, reached};
use domain::id::AccountId;
use domain::money::Usd;
use domain::plan::Allowance;
use domain::time::Timestamp;
use std::collections::BTreeMap;

/// Accounts that are looked at before what was seen is written down.
const BATCH: i64 = 100;
const LOW_BALANCE: &str = "low_balance";

/// An account whose ledger moved since it was looked at.
#[derive(sqlx::FromRow)]
struct Moved {
    account_id: AccountId,
    last_seq: i64,
    executions: i64,
}

/// What was told: the highest share of each subject in a period, and 1 or 0 for the low balance.
type Told = BTreeMap<(String, Timestamp), i64>;

/// Something to tell, if nobody has meanwhile.
struct Due {
    subject: String,
    period_start: Timestamp,
    percent: u64,
    notice: Notice,
}

/// What follows from looking at one account.
struct Findings {
    due: Vec<Due>,
    low: Step,
    low_notice: Notice,
}

/// Looks at every account whose ledger moved since the last look; how many notices were raised.
pub async fn sweep(server: &Server) -> Result<usize> {
    let mut raised = 0;
    let mut after = AccountId::new("");
    loop {
        let moved = list_moved(server, &after).await?;
        let Some(last) = moved.last() else { return Ok(raised) };
        after = last.account_id.clone();
        for account in &moved {
            // One account that cannot be read must not keep the others waiting.
            match look_at(server, &account.account_id).await {
                Ok(count) => raised += count,
                Err(error) => tracing::error!(account_id = %account.account_id, %error, "an account's alerts"),
            }
        }
        write_seen(server, &moved).await?;
    }
}

async fn list_moved(server: &Server, after: &AccountId) -> Result<Vec<Moved>> {
    Ok(on_read!(&server.db, conn => {
        sqlx::query_as(
            "select   now.account_id, now.last_seq, now.executions
             from     (select b.account_id, b.last_seq,
                              cast(coalesce((select sum(u.executions) from allowance_use u
                                             where  u.account_id = b.account_id), 0) as bigint) as executions
                       from   balance b
                       where  b.account_id > $1) now
             join     account a on a.account_id = now.account_id and a.deleted_at is null
             left join alert_seen s on s.account_id = now.account_id
             where    coalesce(s.last_seq, 0) <> now.last_seq or coalesce(s.executions, 0) <> now.executions
             order by now.account_id
             limit    $2",
        )
        .bind(after)
        .bind(BATCH)
        .fetch_all(conn)
        .await
    })?)
}

async fn write_seen(server: &Server, moved: &[Moved]) -> Result<()> {
    let now = server.clock.now();
    let mut tx = server.db.begin().await?;
    for account in moved {
        on_tx!(&mut tx, conn => {
            sqlx::query(
                "insert into alert_seen (account_id, last_seq, executions, seen_at)
                 values ($1, $2, $3, $4)
                 on conflict (account_id) do update
                 set last_seq = excluded.last_seq, executions = excluded.executions, seen_at = excluded.seen_at",
            )
            .bind(&account.account_id)
            .bind(account.last_seq)
            .bind(account.executions)
            .bind(now)
            .execute(conn)
            .await
            .map(drop)
        })?;
    }
    tx.commit().await
}

/// After a change of settings: the account is looked at anew by the next sweep.
async fn forget_seen(tx: &mut Tx, account_id: &AccountId) -> Result<()> {
    on_tx!(tx, conn => {
        sqlx::query("delete from alert_seen where account_id = $1").bind(account_id).execute(conn).await.map(drop)
    })?;
    Ok(())
}

/// Reads, decides, and tells what is due; how many notices were new.
async fn look_at(server: &Server, account_id: &AccountId) -> Result<usize> {
    let told = load_told(server, account_id).await?;
    let findings = find(server, account_id, &told).await?;
    if findings.due.is_empty() && findings.low == Step::Nothing {
        return Ok(0);
    }

    let mut raised = 0;
    let mut tx = server.db.begin().await?;
    for due in &findings.due {
        if advance(&mut tx, account_id, due).await? {
            let key = format!("{}:{}:{}", due.subject, due.period_start.micros(), due.percent);
            raised += usize::from(notice::raise(&mut tx, &server.clock, account_id, &due.notice, &key).await?);
        }
    }
    match findings.low {
        Step::Tell => {
            if let Some(episode) = begin_episode(&mut tx, account_id).await? {
                let key = format!("{LOW_BALANCE}:{episode}");
                let is_new = notice::raise(&mut tx, &server.clock, account_id, &findings.low_notice, &key).await?;
                raised += usize::from(is_new);
            }
        }
        Step::Arm => end_episode(&mut tx, account_id).await?,
        Step::Nothing => {}
    }
    tx.commit().await?;
    Ok(raised)
}

async fn find(server: &Server, account_id: &AccountId, told: &Told) -> Result<Findings> {
    let percents = server.catalogue.load().limits.alert_percents.clone();
    let standing = allowance::load(server, account_id).await?;
    let (used, _) = load_counters(server, account_id, &standing.rule).await?;
    let balance = ledger::load_balance(server, account_id).await?;
    let mark = load_low_mark(server, account_id).await?;
    let month = load_month(server, account_id).await?;
    let told_of = |subject: &str, start: Timestamp| {
        told.get(&(subject.to_owned(), start)).map_or(0, |percent| percent.max(&0).unsigned_abs())
    };

    let mut due = Vec::new();
    let (subject, period_start) = ("executions".to_owned(), standing.rule.period_start);
    if let Allowance::AtMost(included) = standing.rule.executions
        && let Some(percent) =
            reached(&percents, (i128::from(used.executions), i128::from(included)), told_of(&subject, period_start))
    {
        let period_ends_at = standing.rule.period_end;
        let notice = Notice::ExecutionsReached { percent, used: used.executions, included, period_ends_at };
        due.push(Due { subject, period_start, percent, notice });
    }
    for budget in list_budgets(server, account_id).await? {
        let (start, month_ends_at) = (month.period.start, month.period.end);
        let amount = budget.amount;
        let share = |spent: Usd| (i128::from(spent.nanos()), i128::from(amount.nanos()));
        let name = budget.name(&server.catalogue.load());
        let spent = month.spent(&budget).this_month;
        let subject = format!("budget:{}", budget.budget_id);
        let percent = reached(&percents, share(spent), told_of(&subject, start));
        if let Some(percent) = percent {
            let notice = Notice::BudgetReached { percent, budget: name.clone(), spent, amount, month_ends_at };
            due.push(Due { subject, period_start: start, percent, notice });
        }
        let subject = format!("forecast:{}", budget.budget_id);
        let Some(forecast) = month.forecast(&budget) else { continue };
        if let Some(percent) = reached(&percents, share(forecast), told_of(&subject, start)) {
            let notice = Notice::ProjectedSpend { percent, budget: name, forecast, amount, month_ends_at };
            due.push(Due { subject, period_start: start, percent, notice });
        }
    }

    // Money set aside for a run that has not ended is still the account's; a hold alone is no reason to worry anybody.
    let total = balance.total();
    let watch = match told.get(&(LOW_BALANCE.to_owned(), Timestamp::default())) {
        Some(1) => Watch::Told,
        Some(_) | None => Watch::Armed,
    };
    let low = if month.has_credit { low_balance(total, mark, watch) } else { Step::Nothing };
    Ok(Findings { due, low, low_notice: Notice::LowBalance { spendable: total, mark } })
}

async fn load_told(server: &Server, account_id: &AccountId) -> Result<Told> {
    let since = server.clock.now().plus_seconds(-400 * 86_400);
    let rows: Vec<(String, Timestamp, i64)> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select subject, period_start, told_percent
             from   alert_state
             where  account_id = $1 and (period_start >= $2 or period_start = 0)",
        )
        .bind(account_id)
        .bind(since)
        .fetch_all(conn)
        .await
    })?;
    Ok(rows.into_iter().map(|(subject, start, percent)| ((subject, start), percent)).collect())
}

/// Whether this share is the first so high in its period. A lower one that another node told meanwhile stays below it.
async fn advance(tx: &mut Tx, account_id: &AccountId, due: &Due) -> Result<bool> {
    let changed = on_tx!(tx, conn => {
        sqlx::query(
            "insert into alert_state (account_id, subject, period_start, told_percent, episode)
             values ($1, $2, $3, $4, 0)
             on conflict (account_id, subject, period_start) do update
             set   told_percent = excluded.told_percent
             where alert_state.told_percent < excluded.told_percent",
        )
        .bind(account_id)
        .bind(&due.subject)
        .bind(due.period_start)
        .bind(i64::try_from(due.percent).unwrap_or(i64::MAX))
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    Ok(changed > 0)
}

/// The number of this fall below the mark; nothing, when another node has told it.
async fn begin_episode(tx: &mut Tx, account_id: &AccountId) -> Result<Option<i64>> {
    Ok(on_tx!(tx, conn => {
        sqlx::query_scalar(
            "insert into alert_state (account_id, subject, period_start, told_percent, episode)
             values ($1, $2, 0, 1, 1)
             on conflict (account_id, subject, period_start) do update
             set   told_percent = 1, episode = alert_state.episode + 1
             where alert_state.told_percent = 0
             returning episode",
        )
        .bind(account_id)
        .bind(LOW_BALANCE)
        .fetch_optional(conn)
        .await
    })?)
}

async fn end_episode(tx: &mut Tx, account_id: &AccountId) -> Result<()> {
    on_tx!(tx, conn => {
        sqlx::query(
            "update alert_state set told_percent = 0 where account_id = $1 and subject = $2 and told_percent = 1",
        )
        .bind(account_id)
        .bind(LOW_BALANCE)
        .execute(conn)
        .await
        .map(drop)
    })?;
    Ok(())
}
