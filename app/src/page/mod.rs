//! The pages, one file each: what a page asks the server for, then its picture, then its form's answer.

pub mod accounts;
pub mod bought;
pub mod calculator;
pub mod confirm_email;
pub mod credits;
pub mod delete;
pub mod execution;
pub mod invitation;
pub mod landing;
pub mod limits;
pub mod not_found;
pub mod overview;
pub mod plan;
pub mod plan_change;
mod plan_form;
pub mod pricing;
pub mod reset_password;
pub mod run;
pub mod second_factor;
pub mod settings;
pub mod sign_in;
pub mod sign_up;
pub mod tasks;
pub mod team;
pub mod terms;
pub mod usage;
pub mod verify_email;
