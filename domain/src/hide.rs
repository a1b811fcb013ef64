//! Owns: taking out of a text what may be a secret, where nobody knows which secrets there are.
//! Does not own: taking known keys out of answers (`server::execution`).
//! Invariant: rather too much is hidden than too little.

use crate::key::recognise;

/// What stands in place of a word that may be a secret.
const HIDDEN: &str = "[hidden]";
/// A shorter word with digits in it is as likely a number with its unit.
const SHORTEST: usize = 8;

/// The text with every word replaced that may be a secret: letters mixed with digits, or the beginning of a provider's key.
pub fn hide_secrets(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for piece in text.split_inclusive(is_between) {
        let word = piece.trim_end_matches(is_between);
        shown.push_str(if may_be_secret(word) { HIDDEN } else { word });
        shown.push_str(&piece[word.len()..]);
    }
    shown
}

fn is_between(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '"' | '`' | '\'' | ',' | ';' | '(' | ')')
}

fn may_be_secret(word: &str) -> bool {
    let mixed = word.contains(|letter: char| letter.is_ascii_digit()) && word.contains(char::is_alphabetic);
    word.len() >= SHORTEST && (mixed || recognise(word).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_and_keys_go() {
        for (text, shown) in [
            (
                "index out of bounds: the len is 3 but the index is 5",
                "index out of bounds: the len is 3 but the index is 5",
            ),
            ("called `Option::unwrap()` on a `None` value", "called `Option::unwrap()` on a `None` value"),
            (
                "end byte index 9 is out of bounds of `sk-ant-api03-abcdef`",
                "end byte index 9 is out of bounds of `[hidden]`",
            ),
            ("Err value: \"gsk_abcdefghijkl\"", "Err value: \"[hidden]\""),
            ("Bearer 0123456789abcdef, again 0123456789abcdef", "Bearer [hidden], again [hidden]"),
            ("key=s3cr3t-token\n", "[hidden]\n"),
            ("", ""),
        ] {
            assert_eq!(hide_secrets(text), shown);
        }
    }
}
