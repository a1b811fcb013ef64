//! What only real processes can show: several `tokenbank serve` on one database, and what is left of one that was killed.

mod healthcheck;
mod installation;
mod killed_top_up;
mod storm;
