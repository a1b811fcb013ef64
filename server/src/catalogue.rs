//! Owns: which catalogue is in use: the one built in, or the file that the settings name.
//! Does not own: what makes a catalogue right (`domain::catalogue`).
//! Invariant: a file with a mistake is refused with its line, before anything is served from it.

use crate::error::{Error, Result};
use domain::catalogue::Catalogue;
use std::path::Path;

const TIERS: &str = include_str!("../../catalogue/tiers.toml");

/// Reads the catalogue at `file`, or the built-in `tiers`. The error says file, line and reason.
pub fn load(file: Option<&Path>) -> Result<Catalogue> {
    let (name, text) = match file {
        None => ("catalogue/tiers.toml".to_owned(), TIERS.to_owned()),
        Some(file) => {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(file)
                .map_err(|error| Error::internal(&format!("TOKENBANK_CATALOGUE: read {name}"), error))?;
            (name, text)
        }
    };
    Catalogue::parse(&text).map_err(|error| Error::Internal(format!("{name}:{}: {}", error.line, error.message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_catalogue_is_right() {
        assert_eq!(load(None).unwrap().skills.len(), 6);
    }

    #[test]
    fn a_mistake_is_told_with_file_and_line() {
        let file = std::env::temp_dir().join("tokenbank-mistaken-catalogue.toml");
        std::fs::write(&file, TIERS.replace("price = \"28.75\"", "price = \"27.75\"")).unwrap();
        let line = TIERS.lines().position(|line| line == "price = \"28.75\"").unwrap() + 1;
        let error = load(Some(&file)).unwrap_err().to_string();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(error, format!("{}:{line}: $25.00 and the markup are $28.75, not $27.75", file.display()));
        let missing = load(Some(Path::new("/no/such/catalogue.toml"))).unwrap_err().to_string();
        assert!(missing.starts_with("TOKENBANK_CATALOGUE: read /no/such/catalogue.toml"), "{missing}");
    }
}
