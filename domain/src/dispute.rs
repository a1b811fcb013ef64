//! Owns: what each state of a dispute means for an account, and what a frozen account is told.
//! Does not own: reading disputes (`server::dispute`), or how credit is taken (`ledger`).

use crate::text_enum;

text_enum! {
    /// How far a dispute is, in Stripe's words (<https://docs.stripe.com/api/disputes/object#dispute_object-status>).
    DisputeState {
        /// An inquiry of the bank: no money has moved.
        WarningNeedsResponse = "warning_needs_response",
        WarningUnderReview = "warning_under_review",
        /// The inquiry came to nothing.
        WarningClosed = "warning_closed",
        /// The bank has taken the money, and we may object.
        NeedsResponse = "needs_response",
        UnderReview = "under_review",
        /// Decided for us; the money came back.
        Won = "won",
        /// Decided against us; the money is gone.
        Lost = "lost",
        /// Ended before it became a dispute.
        Prevented = "prevented",
    }
}

impl DisputeState {
    /// Whether the money is with the bank, so that the credit that it bought is taken back. It moves when the dispute
    /// opens, not when it is lost.
    pub const fn takes_back(self) -> bool {
        match self {
            DisputeState::NeedsResponse | DisputeState::UnderReview | DisputeState::Lost => true,
            DisputeState::WarningNeedsResponse
            | DisputeState::WarningUnderReview
            | DisputeState::WarningClosed
            | DisputeState::Won
            | DisputeState::Prevented => false,
        }
    }

    /// Whether it is still undecided, so that the account starts no new runs.
    pub const fn freezes(self) -> bool {
        match self {
            DisputeState::WarningNeedsResponse
            | DisputeState::WarningUnderReview
            | DisputeState::NeedsResponse
            | DisputeState::UnderReview => true,
            DisputeState::WarningClosed | DisputeState::Won | DisputeState::Lost | DisputeState::Prevented => false,
        }
    }
}

text_enum! {
    /// Why an account starts no new runs. Several may hold at once.
    FreezeCause {
        Dispute = "dispute",
        FraudWarning = "fraud_warning",
        /// Money went back for credit that was spent.
        Owed = "owed",
        /// Somebody of ours froze it.
        ByHand = "by_hand",
    }
}

impl FreezeCause {
    /// The reason, after "This account is frozen: ".
    pub const fn reason(self) -> &'static str {
        match self {
            FreezeCause::Dispute => "a payment is disputed with the bank",
            FreezeCause::FraudWarning => "the bank reports a payment as possible fraud",
            FreezeCause::Owed => "a payment went back after its credit was spent",
            FreezeCause::ByHand => "by us",
        }
    }

    /// What lifts it.
    pub const fn what_lifts_it(self) -> &'static str {
        match self {
            FreezeCause::Dispute => {
                "It is lifted when the bank has decided. If the dispute is a mistake, ask your bank to withdraw it: the \
                 credit then comes back by itself."
            }
            FreezeCause::FraudWarning => {
                "If the payment was yours, write to support. If it was not, have it refunded here: unused credit goes \
                 back to the card."
            }
            FreezeCause::Owed => {
                "Buy credit: what is owed is taken from it first, and runs start again at once. Runs on your own keys go on."
            }
            FreezeCause::ByHand => "Write to support.",
        }
    }

    /// Whether runs on the account's own keys go on: they spend nothing of ours, and what is owed is about money alone. A
    /// dispute freezes as a whole while it is open (spec, "freeze on opening"); a warning and our own decision are about trust.
    pub const fn leaves_own_keys(self) -> bool {
        match self {
            FreezeCause::Owed => true,
            FreezeCause::Dispute | FreezeCause::FraudWarning | FreezeCause::ByHand => false,
        }
    }

    /// Whether somebody of ours may lift it: a dispute ends at the bank, and what is owed when it is paid.
    pub const fn may_be_lifted_by_hand(self) -> bool {
        match self {
            FreezeCause::FraudWarning | FreezeCause::ByHand => true,
            FreezeCause::Dispute | FreezeCause::Owed => false,
        }
    }

    /// Whether credit may be bought all the same.
    pub const fn may_buy(self) -> bool {
        match self {
            FreezeCause::Owed => true,
            FreezeCause::Dispute | FreezeCause::FraudWarning | FreezeCause::ByHand => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_takes_and_freezes_as_the_table_says() {
        let table: Vec<(&str, bool, bool)> =
            DisputeState::ALL.iter().map(|state| (state.as_str(), state.takes_back(), state.freezes())).collect();
        assert_eq!(
            table,
            [
                ("warning_needs_response", false, true),
                ("warning_under_review", false, true),
                ("warning_closed", false, false),
                ("needs_response", true, true),
                ("under_review", true, true),
                ("won", false, false),
                ("lost", true, false),
                ("prevented", false, false),
            ]
        );
    }

    #[test]
    fn what_each_cause_leaves_and_who_lifts_it() {
        let table: Vec<_> = FreezeCause::ALL
            .iter()
            .map(|cause| (cause.as_str(), cause.may_buy(), cause.leaves_own_keys(), cause.may_be_lifted_by_hand()))
            .collect();
        assert_eq!(
            table,
            [
                ("dispute", false, false, false),
                ("fraud_warning", false, false, true),
                ("owed", true, true, false),
                ("by_hand", false, false, true),
            ]
        );
    }
}
