//! Owns: reading what decides about a top-up, locked for a charge or as it is for a page.
//! Does not own: the decision (`domain::top_up::decide`).

use super::{FirstPack, RuleRow, TopUp, TopUpState};
use crate::db::Tx;
use crate::error::Result;
use crate::ledger::{self, Balance};
use crate::payment_method::{self, KeptCard};
use crate::{Server, on_read, on_tx};
use domain::catalogue::Catalogue;
use domain::id::AccountId;
use domain::money::Usd;
use domain::period::Period;
use domain::time::Timestamp;
use domain::top_up::{Attempt, Consent, Facts, Outcome, Rule, Suspension, Verdict, decide};

/// How far back charges are read: more than a month, for the cap, and for failures in a row.
const LOOK_BACK_SECONDS: i64 = 40 * 86_400;
/// More charges than the guards allow in that time.
const MOST_TOP_UPS: i64 = 1_000;

/// An account as the rule sees it.
pub(super) struct Known {
    pub rule: Option<RuleRow>,
    pub card: Option<KeptCard>,
    pub balance: Balance,
    /// Why the account is frozen, if it is.
    pub frozen: Option<String>,
    /// Newest first.
    pub top_ups: Vec<TopUp>,
    /// The paid packs that turning a rule on began with, where no card was kept yet; newest first.
    pub first_packs: Vec<FirstPack>,
}

// One text for both ways to a connection.
macro_rules! query_rule {
    ($conn:expr, $account_id:expr) => {
        sqlx::query_as(
            "select user_id, is_on, threshold_nanos, pack_id, cap_nanos, charges_a_month, consented_at,
                    consent_ends_at, withdrawn_at, suspended_reason, suspended_card, updated_at
             from   top_up_rule
             where  account_id = $1",
        )
        .bind($account_id)
        .fetch_optional($conn)
        .await
    };
}

macro_rules! query_top_ups {
    ($conn:expr, $account_id:expr, $since:expr) => {
        sqlx::query_as(
            "select   top_up_id, account_id, state, price_nanos, stripe_payment_method_id, card, last4,
                      stripe_payment_intent_id, reason, decline_code, problem, sent_at, recover_until, created_at,
                      ended_at
             from     top_up
             where    account_id = $1 and created_at >= $2
             order by created_at desc, top_up_id desc
             limit    $3",
        )
        .bind($account_id)
        .bind($since)
        .bind(MOST_TOP_UPS)
        .fetch_all($conn)
        .await
    };
}

macro_rules! query_first_packs {
    ($conn:expr, $account_id:expr, $since:expr) => {
        sqlx::query_as(
            "select   purchase_id, price_cents, coalesce(ended_at, created_at) as paid_at
             from     purchase
             where    account_id = $1 and keeps_card = 1 and origin = 'checkout' and state = 'paid'
                      and coalesce(ended_at, created_at) >= $2
             order by coalesce(ended_at, created_at) desc, purchase_id desc
             limit    $3",
        )
        .bind($account_id)
        .bind($since)
        .bind(MOST_TOP_UPS)
        .fetch_all($conn)
        .await
    };
}

macro_rules! query_frozen {
    ($conn:expr, $account_id:expr) => {
        sqlx::query_scalar("select frozen_reason from account where account_id = $1")
            .bind($account_id)
            .fetch_optional($conn)
            .await
    };
}

impl Known {
    /// Locks the account's balance, tells captures to ask no more, and reads the rest under that lock.
    pub async fn lock(tx: &mut Tx, server: &Server, account_id: &AccountId) -> Result<Known> {
        let balance = ledger::watch(tx, account_id, None).await?;
        let since = server.clock.now().plus_seconds(-LOOK_BACK_SECONDS);
        let frozen: Option<Option<String>> = on_tx!(&mut *tx, conn => query_frozen!(conn, account_id))?;
        Ok(Known {
            rule: on_tx!(&mut *tx, conn => query_rule!(conn, account_id))?,
            card: payment_method::load_in(tx, account_id).await?,
            balance,
            frozen: frozen.flatten(),
            top_ups: on_tx!(&mut *tx, conn => query_top_ups!(conn, account_id, since))?,
            first_packs: on_tx!(tx, conn => query_first_packs!(conn, account_id, since))?,
        })
    }

    /// The same as it is now, without a lock.
    pub async fn read(server: &Server, account_id: &AccountId) -> Result<Known> {
        let since = server.clock.now().plus_seconds(-LOOK_BACK_SECONDS);
        let frozen: Option<Option<String>> = on_read!(&server.db, conn => query_frozen!(conn, account_id))?;
        Ok(Known {
            rule: on_read!(&server.db, conn => query_rule!(conn, account_id))?,
            card: payment_method::load(server, account_id).await?,
            balance: ledger::load_balance(server, account_id).await?,
            frozen: frozen.flatten(),
            top_ups: on_read!(&server.db, conn => query_top_ups!(conn, account_id, since))?,
            first_packs: on_read!(&server.db, conn => query_first_packs!(conn, account_id, since))?,
        })
    }

    /// The charges as the rule counts them, newest first: those it made, and the packs it began with.
    pub fn attempts(&self) -> Vec<Attempt> {
        let mut attempts: Vec<Attempt> = self.top_ups.iter().filter_map(attempt).collect();
        attempts.extend(self.first_packs.iter().map(FirstPack::attempt));
        attempts.sort_by_key(|attempt| std::cmp::Reverse(attempt.started_at));
        attempts
    }

    /// Whether a top-up is due.
    pub fn verdict(&self, catalogue: &Catalogue, now: Timestamp, refused: Usd) -> Verdict {
        match self.rule.as_ref().filter(|row| row.is_on()) {
            Some(row) => self.verdict_of((&row.rule(), row.consent()), catalogue, now, refused),
            None => Verdict::Off,
        }
    }

    /// Whether one would be due if this were the rule.
    pub fn verdict_of(
        &self,
        (rule, consent): (&Rule, Consent),
        catalogue: &Catalogue,
        now: Timestamp,
        refused: Usd,
    ) -> Verdict {
        let suspension = self.suspension();
        let facts = Facts {
            rule: Some(rule),
            consent,
            balance: self.balance.total(),
            refused,
            pack: catalogue.pack(&rule.pack).ok(),
            card: self.card.as_ref().map(|card| card.card.as_str()),
            suspension: suspension.as_ref(),
            is_frozen: self.frozen.is_some(),
            attempts: &self.attempts(),
            month: Period::calendar_month(now),
        };
        decide(&catalogue.top_up, &facts, now)
    }

    fn suspension(&self) -> Option<Suspension> {
        let row = self.rule.as_ref()?;
        let reason = row.suspended_reason.as_deref()?.parse().ok()?;
        Some(Suspension { reason, card: row.suspended_card.clone()? })
    }
}

/// What nobody confirmed, or wanted any more, took nothing and is no failure of the card.
fn attempt(top_up: &TopUp) -> Option<Attempt> {
    let outcome = match top_up.state {
        TopUpState::Open | TopUpState::NeedsAction => Outcome::Open,
        TopUpState::Paid => Outcome::Paid,
        TopUpState::Refused => Outcome::Refused { at: top_up.ended_at.unwrap_or(top_up.created_at) },
        TopUpState::Expired => return None,
    };
    Some(Attempt { started_at: top_up.created_at, card: top_up.card.clone(), price: top_up.price, outcome })
}
