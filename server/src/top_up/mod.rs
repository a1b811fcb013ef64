//! Owns: credit that is bought automatically: the rule an account agreed to, each charge, and how it ends.
//! Does not own: whether a charge is due (`domain::top_up`), the credit that follows it (`purchase::complete`, as for
//! every purchase), the card (`payment_method`).
//! Invariant: an account has one charge under way, by a unique index; nobody knows how a charge ended until Stripe says
//! so, and until then there is no other one.

mod consent;
mod facts;
mod recover;
mod rule;
mod run;
mod settle;
mod sweep;

pub(crate) use consent::withdraw;
pub(crate) use recover::give_up_recovery;
pub use recover::{look, recover};
pub use rule::{Agreed, NewRule, Next, turn_off, turn_on, would_charge};
pub use run::run;
pub use settle::apply_payment;
pub(crate) use settle::mark_paid;
pub use sweep::sweep;

use crate::db::Tx;
use crate::error::Result;
use crate::payment_method::KeptCard;
use crate::stripe::object::{PaymentIntentId, PaymentMethodId};
use crate::{Server, job, ledger, on_read, on_tx};
use domain::denial::Denial;
use domain::id::{AccountId, PackId, PurchaseId, UserId};
use domain::money::{Cents, Usd};
use domain::period::Period;
use domain::time::Timestamp;
use domain::top_up::{Attempt, Consent, Outcome, Reason, Rule, Trigger, Verdict, this_month};
use facts::Known;
use serde::{Deserialize, Serialize};

/// Charges that the page shows.
const SHOWN: usize = 10;

domain::text_enum! {
    /// How far an automatic charge is.
    TopUpState {
        /// It was sent, or will be, and nobody knows yet.
        Open = "open",
        /// The bank wants the customer's yes.
        NeedsAction = "needs_action",
        /// The money came, and the credit was granted.
        Paid = "paid",
        /// Refused for good; nothing was charged.
        Refused = "refused",
        /// Nobody confirmed it in time, or it was no longer wanted; nothing was charged.
        Expired = "expired",
    }
}

/// One automatic charge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct TopUp {
    /// Also the id of its purchase.
    pub top_up_id: PurchaseId,
    pub account_id: AccountId,
    #[sqlx(try_from = "String")]
    pub state: TopUpState,
    #[sqlx(rename = "price_nanos")]
    pub price: Usd,
    #[sqlx(rename = "stripe_payment_method_id")]
    pub payment_method_id: PaymentMethodId,
    /// Which card, as suspensions name it.
    pub card: String,
    pub last4: String,
    #[sqlx(rename = "stripe_payment_intent_id")]
    pub payment_intent_id: Option<PaymentIntentId>,
    /// A [`Reason`]; see [`TopUp::reason`].
    reason: Option<String>,
    pub decline_code: Option<String>,
    /// Why it was refused, in Stripe's words.
    pub problem: Option<String>,
    pub sent_at: Option<Timestamp>,
    /// Until when the bank can be asked again.
    pub recover_until: Option<Timestamp>,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

impl TopUp {
    pub fn reason(&self) -> Option<Reason> {
        self.reason.as_deref().and_then(|reason| reason.parse().ok())
    }
}

/// The rule as it is stored, on or off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct RuleRow {
    /// Who agreed to it, and is told about it.
    pub user_id: UserId,
    is_on: i64,
    #[sqlx(rename = "threshold_nanos")]
    pub threshold: Usd,
    pub pack_id: PackId,
    #[sqlx(rename = "cap_nanos")]
    pub cap: Usd,
    charges_a_month: i64,
    pub consented_at: Timestamp,
    pub consent_ends_at: Timestamp,
    /// Since when nobody stands behind it: whoever agreed has left, or may no longer spend.
    pub withdrawn_at: Option<Timestamp>,
    suspended_reason: Option<String>,
    suspended_card: Option<String>,
    /// Names this version of the rule, so that a form of another tab is recognised.
    pub updated_at: Timestamp,
}

impl RuleRow {
    pub fn is_on(&self) -> bool {
        self.is_on != 0
    }

    pub fn consent(&self) -> Consent {
        match self.withdrawn_at {
            Some(_) => Consent::Withdrawn,
            None => Consent::Until(self.consent_ends_at),
        }
    }

    pub fn rule(&self) -> Rule {
        Rule {
            threshold: self.threshold,
            pack: self.pack_id.clone(),
            cap: self.cap,
            charges_a_month: u32::try_from(self.charges_a_month).unwrap_or(0),
        }
    }
}

/// The pack that turning a rule on began with: paid on Stripe's page, which kept the card. It counts in the month's cap like
/// the charges that follow it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct FirstPack {
    pub purchase_id: PurchaseId,
    #[sqlx(rename = "price_cents")]
    price: Cents,
    pub paid_at: Timestamp,
}

impl FirstPack {
    pub fn price(&self) -> Usd {
        Usd::from_cents(self.price).unwrap_or(Usd::MAX)
    }

    /// As the rule counts it. It names no card, so it says nothing about one.
    fn attempt(&self) -> Attempt {
        Attempt { started_at: self.paid_at, card: String::new(), price: self.price(), outcome: Outcome::PaidByHand }
    }
}

/// Everything that the page and the API say about an account's automatic top-up.
#[derive(Clone, Debug)]
pub struct View {
    /// The rule, on or off; `None` if there never was one.
    pub rule: Option<RuleRow>,
    pub card: Option<KeptCard>,
    /// What would happen now.
    pub verdict: Verdict,
    pub balance: Usd,
    pub month: Period,
    /// What this month's charges come to, and how many there were.
    pub charged: Usd,
    pub charges: u32,
    /// The newest charges, newest first.
    pub recent: Vec<TopUp>,
    /// The packs that turning it on began with in these weeks, newest first.
    pub first_packs: Vec<FirstPack>,
}

impl View {
    /// The charge that waits for the customer's yes, if one does.
    pub fn to_confirm(&self, now: Timestamp) -> Option<&TopUp> {
        self.recent.iter().find(|top_up| {
            top_up.state == TopUpState::NeedsAction && top_up.recover_until.is_some_and(|until| now < until)
        })
    }
}

/// Reads the account's automatic top-up.
pub async fn load(server: &Server, account_id: &AccountId) -> Result<View> {
    let known = Known::read(server, account_id).await?;
    let now = server.clock.now();
    let verdict = known.verdict(&server.catalogue.load(), now, Usd::ZERO);
    let month = Period::calendar_month(now);
    let (charged, charges) = this_month(&known.attempts(), month);
    let Known { rule, card, balance, mut top_ups, mut first_packs, .. } = known;
    top_ups.truncate(SHOWN);
    first_packs.truncate(SHOWN);
    let balance = balance.total();
    Ok(View { rule, card, verdict, balance, month, charged, charges, recent: top_ups, first_packs })
}

/// Has somebody look soon whether a top-up is due, if the account's rule is on. Within the caller's transaction.
pub(crate) async fn look_again(tx: &mut Tx, server: &Server, account_id: &AccountId, trigger: Trigger) -> Result<()> {
    if is_on(tx, account_id).await? {
        let new = ledger::top_up_job(account_id, trigger, Usd::ZERO, server.clock.now());
        job::insert(tx, &server.clock, new).await?;
    }
    Ok(())
}

async fn is_on(tx: &mut Tx, account_id: &AccountId) -> Result<bool> {
    let rules: i64 = on_tx!(tx, conn => {
        sqlx::query_scalar("select count(*) from top_up_rule where account_id = $1 and is_on = 1")
            .bind(account_id)
            .fetch_one(conn)
            .await
    })?;
    Ok(rules > 0)
}

/// A run was refused for lack of credit: if the account's rule is on, a top-up may be due. Only reads when it is not.
pub(crate) async fn hold_refused(server: &Server, account_id: &AccountId, needed: Usd) -> Result<()> {
    let rules: i64 = on_read!(&server.db, conn => {
        sqlx::query_scalar("select count(*) from top_up_rule where account_id = $1 and is_on = 1")
            .bind(account_id)
            .fetch_one(conn)
            .await
    })?;
    if rules == 0 {
        return Ok(());
    }
    let mut tx = server.db.begin().await?;
    let new = ledger::top_up_job(account_id, Trigger::RefusedHold, needed, server.clock.now());
    job::insert(&mut tx, &server.clock, new).await?;
    tx.commit().await?;
    server.wake_jobs.notify_one();
    Ok(())
}

/// Denies with `Conflict` while a charge is under way, for what would pull the card away from under it.
pub(crate) async fn refuse_while_open(tx: &mut Tx, account_id: &AccountId) -> Result<()> {
    let open: Option<Usd> = on_tx!(tx, conn => {
        sqlx::query_scalar(
            "select price_nanos from top_up where account_id = $1 and state in ('open', 'needs_action')",
        )
        .bind(account_id)
        .fetch_optional(conn)
        .await
    })?;
    match open {
        Some(price) => {
            let problem = format!(
                "A top-up of {price} with this card is being made, so the card was not removed. Turn auto-top-up off, and \
                 remove the card in a few minutes, when it has ended."
            );
            Err(Denial::Conflict { problem }.into())
        }
        None => Ok(()),
    }
}
