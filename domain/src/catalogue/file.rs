//! Owns: the catalogue as a TOML file, and what makes one unusable, with the line.

use super::Catalogue;

/// What is wrong with a catalogue file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct CatalogueError {
    pub line: usize,
    pub message: String,
}

pub(super) fn parse(_text: &str) -> Result<Catalogue, CatalogueError> {
    todo!("the reader follows in the next commit")
}
