//! Owns: how much one execution may take.
//! Does not own: what an account used so far, or its plan's caps.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use crate::catalogue::{Limits, Model};
use crate::denial::Denial;

/// The output tokens that a run may have: what was `wanted`, no more than the model writes, and no more than is left
/// of one execution (and of the model's context) beside the input. Refused when nothing is left.
pub fn output_cap(limits: &Limits, model: &Model, input_tokens: u64, wanted: u64) -> Result<u64, Denial> {
    let limit = limits.execution_tokens.min(model.context_tokens);
    match limit.saturating_sub(input_tokens) {
        0 => Err(Denial::PromptTooLong { tokens: input_tokens, limit }),
        left => Ok(wanted.max(1).min(model.max_output_tokens).min(left)),
    }
}
