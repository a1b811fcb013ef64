//! Owns: how the end of a run is called, with its mark.

use domain::execution::ExecutionState;
use leptos::prelude::*;

/// How a run ended, in a word or two.
#[component]
pub fn EndState(state: ExecutionState) -> impl IntoView {
    view! { <span class=class(state)>{words(state)}</span> }
}

/// The words alone.
pub const fn words(state: ExecutionState) -> &'static str {
    match state {
        ExecutionState::Completed => "Completed",
        ExecutionState::Stopped => "Stopped",
        ExecutionState::Waived => "Empty, not charged",
        ExecutionState::Failed => "Failed, not charged",
        ExecutionState::Expired => "Timed out, not charged",
    }
}

const fn class(state: ExecutionState) -> &'static str {
    match state {
        ExecutionState::Completed => "state state-positive",
        ExecutionState::Stopped => "state state-caution",
        ExecutionState::Waived => "state",
        ExecutionState::Failed | ExecutionState::Expired => "state state-danger",
    }
}
