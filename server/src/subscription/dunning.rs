//! Owns: what people are told when a plan's payment fails, is suspended for it, is in order again, or is over.
//! Does not own: the words (`domain::notice`), or trying again to take the money: Stripe does that.
//! Invariant: each is told once, in the transaction that stores it.

use crate::Server;
use crate::db::Tx;
use crate::error::Result;
use crate::notice::{self, Notice, PlanPaymentNews};
use crate::on_tx;
use crate::stripe::plan::SubscriptionId;
use domain::id::AccountId;
use domain::subscription::{Standing, SubscriptionStatus};

domain::text_enum! {
    /// How an account stands, as its people were told.
    Told {
        /// Nothing yet: the first payment has not come.
        Nothing = "nothing",
        InOrder = "in_order",
        Grace = "grace",
        Suspended = "suspended",
        Ended = "ended",
    }
}

impl Told {
    /// What people should know of how an account stands.
    pub(super) const fn of(status: SubscriptionStatus, stands: Standing) -> Told {
        match stands {
            Standing::InOrder => Told::InOrder,
            Standing::Grace { .. } => Told::Grace,
            Standing::Suspended => Told::Suspended,
            Standing::Without if status.is_over() => Told::Ended,
            Standing::Without => Told::Nothing,
        }
    }

    /// What is new for somebody who was told `self`.
    const fn news(self, now: Told) -> Option<PlanPaymentNews> {
        match (self, now) {
            (Told::InOrder | Told::Suspended | Told::Nothing, Told::Grace) => Some(PlanPaymentNews::Failed),
            (Told::InOrder | Told::Grace | Told::Nothing, Told::Suspended) => Some(PlanPaymentNews::Suspended),
            (Told::Grace | Told::Suspended, Told::InOrder) => Some(PlanPaymentNews::InOrderAgain),
            (Told::InOrder | Told::Grace | Told::Suspended, Told::Ended) => Some(PlanPaymentNews::Ended),
            (_, Told::Nothing | Told::InOrder | Told::Grace | Told::Suspended | Told::Ended) => None,
        }
    }
}

/// Raises a notice for everyone who pays for the account, if there is news for them; answers what they had been told. Within the caller's transaction, which has
/// just written the row and so keeps others from telling the same.
pub(super) async fn tell(
    tx: &mut Tx,
    server: &Server,
    account_id: &AccountId,
    subscription_id: &SubscriptionId,
    now: Told,
) -> Result<Told> {
    let before: String = on_tx!(&mut *tx, conn => {
        sqlx::query_scalar("select told from subscription where stripe_subscription_id = $1")
            .bind(subscription_id)
            .fetch_one(conn)
            .await
    })?;
    let before: Told = before.parse()?;
    if before == now {
        return Ok(before);
    }
    on_tx!(&mut *tx, conn => {
        sqlx::query("update subscription set told = $1 where stripe_subscription_id = $2")
            .bind(now.as_str())
            .bind(subscription_id)
            .execute(conn)
            .await
            .map(drop)
    })?;
    let Some(news) = before.news(now) else { return Ok(before) };
    let notice = Notice::PlanPayment { news, grace_days: server.catalogue.load().grace.past_due_days };
    // Told as often as it happens; the row above keeps others from telling the same.
    let key = format!("plan_payment:{subscription_id}:{now}:{}", server.clock.now().micros());
    notice::raise(tx, &server.clock, account_id, &notice, &key).await?;
    Ok(before)
}
