//! Owns: whether a text goes along with a key, letter by letter, where a letter may be escaped as JSON escapes it, once or in
//! JSON that is itself a text of JSON.

/// More backslashes in a row escape nothing that anybody reads.
const MOST_SLASHES: usize = 8;

/// How far a text goes along with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Along {
    /// It begins with the key, which ends after so many bytes.
    Whole(usize),
    /// It ends before the key does.
    SoFar,
    Not,
}

/// The most bytes that a key can take.
pub(super) const fn longest(key: &[u8]) -> usize {
    key.len().saturating_mul(MOST_SLASHES + 5)
}

/// Whether `text` begins with the key.
pub(super) fn along(text: &[u8], key: &[u8]) -> Along {
    let mut at = 0;
    for letter in key {
        match letter_along(&text[at..], *letter) {
            Along::Whole(length) => at += length,
            ends @ (Along::SoFar | Along::Not) => return ends,
        }
    }
    Along::Whole(at)
}

fn letter_along(text: &[u8], letter: u8) -> Along {
    let slashes = text.iter().take(MOST_SLASHES + 1).take_while(|byte| **byte == b'\\').count();
    if slashes > MOST_SLASHES {
        return Along::Not;
    }
    match (text.get(slashes), slashes) {
        (None, _) => Along::SoFar,
        (Some(next), 0) if *next == letter => Along::Whole(1),
        (Some(_), 0) => Along::Not,
        (Some(b'u'), _) => match code_along(&text[slashes + 1..], letter) {
            Along::Whole(length) => Along::Whole(slashes + 1 + length),
            ends @ (Along::SoFar | Along::Not) => ends,
        },
        (Some(next), _) if *next == letter && matches!(letter, b'/' | b'"') => Along::Whole(slashes + 1),
        (Some(_), _) if letter == b'\\' => Along::Whole(slashes),
        (Some(_), _) => Along::Not,
    }
}

/// The four digits after `\u`.
fn code_along(text: &[u8], letter: u8) -> Along {
    let code = format!("{letter:04x}");
    let digits = &text[..text.len().min(code.len())];
    if !code.as_bytes()[..digits.len()].eq_ignore_ascii_case(digits) {
        Along::Not
    } else if digits.len() == code.len() {
        Along::Whole(code.len())
    } else {
        Along::SoFar
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_their_escapes_go_along() {
        for (text, key, expected) in [
            ("sk-1 and more", "sk-1", Along::Whole(4)),
            ("sk", "sk-1", Along::SoFar),
            ("", "sk-1", Along::SoFar),
            ("sx-1", "sk-1", Along::Not),
            (r"\u0073k\u002d1", "sk-1", Along::Whole(14)),
            (r"\\u0073k\\u002D1", "sk-1", Along::Whole(16)),
            (r"\u00", "sk-1", Along::SoFar),
            (r"\", "sk-1", Along::SoFar),
            (r"\u0074", "sk-1", Along::Not),
            (r"\n", "sk-1", Along::Not),
            (r"a\/b", "a/b", Along::Whole(4)),
            (r#"a\"b"#, "a\"b", Along::Whole(4)),
            (r"a\\b", "a\\b", Along::Whole(4)),
            ("\\\\\\\\\\\\\\\\\\\\\\\\u0073", "s", Along::Not),
        ] {
            assert_eq!(along(text.as_bytes(), key.as_bytes()), expected, "{text}");
        }
    }
}
