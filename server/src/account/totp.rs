//! Owns: time-based codes (RFC 6238: HMAC-SHA-1, six digits, 30 seconds) and the Base32 that authenticator apps read.
//! Does not own: who has a second factor, and which code was used (`second_factor`).

use crate::error::{Error, Result};
use domain::time::Timestamp;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const STEP_SECONDS: i64 = 30;

/// The step of the code, if it is right now, or just before or after: clocks differ.
pub(super) fn step_of(secret: &[u8], code: &str, now: Timestamp) -> Result<Option<i64>> {
    let present = now.seconds().div_euclid(STEP_SECONDS);
    let mut found = None;
    for step in [present - 1, present, present + 1] {
        if bool::from(code_at(secret, step)?.as_bytes().ct_eq(code.as_bytes())) {
            found = Some(step);
        }
    }
    Ok(found)
}

/// The code of one step.
pub fn code_at(secret: &[u8], step: i64) -> Result<String> {
    let mut mac =
        Hmac::<Sha1>::new_from_slice(secret).map_err(|error| Error::internal("key of a second factor", error))?;
    mac.update(&step.to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let start = usize::from(digest.last().copied().unwrap_or_default() & 0x0F);
    let word = digest.iter().skip(start).take(4).fold(0_u32, |word, byte| (word << 8) | u32::from(*byte));
    Ok(format!("{:06}", (word & 0x7FFF_FFFF) % 1_000_000))
}

/// Base32 without padding.
pub(super) fn base32(bytes: &[u8]) -> String {
    let bit = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0);
    (0..(bytes.len() * 8).div_ceil(5))
        .map(|letter| (0..5).fold(0_usize, |value, place| (value << 1) | usize::from(bit(letter * 5 + place))))
        .filter_map(|value| ALPHABET.get(value).map(|letter| char::from(*letter)))
        .collect()
}

/// The bytes of Base32 text, spaces and case aside; `None` if it is none.
pub fn from_base32(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut buffer, mut bits) = (0_u32, 0_u32);
    for letter in text.bytes().filter(|byte| *byte != b' ') {
        let value = ALPHABET.iter().position(|known| known.eq_ignore_ascii_case(&letter))?;
        buffer = (buffer << 5) | u32::try_from(value).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((buffer >> bits) & 0xFF).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, SHA-1, the last six digits.
    #[test]
    fn the_codes_of_the_rfc() {
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code_at(b"12345678901234567890", seconds / 30).unwrap(), code);
        }
    }

    #[test]
    fn a_code_counts_for_a_step_before_and_after() {
        let (secret, now) = (b"12345678901234567890", Timestamp::from_seconds(1_800_000_000));
        let step = 1_800_000_000 / 30;
        for (offset, counts) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
            let code = code_at(secret, step + offset).unwrap();
            assert_eq!(step_of(secret, &code, now).unwrap(), counts.then_some(step + offset), "{offset}");
        }
        assert_eq!(step_of(secret, "", now).unwrap(), None);
    }

    #[test]
    fn base32_there_and_back() {
        assert_eq!(base32(b"12345678901234567890"), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(from_base32("gezd gnbv GY3TQOJQGEZDGNBVGY3TQOJQ").unwrap(), b"12345678901234567890");
        assert_eq!(from_base32("1"), None);
    }
}
