//! Owns: work to do later, at least once: leasing, retries with growing pauses, giving up in the open.
//! Does not own: what a job does; each variant of [`Job`] calls one function of its feature.
//! Invariant: a job is inserted in the transaction of the fact that causes it, so neither exists without the other.

use crate::clock::Clock;
use crate::db::{Db, Tx};
use crate::error::{Error, Result};
use crate::stripe::object::PaymentMethodId;
use crate::{Server, account, mail, notice, on_tx, payment_method, refund, stripe, subscription, top_up};
use domain::id::{AccountId, NoticeId, PurchaseId, RefundId};
use domain::money::Usd;
use domain::time::Timestamp;
use domain::top_up::Trigger;
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

/// How long a worker may keep a job before another may take it.
const LEASE_SECONDS: i64 = 120;
/// How long one try may take; less than the lease.
const TRY_TIMEOUT: Duration = Duration::from_secs(90);
/// After so many failed tries a job is dead, and the log says so.
const MOST_ATTEMPTS: i64 = 10;
/// How many jobs are leased at a time.
const BATCH: i64 = 16;

/// Everything that can be done later. Stored as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Job {
    SendMail(mail::Mail),
    ApplyStripeEvent {
        stripe_event_id: String,
    },
    /// An account was deleted; what people wrote in it goes.
    ForgetTexts {
        account_id: AccountId,
    },
    /// Members came or went, so the plan's seats may have to follow.
    SyncSeats {
        account_id: AccountId,
    },
    /// A notice was raised; those whom it concerns are told.
    TellNotice {
        notice_id: NoticeId,
    },
    /// The balance may be low: look whether a top-up is due, and make it. `refused` is what a run needed that was refused.
    TopUp {
        account_id: AccountId,
        trigger: Trigger,
        refused: Usd,
    },
    /// A purchase was paid whose buyer agreed that the card is kept.
    KeepCard {
        purchase_id: PurchaseId,
    },
    /// A card is not kept any more, so Stripe is to forget it too.
    DetachCard {
        payment_method_id: PaymentMethodId,
    },
    /// A refund was asked for and its credit taken; the money is to be sent.
    SendRefund {
        refund_id: RefundId,
    },
    /// A plan at the own-key price has had no key that works for its days of grace.
    MoveToStandardPrice {
        account_id: AccountId,
    },
}

/// A job to insert.
#[derive(Clone, Debug)]
pub struct NewJob {
    pub job: Job,
    /// At most one open job has this key; a second one is dropped.
    pub unique_key: Option<String>,
    pub run_at: Timestamp,
}

impl NewJob {
    /// To be done at once.
    pub fn now(job: Job, clock: &Clock) -> NewJob {
        NewJob { job, unique_key: None, run_at: clock.now() }
    }
}

impl Job {
    const fn kind(&self) -> &'static str {
        match self {
            Job::SendMail(_) => "send_mail",
            Job::ApplyStripeEvent { .. } => "apply_stripe_event",
            Job::ForgetTexts { .. } => "forget_texts",
            Job::SyncSeats { .. } => "sync_seats",
            Job::TellNotice { .. } => "tell_notice",
            Job::TopUp { .. } => "top_up",
            Job::KeepCard { .. } => "keep_card",
            Job::DetachCard { .. } => "detach_card",
            Job::SendRefund { .. } => "send_refund",
            Job::MoveToStandardPrice { .. } => "move_to_standard_price",
        }
    }

    async fn run(self, server: &Server) -> Result<()> {
        match self {
            Job::SendMail(mail) => mail::deliver(server, &mail).await,
            Job::ApplyStripeEvent { stripe_event_id } => stripe::apply::apply_stored(server, &stripe_event_id).await,
            Job::ForgetTexts { account_id } => account::forget_texts(server, &account_id).await,
            Job::SyncSeats { account_id } => subscription::sync_seats(server, &account_id).await,
            Job::TellNotice { notice_id } => notice::tell(server, &notice_id).await,
            Job::TopUp { account_id, trigger, refused } => top_up::run(server, &account_id, trigger, refused).await,
            Job::KeepCard { purchase_id } => payment_method::keep_from_purchase(server, &purchase_id).await,
            Job::DetachCard { payment_method_id } => Ok(server.stripe.detach_card(&payment_method_id).await?),
            Job::SendRefund { refund_id } => refund::send(server, &refund_id).await,
            Job::MoveToStandardPrice { account_id } => subscription::move_to_standard_price(server, &account_id).await,
        }
    }
}

/// Adds a job to the caller's transaction.
pub async fn insert(tx: &mut Tx, clock: &Clock, new: NewJob) -> Result<()> {
    let payload = serde_json::to_string(&new.job)?;
    on_tx!(tx, conn => {
        sqlx::query(
            "insert into job (job_id, kind, payload, unique_key, state, run_at, created_at)
             values ($1, $2, $3, $4, 'open', $5, $6)
             on conflict (unique_key) where unique_key is not null and state = 'open' do nothing",
        )
        .bind(clock.new_id())
        .bind(new.job.kind())
        .bind(payload)
        .bind(new.unique_key)
        .bind(new.run_at)
        .bind(clock.now())
        .execute(conn)
        .await
        .map(drop)
    })?;
    Ok(())
}

/// Does jobs until `server` stops. Several may run, here and on other nodes.
pub async fn work(server: Server) {
    while !server.tasks.is_stopping() {
        let done = match run_due(&server).await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "jobs could not be leased");
                0
            }
        };
        if done == 0 {
            tokio::select! {
                () = server.wake_jobs.notified() => {}
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
                () = server.tasks.stopping() => {}
            }
        }
    }
}

/// Does every job that is due, and those they cause, until none is. For tests: drive, don't sleep.
pub async fn run_jobs_until_idle(server: &Server) -> Result<()> {
    while run_due(server).await? > 0 {}
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Leased {
    job_id: String,
    payload: String,
    attempts: i64,
    leased_until: Timestamp,
}

/// Leases a batch of due jobs and does them; how many there were.
pub async fn run_due(server: &Server) -> Result<usize> {
    let leased = lease(server).await?;
    let count = leased.len();
    futures::future::try_join_all(leased.into_iter().map(|job| run_one(server, job))).await?;
    Ok(count)
}

async fn run_one(server: &Server, leased: Leased) -> Result<()> {
    let outcome = match serde_json::from_str::<Job>(&leased.payload) {
        Ok(job) => match tokio::time::timeout(TRY_TIMEOUT, AssertUnwindSafe(job.run(server)).catch_unwind()).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_panic)) => Err(Error::Internal("the job panicked".to_owned())),
            Err(_elapsed) => Err(Error::Internal("the job took too long".to_owned())),
        },
        Err(error) => Err(Error::internal(&format!("job {} has a payload that cannot be read", leased.job_id), error)),
    };
    end(server, &leased, outcome).await
}

async fn lease(server: &Server) -> Result<Vec<Leased>> {
    let now = server.clock.now();
    let until = now.plus_seconds(LEASE_SECONDS);
    match &server.db {
        Db::Sqlite { write, .. } => {
            sqlx::query_as(
                "update job
                 set    leased_until = $1, attempts = attempts + 1
                 where  job_id in (
                            select job_id
                            from   job
                            where  state = 'open' and run_at <= $2 and (leased_until is null or leased_until < $2)
                            order  by run_at
                            limit  $3
                        )
                 returning job_id, payload, attempts, leased_until",
            )
            .bind(until)
            .bind(now)
            .bind(BATCH)
            .fetch_all(write)
            .await
        }
        Db::Postgres(pool) => {
            sqlx::query_as(
                "update job
                 set    leased_until = $1, attempts = attempts + 1
                 where  job_id in (
                            select job_id
                            from   job
                            where  state = 'open' and run_at <= $2 and (leased_until is null or leased_until < $2)
                            order  by run_at
                            limit  $3
                            for update skip locked
                        )
                 returning job_id, payload, attempts, leased_until",
            )
            .bind(until)
            .bind(now)
            .bind(BATCH)
            .fetch_all(pool)
            .await
        }
    }
    .map_err(Error::from)
}

/// Records how a try ended, unless another worker has taken the job since.
async fn end(server: &Server, leased: &Leased, outcome: Result<()>) -> Result<()> {
    let now = server.clock.now();
    let (state, run_at, problem, ended_at) = match outcome {
        Ok(()) => ("done", now, None, Some(now)),
        Err(error) if leased.attempts >= MOST_ATTEMPTS => {
            tracing::error!(job = leased.job_id, %error, "a job is given up");
            ("dead", now, Some(error.to_string()), Some(now))
        }
        Err(error) => {
            tracing::warn!(job = leased.job_id, attempts = leased.attempts, %error, "a job failed and will be tried again");
            ("open", now.plus_seconds(pause_seconds(leased.attempts)), Some(error.to_string()), None)
        }
    };
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "update job
             set    state = $1, run_at = $2, problem = $3, ended_at = $4, leased_until = null
             where  job_id = $5 and state = 'open' and leased_until = $6",
        )
        .bind(state)
        .bind(run_at)
        .bind(problem)
        .bind(ended_at)
        .bind(&leased.job_id)
        .bind(leased.leased_until)
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await
}

/// 5 s, 10 s, 20 s … at most an hour.
fn pause_seconds(attempts: i64) -> i64 {
    let doublings = u32::try_from(attempts.clamp(1, 11) - 1).unwrap_or(0);
    (5_i64 << doublings).min(3_600)
}

/// Forgets jobs that were done more than a week ago; dead ones stay for a person to see.
pub async fn forget_done(server: &Server) -> Result<()> {
    let before = server.clock.now().plus_seconds(-7 * 86_400);
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query("delete from job where state = 'done' and ended_at < $1").bind(before).execute(conn).await.map(drop)
    })?;
    tx.commit().await
}
