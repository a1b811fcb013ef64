//! Owns: a catalogue as its files: the one that is named, and those it includes.
//! Does not own: where the files are (`server::catalogue`), what stands in them (`file`).
//! Invariant: the files joined in order are one catalogue file, and a line of it is told as a line of its own file.

use super::{Catalogue, CatalogueError};
use serde::Deserialize;
use toml::Spanned;

/// The files of a catalogue, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    files: Vec<(String, String)>,
}

/// What is wrong with a catalogue, and in which line of which of its files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct SourceError {
    pub file: String,
    pub line: usize,
    pub message: String,
}

/// The one entry that is needed before the rest can be read.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    include: Vec<Spanned<String>>,
}

impl Source {
    /// The named file with those it includes; `read` gives a file's text by the name it is included with, or says why
    /// it cannot.
    pub fn assemble(
        name: &str,
        text: String,
        read: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Source, SourceError> {
        let at = |offset: usize, message: String| SourceError {
            file: name.to_owned(),
            line: super::file::line_at(&text, offset),
            message,
        };
        let head: Head = toml::from_str(&text)
            .map_err(|error| at(error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
        let mut included = Vec::new();
        for file in head.include {
            let message = |problem: String| format!("{} cannot be included: {problem}", file.get_ref());
            let text = read(file.get_ref()).map_err(|problem| at(file.span().start, message(problem)))?;
            included.push((file.get_ref().clone(), text));
        }
        let mut files = vec![(name.to_owned(), text)];
        files.extend(included);
        for (_, text) in &mut files {
            if !text.ends_with('\n') {
                text.push('\n');
            }
        }
        Ok(Source { files })
    }

    /// Everything as one file, which [`Catalogue::parse`] reads alone.
    pub fn text(&self) -> String {
        self.files.iter().map(|(_, text)| text.as_str()).collect()
    }

    pub fn parse(&self) -> Result<Catalogue, SourceError> {
        Catalogue::parse(&self.text()).map_err(|error| self.place(error))
    }

    /// The error in the line of its own file.
    fn place(&self, CatalogueError { line, message }: CatalogueError) -> SourceError {
        let mut line = line;
        for (file, text) in &self.files {
            let lines = text.lines().count();
            if line <= lines {
                return SourceError { file: file.clone(), line, message };
            }
            line = line.saturating_sub(lines);
        }
        let file = self.files.last().map(|(file, _)| file.clone()).unwrap_or_default();
        SourceError { file, line, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(change: impl Fn(&str, String) -> String) -> Result<Source, SourceError> {
        let text = |name: &str| match name {
            "tiers.toml" => Ok(include_str!("../../../catalogue/tiers.toml")),
            "models.toml" => Ok(include_str!("../../../catalogue/models.toml")),
            "skills.toml" => Ok(include_str!("../../../catalogue/skills.toml")),
            other => Err(format!("there is no {other}")),
        };
        let read = |name: &str| text(name).map(|text| change(name, text.to_owned()));
        Source::assemble("tiers.toml", read("tiers.toml").unwrap(), read)
    }

    #[test]
    fn included_entries_count_as_if_they_stood_in_the_file() {
        let whole = source(|_, text| text).unwrap();
        assert_eq!(whole.parse().unwrap(), crate::catalogue::tests::tiers());
        assert_eq!(Catalogue::parse(&whole.text()), Ok(whole.parse().unwrap()), "what is stored can be read alone");
    }

    #[test]
    fn a_mistake_is_told_in_the_line_of_its_own_file() {
        for (file, right, wrong, reason) in [
            ("tiers.toml", "price = \"11.50\"", "price = \"-11.50\"", "is negative"),
            ("models.toml", "max_output_tokens = 8_192", "max_output_tokens = 300_000", "does not fit"),
            ("skills.toml", "max_output_tokens = 18_000", "max_output_tokens = 33_000", "writes up to 32000"),
        ] {
            let change = |name: &str, text: String| if name == file { text.replace(right, wrong) } else { text };
            let error = source(change).unwrap().parse().unwrap_err();
            let text = std::fs::read_to_string(format!("../catalogue/{file}")).unwrap();
            let line = text.lines().position(|line| line == right).unwrap() + 1;
            assert_eq!((error.file.as_str(), error.line), (file, line), "{error}");
            assert!(error.message.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_included_is_told_where_it_is_named() {
        let error = source(|_, text| text.replace("skills.toml", "none.toml")).unwrap_err();
        assert_eq!(
            error.to_string().split_once(": ").map(|(_, message)| message),
            Some("none.toml cannot be included: there is no none.toml")
        );
        assert_eq!(error.file, "tiers.toml");
        let broken = source(|_, text| text.replace("include = [", "include = [[")).unwrap_err();
        assert_eq!(broken.file, "tiers.toml");
    }
}
