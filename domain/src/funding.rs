//! Owns: which money pays for a run, in the order of spec §1.
//! Does not own: how much there is (`ledger`), or taking it.
//! Invariant: exactly one source pays for an execution, and it is chosen before anything is spent.

use serde::{Deserialize, Serialize};

crate::text_enum! {
    /// The money that pays for a run.
    FundingSource {
        /// The user's own key: nothing is charged here.
        OwnKey = "own_key",
        /// A managed trial's grant.
        Trial = "trial",
        /// An execution of the plan's allowance.
        Allowance = "allowance",
        /// The credit balance, at the provider's list cost.
        Credits = "credits",
    }
}

/// What an account has for one run of one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Means {
    /// It has a usable key for the provider, and its key policy points this model at it.
    pub own_key: bool,
    /// A managed trial is running and allows this model.
    pub trial: bool,
    /// The plan includes this model and executions are left.
    pub allowance: bool,
    /// Pay-per-use is on, or the catalogue funds this plan by credits.
    pub credits: bool,
}

/// The first source that fits, in the order of spec §1; `None` when the run must be refused.
pub fn choose(means: &Means) -> Option<FundingSource> {
    let Means { own_key, trial, allowance, credits } = *means;
    [
        (own_key, FundingSource::OwnKey),
        (trial, FundingSource::Trial),
        (allowance, FundingSource::Allowance),
        (credits, FundingSource::Credits),
    ]
    .into_iter()
    .find_map(|(fits, source)| fits.then_some(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spec §1, the order of the sources, for every combination of means.
    #[test]
    fn the_first_source_that_fits_pays() {
        for bits in 0_u8..16 {
            let means = Means {
                own_key: bits & 1 != 0,
                trial: bits & 2 != 0,
                allowance: bits & 4 != 0,
                credits: bits & 8 != 0,
            };
            let expected = match bits.trailing_zeros() {
                0 => Some(FundingSource::OwnKey),
                1 => Some(FundingSource::Trial),
                2 => Some(FundingSource::Allowance),
                3 => Some(FundingSource::Credits),
                _ => None,
            };
            assert_eq!(choose(&means), expected, "{means:?}");
        }
    }
}
