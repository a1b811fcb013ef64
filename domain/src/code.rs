//! Owns: codes that give credit: how one is written and read, and who may use it.
//! Does not own: counting its uses or giving the credit (`server::code`).
//! Invariant: what a code gives is promotional credit; it never becomes bought credit.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use crate::time::Timestamp;

crate::text_enum! {
    /// What a code is for.
    CodeKind {
        /// Credit that expires.
        Promotional = "promotional",
        /// Credit that stays until it is used, unless said otherwise.
        Gift = "gift",
    }
}

impl CodeKind {
    /// What its credit is called on a statement.
    pub const fn words(self) -> &'static str {
        match self {
            CodeKind::Promotional => "Promotional credit",
            CodeKind::Gift => "Gift",
        }
    }
}

crate::text_enum! {
    /// Why a code gives nothing.
    CodeProblem {
        Unknown = "unknown",
        UsedUp = "used_up",
        Expired = "expired",
        /// It is for somebody else.
        Anothers = "anothers",
        /// This account, or this person, has used it.
        Redeemed = "redeemed",
    }
}

impl CodeProblem {
    /// What is wrong, and what to do.
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            CodeProblem::Unknown => ("There is no such code", "Compare it letter by letter with what you were sent."),
            CodeProblem::UsedUp => {
                ("This code is used up", "Others have used it as often as it may be; ask whoever sent it.")
            }
            CodeProblem::Expired => ("This code has expired", "Ask whoever sent it for a new one."),
            CodeProblem::Anothers => {
                ("This code is for another address", "Sign in with the address that it was sent to.")
            }
            CodeProblem::Redeemed => {
                ("You have used this code", "It counts once; what it gave stands on your statement.")
            }
        }
    }
}

/// A code as it stands, for the decision.
#[derive(Clone, Copy, Debug)]
pub struct Code<'a> {
    pub most_uses: i64,
    pub uses: i64,
    pub redeem_until: Option<Timestamp>,
    pub is_revoked: bool,
    /// The one person it is for, as their hash.
    pub person: Option<&'a str>,
}

/// Whether a person may use a code now. Whether they have used it before is a constraint of the database.
pub fn may_redeem(code: &Code<'_>, person: &str, now: Timestamp) -> Result<(), CodeProblem> {
    if code.person.is_some_and(|wanted| wanted != person) {
        return Err(CodeProblem::Anothers);
    }
    if code.is_revoked || code.redeem_until.is_some_and(|until| until <= now) {
        return Err(CodeProblem::Expired);
    }
    if code.uses >= code.most_uses { Err(CodeProblem::UsedUp) } else { Ok(()) }
}

/// The letters of a code: no I, L, O and U, which are read as something else.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Writes 80 random bits as a code: `TB-XXXX-XXXX-XXXX-XXXX`.
pub fn write(random: [u8; 10]) -> String {
    let bits = random.iter().fold(0_u128, |bits, byte| bits.wrapping_shl(8) | u128::from(*byte));
    let mut text = String::from("TB");
    for place in 0..16_u32 {
        if place.is_multiple_of(4) {
            text.push('-');
        }
        let shift = 15_u32.saturating_sub(place).saturating_mul(5);
        let index = usize::try_from(bits.wrapping_shr(shift) & 31).unwrap_or_default();
        text.push(char::from(LETTERS.get(index).copied().unwrap_or(b'0')));
    }
    text
}

/// A typed code in its one spelling, without blanks and dashes, and with the letters that are easily confused put right;
/// `None` if it cannot be one.
pub fn read(typed: &str) -> Option<String> {
    let letters: String = typed
        .chars()
        .filter(|letter| !letter.is_whitespace() && *letter != '-' && *letter != '–')
        .map(|letter| match letter.to_ascii_uppercase() {
            'I' | 'L' => '1',
            'O' => '0',
            letter => letter,
        })
        .collect();
    let code = letters.strip_prefix("TB")?;
    let is_one = code.len() == 16 && code.bytes().all(|letter| LETTERS.contains(&letter));
    is_one.then(|| letters.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_however_it_was_typed() {
        let code = write([0x00, 0x44, 0x32, 0x14, 0xC7, 0x42, 0x54, 0xB6, 0x35, 0xCF]);
        assert_eq!(code, "TB-0123-4567-89AB-CDEF");
        let read_again = read(&code).unwrap();
        for typed in ["tb0123456789abcdef", " tb-o123 4567–89ab cdef ", "TB-0l23-4567-89AB-CDEF"] {
            assert_eq!(read(typed).as_ref(), Some(&read_again), "{typed}");
        }
        for bad in
            ["", "TB", "0123456789ABCDEF", "TB-0123-4567-89AB-CDE", "TB-0123-4567-89AB-CDEFG", "TB-0123-4567-89AB-CDE*"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn who_may_use_a_code() {
        let now = Timestamp::from_seconds(1_000);
        let code =
            Code { most_uses: 2, uses: 1, redeem_until: Some(now.plus_seconds(1)), is_revoked: false, person: None };
        assert_eq!(may_redeem(&code, "sam", now), Ok(()));
        assert_eq!(may_redeem(&code, "sam", now.plus_seconds(1)), Err(CodeProblem::Expired));
        assert_eq!(may_redeem(&Code { is_revoked: true, ..code }, "sam", now), Err(CodeProblem::Expired));
        assert_eq!(may_redeem(&Code { uses: 2, ..code }, "sam", now), Err(CodeProblem::UsedUp));
        let bound = Code { person: Some("kim"), uses: 2, ..code };
        assert_eq!(may_redeem(&bound, "sam", now), Err(CodeProblem::Anothers));
        assert_eq!(may_redeem(&Code { uses: 0, ..bound }, "kim", now), Ok(()));
    }

    proptest::proptest! {
        /// Every code that is written is read, and no two are the same.
        #[test]
        fn what_is_written_is_read(a: [u8; 10], b: [u8; 10]) {
            let (a_read, b_read) = (read(&write(a)), read(&write(b)));
            proptest::prop_assert!(a_read.is_some());
            proptest::prop_assert_eq!(a == b, a_read == b_read);
        }
    }
}
