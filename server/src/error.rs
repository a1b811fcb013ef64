//! Owns: the two ways a call ends badly: a denial, which the user sees, and a failure, which the log sees.
//! Does not own: HTTP or page text; only the edge converts an error, and logs it once.

use domain::denial::Denial;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A typed "no": nothing was charged, nothing is half-done.
    #[error("{}", .0.sentence())]
    Denied(Denial),
    /// Something broke here. The text is for the log; a user sees only a reference.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// A failure, with what was being done.
    pub fn internal(doing: &str, cause: impl std::fmt::Display) -> Error {
        Error::Internal(format!("{doing}: {cause}"))
    }

    /// The denial, if it is one.
    pub fn denial(&self) -> Option<&Denial> {
        match self {
            Error::Denied(denial) => Some(denial),
            Error::Internal(_) => None,
        }
    }
}

impl From<Denial> for Error {
    fn from(denial: Denial) -> Error {
        Error::Denied(denial)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Error {
        Error::Internal(format!("database: {error}"))
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Error {
        Error::Internal(format!("JSON: {error}"))
    }
}

impl From<domain::text_enum::UnknownText> for Error {
    fn from(error: domain::text_enum::UnknownText) -> Error {
        Error::Internal(format!("database: {error}"))
    }
}
