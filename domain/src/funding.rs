//! Owns: which money pays for a run (spec §1).

use crate::text_enum;

text_enum! {
    /// What pays for a run: exactly one, chosen before anything is spent.
    FundingSource {
        OwnKey = "own_key",
        Trial = "trial",
        Allowance = "allowance",
        Credits = "credits",
    }
}
