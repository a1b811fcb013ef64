//! Owns: the parts that pages are built from. Those that react in the browser are islands and compile for both
//! sides; [`layout`] needs the visitor, so it exists on the server alone.

pub mod balance;
pub mod band;
pub mod chart;
pub mod dialog;
pub mod drag_order;
pub mod empty;
pub mod form;
#[cfg(feature = "ssr")]
pub mod frozen;
pub mod icon;
pub mod in_place;
#[cfg(feature = "ssr")]
pub mod layout;
pub mod line_chart;
pub mod live_balance;
pub mod live_run;
pub mod meter;
pub mod money;
pub mod notice;
pub mod pack;
#[cfg(feature = "ssr")]
pub mod plan;
pub mod press_once;
pub mod run_state;
pub mod table;
pub mod task_form;
pub mod wait;
#[cfg(feature = "ssr")]
pub mod when;
