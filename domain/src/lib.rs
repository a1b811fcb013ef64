//! The pure rules of Tokenbank: what things cost, what an account may do, how money moves.
//!
//! Compiles for the server and for WebAssembly, so the price in the browser and the price on the server are one
//! function. Never here: async, I/O, the clock, randomness, the environment.

pub mod advice;
pub mod agent;
pub mod alert;
pub mod calculator;
pub mod catalogue;
pub mod code;
pub mod denial;
pub mod dispute;
pub mod downgrade;
pub mod entitlement;
pub mod execution;
pub mod explain;
pub mod forecast;
pub mod funding;
pub mod hide;
pub mod id;
pub mod key;
pub mod key_health;
pub mod ledger;
pub mod limit;
pub mod member;
pub mod money;
pub mod notice;
pub mod pack;
pub mod period;
pub mod plan;
pub mod proration;
pub mod provider;
pub mod quote;
pub mod rate;
pub mod refund;
pub mod route;
pub mod statement;
pub mod subscription;
pub mod text_enum;
pub mod time;
pub mod top_up;
pub mod trial;
