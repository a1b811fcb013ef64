//! Owns: what an account can be told: each kind of notice with what it knows, its words, its remedy, and who it is for.
//! Does not own: when one is due (`alert`), or how it reaches anybody (`server::notice`).
//! Invariant: words hold no moment and no zone; moments and amounts that a reader may want are facts, so that each way out
//! (page, mail, webhook) writes them in its reader's own form.

mod words;

use crate::catalogue::TrialKind;
use crate::member::Permission;
use crate::money::{Cents, Usd};
use crate::provider::Provider;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

crate::text_enum! {
    /// A kind of notice, as preferences and webhooks name it.
    NoticeKind {
        ExecutionsReached = "executions_reached",
        ProjectedSpend = "projected_spend",
        BudgetReached = "budget_reached",
        LowBalance = "low_balance",
        CreditExpiring = "credit_expiring",
        PaymentNeedsAction = "payment_needs_action",
        PlanPayment = "plan_payment",
        TopUpPaused = "top_up_paused",
        TopUpDone = "top_up_done",
        RefundDone = "refund_done",
        DisputeChanged = "dispute_changed",
        AccountFrozen = "account_frozen",
        AccountReleased = "account_released",
        KeyTrouble = "key_trouble",
        KeyGrace = "key_grace",
        TrialEnding = "trial_ending",
        TrialRefused = "trial_refused",
        WebhookDisabled = "webhook_disabled",
    }
}

crate::text_enum! {
    /// What happened to the payment of a plan.
    PlanPaymentNews {
        /// A renewal could not be paid; the plan stays for the time of grace.
        Failed = "failed",
        /// It was not paid in time.
        Suspended = "suspended",
        /// It was paid after all.
        InOrderAgain = "in_order_again",
        /// The subscription is over.
        Ended = "ended",
    }
}

crate::text_enum! {
    /// What happened to a plan at the own-key price.
    KeyGraceNews {
        /// No key works any more; the price stays for the time of grace.
        Lost = "lost",
        /// A key works again, so the price stays.
        Works = "works",
        /// The time is over: the plan has the standard price.
        Moved = "moved",
    }
}

crate::text_enum! {
    /// How a dispute (chargeback) of a payment stands.
    DisputeNews {
        Opened = "opened",
        Won = "won",
        Lost = "lost",
    }
}

/// Something that the people of an account should know. Stored as JSON, and sent as the `data` of a webhook: names of
/// fields are part of the API. Amounts are whole nano-dollars or cents as their names say; moments are microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Notice {
    /// So much of the plan's executions of this period is used.
    ExecutionsReached {
        percent: u64,
        used: u64,
        included: u64,
        period_ends_at: Timestamp,
    },
    /// If it goes on like this, the month ends with so much of a budget.
    ProjectedSpend {
        percent: u64,
        /// What the budget is for, in words: `all runs`, a model's or a skill's name.
        budget: String,
        #[serde(rename = "forecast_nanos")]
        forecast: Usd,
        #[serde(rename = "budget_nanos")]
        amount: Usd,
        month_ends_at: Timestamp,
    },
    /// So much of a month's budget is spent.
    BudgetReached {
        percent: u64,
        budget: String,
        #[serde(rename = "spent_nanos")]
        spent: Usd,
        #[serde(rename = "budget_nanos")]
        amount: Usd,
        month_ends_at: Timestamp,
    },
    /// What can be spent fell below the account's mark.
    LowBalance {
        #[serde(rename = "spendable_nanos")]
        spendable: Usd,
        #[serde(rename = "mark_nanos")]
        mark: Usd,
    },
    /// Promotional or trial credit lapses soon.
    CreditExpiring {
        #[serde(rename = "amount_nanos")]
        amount: Usd,
        expires_at: Timestamp,
    },
    /// The bank wants its customer to confirm a payment (3-D Secure). `path` is our page with the way to do it.
    PaymentNeedsAction {
        #[serde(rename = "amount_cents")]
        amount: Cents,
        path: String,
        until: Option<Timestamp>,
    },
    /// Paying for the plan.
    PlanPayment {
        news: PlanPaymentNews,
        /// How long the plan stays unpaid, in days.
        grace_days: u32,
    },
    /// Auto-top-up does not charge until somebody does something. `reason` is the stable code, `sentence` says it in words.
    TopUpPaused {
        reason: String,
        sentence: String,
    },
    /// Auto-top-up bought a pack.
    TopUpDone {
        #[serde(rename = "price_cents")]
        price: Cents,
        #[serde(rename = "credit_nanos")]
        credit: Usd,
    },
    /// Money went back to the card.
    RefundDone {
        #[serde(rename = "amount_cents")]
        amount: Cents,
        #[serde(rename = "credit_nanos")]
        credit: Usd,
    },
    /// A payment is disputed at the bank, or the dispute is over.
    DisputeChanged {
        news: DisputeNews,
        #[serde(rename = "amount_cents")]
        amount: Cents,
    },
    /// New runs wait until it is released. `reason` completes "because"; `may_buy` says whether credit can be bought all the
    /// same, as for what is owed.
    AccountFrozen {
        reason: String,
        #[serde(default)]
        may_buy: bool,
    },
    AccountReleased,
    /// One of the account's own keys does not do what it should. `problem` is a sentence.
    KeyTrouble {
        provider: Provider,
        label: String,
        problem: String,
    },
    /// The own-key price needs a key that works; without one, the standard price follows.
    KeyGrace {
        news: KeyGraceNews,
        /// Until when the own-key price stays, or stayed.
        ends_at: Timestamp,
        /// What a month costs at the standard price.
        #[serde(rename = "standard_month_cents")]
        month: Option<Cents>,
    },
    TrialEnding {
        trial: TrialKind,
        ends_at: Timestamp,
    },
    /// A trial with a card did not begin, and nothing was charged. `problem` is a sentence.
    TrialRefused {
        problem: String,
    },
    /// An endpoint failed for so long that nothing is sent to it any more.
    WebhookDisabled {
        url: String,
        failing_since: Timestamp,
        problem: String,
    },
}

/// How pressing a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// Good to know.
    Info,
    /// Somebody should look at it soon.
    Caution,
    /// Something has stopped.
    Danger,
}

/// One thing that a notice knows, for whoever writes it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    Money(Usd),
    Moment(Timestamp),
    Text(String),
}

impl NoticeKind {
    /// What it is called where one chooses what to be told.
    pub const fn label(self) -> &'static str {
        match self {
            NoticeKind::ExecutionsReached => "The plan's executions are used up to a share",
            NoticeKind::ProjectedSpend => "The forecast of a month reaches a share of a budget",
            NoticeKind::BudgetReached => "A budget is spent up to a share",
            NoticeKind::LowBalance => "The balance is low",
            NoticeKind::CreditExpiring => "Promotional or trial credit lapses soon",
            NoticeKind::PaymentNeedsAction => "A payment waits for you",
            NoticeKind::PlanPayment => "The plan's payment failed, or is in order again",
            NoticeKind::TopUpPaused => "Auto-top-up is paused",
            NoticeKind::TopUpDone => "Auto-top-up bought a pack",
            NoticeKind::RefundDone => "A refund was made",
            NoticeKind::DisputeChanged => "A payment is disputed",
            NoticeKind::AccountFrozen => "The account is frozen",
            NoticeKind::AccountReleased => "The account is released",
            NoticeKind::KeyTrouble => "One of your own keys has trouble",
            NoticeKind::KeyGrace => "The own-key price needs a key",
            NoticeKind::TrialEnding => "The trial ends soon",
            NoticeKind::TrialRefused => "A trial did not begin",
            NoticeKind::WebhookDisabled => "A webhook was disabled",
        }
    }

    /// Whether it may not be switched off, because money or the whole account depends on it.
    pub const fn is_essential(self) -> bool {
        match self {
            NoticeKind::PaymentNeedsAction
            | NoticeKind::PlanPayment
            | NoticeKind::TopUpPaused
            | NoticeKind::RefundDone
            | NoticeKind::DisputeChanged
            | NoticeKind::AccountFrozen
            | NoticeKind::AccountReleased
            | NoticeKind::KeyGrace
            | NoticeKind::TrialEnding
            | NoticeKind::TrialRefused => true,
            NoticeKind::ExecutionsReached
            | NoticeKind::ProjectedSpend
            | NoticeKind::BudgetReached
            | NoticeKind::LowBalance
            | NoticeKind::CreditExpiring
            | NoticeKind::TopUpDone
            | NoticeKind::KeyTrouble
            | NoticeKind::WebhookDisabled => false,
        }
    }

    /// Who is told: the members who can do something about it.
    pub const fn audience(self) -> Permission {
        match self {
            NoticeKind::ExecutionsReached
            | NoticeKind::ProjectedSpend
            | NoticeKind::BudgetReached
            | NoticeKind::LowBalance
            | NoticeKind::CreditExpiring
            | NoticeKind::PaymentNeedsAction
            | NoticeKind::PlanPayment
            | NoticeKind::TopUpPaused
            | NoticeKind::TopUpDone
            | NoticeKind::RefundDone
            | NoticeKind::DisputeChanged
            | NoticeKind::KeyGrace
            | NoticeKind::TrialEnding
            | NoticeKind::TrialRefused => Permission::ManageBilling,
            NoticeKind::KeyTrouble => Permission::ManageKeys,
            NoticeKind::WebhookDisabled => Permission::ManageApiKeys,
            NoticeKind::AccountFrozen | NoticeKind::AccountReleased => Permission::ViewUsage,
        }
    }
}

impl Notice {
    pub const fn kind(&self) -> NoticeKind {
        match self {
            Notice::ExecutionsReached { .. } => NoticeKind::ExecutionsReached,
            Notice::ProjectedSpend { .. } => NoticeKind::ProjectedSpend,
            Notice::BudgetReached { .. } => NoticeKind::BudgetReached,
            Notice::LowBalance { .. } => NoticeKind::LowBalance,
            Notice::CreditExpiring { .. } => NoticeKind::CreditExpiring,
            Notice::PaymentNeedsAction { .. } => NoticeKind::PaymentNeedsAction,
            Notice::PlanPayment { .. } => NoticeKind::PlanPayment,
            Notice::TopUpPaused { .. } => NoticeKind::TopUpPaused,
            Notice::TopUpDone { .. } => NoticeKind::TopUpDone,
            Notice::RefundDone { .. } => NoticeKind::RefundDone,
            Notice::DisputeChanged { .. } => NoticeKind::DisputeChanged,
            Notice::AccountFrozen { .. } => NoticeKind::AccountFrozen,
            Notice::AccountReleased => NoticeKind::AccountReleased,
            Notice::KeyTrouble { .. } => NoticeKind::KeyTrouble,
            Notice::KeyGrace { .. } => NoticeKind::KeyGrace,
            Notice::TrialEnding { .. } => NoticeKind::TrialEnding,
            Notice::TrialRefused { .. } => NoticeKind::TrialRefused,
            Notice::WebhookDisabled { .. } => NoticeKind::WebhookDisabled,
        }
    }

    pub const fn urgency(&self) -> Urgency {
        match self {
            Notice::ExecutionsReached { percent, .. } | Notice::BudgetReached { percent, .. } if *percent >= 100 => {
                Urgency::Danger
            }
            Notice::PlanPayment { news, .. } => match news {
                PlanPaymentNews::Failed | PlanPaymentNews::Ended => Urgency::Caution,
                PlanPaymentNews::Suspended => Urgency::Danger,
                PlanPaymentNews::InOrderAgain => Urgency::Info,
            },
            Notice::KeyGrace { news, .. } => match news {
                KeyGraceNews::Lost | KeyGraceNews::Moved => Urgency::Caution,
                KeyGraceNews::Works => Urgency::Info,
            },
            Notice::DisputeChanged { news, .. } => match news {
                DisputeNews::Opened | DisputeNews::Lost => Urgency::Danger,
                DisputeNews::Won => Urgency::Info,
            },
            Notice::PaymentNeedsAction { .. } | Notice::AccountFrozen { .. } => Urgency::Danger,
            Notice::LowBalance { spendable, .. } => {
                if spendable.is_positive() {
                    Urgency::Caution
                } else {
                    Urgency::Danger
                }
            }
            Notice::ProjectedSpend { percent, .. } if *percent < 100 => Urgency::Info,
            Notice::ExecutionsReached { percent, .. } | Notice::BudgetReached { percent, .. } if *percent < 80 => {
                Urgency::Info
            }
            Notice::ExecutionsReached { .. }
            | Notice::BudgetReached { .. }
            | Notice::ProjectedSpend { .. }
            | Notice::CreditExpiring { .. }
            | Notice::TopUpPaused { .. }
            | Notice::KeyTrouble { .. }
            | Notice::TrialEnding { .. }
            | Notice::TrialRefused { .. }
            | Notice::WebhookDisabled { .. } => Urgency::Caution,
            Notice::TopUpDone { .. } | Notice::RefundDone { .. } | Notice::AccountReleased => Urgency::Info,
        }
    }
}
