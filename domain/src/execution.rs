//! Owns: what a run used, and how it can end.

use crate::text_enum;
use serde::{Deserialize, Serialize};

text_enum! {
    /// How a run ended.
    ExecutionState {
        Completed = "completed",
        /// Cut short, by its cap or its user; what was used is charged.
        Stopped = "stopped",
        /// Empty, so not charged.
        Waived = "waived",
        Failed = "failed",
        /// It never reported back; not charged.
        Expired = "expired",
    }
}

/// The tokens of a run, in pools that do not overlap: reasoning is not also in output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUsage {
    pub input: u64,
    pub cache_read: u64,
    pub cache_write_5m: u64,
    pub cache_write_1h: u64,
    pub output: u64,
    pub reasoning: u64,
}
