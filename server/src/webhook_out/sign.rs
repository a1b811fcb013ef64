//! Owns: the signature of a message: HMAC-SHA256 over `id.timestamp.payload`, one for each secret that counts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What every secret begins with; after it comes the key in Base64.
pub const PREFIX: &str = "whsec_";

/// A secret as it is shown, from its random bytes.
pub fn secret_of(key: &[u8; 32]) -> String {
    format!("{PREFIX}{}", BASE64.encode(key))
}

/// The value of `webhook-signature`: `v1,…` for each secret, with spaces between. A secret that is none signs nothing.
pub fn signature(secrets: &[&str], id: &str, timestamp: i64, payload: &str) -> String {
    let signed = format!("{id}.{timestamp}.{payload}");
    let one = |secret: &&str| {
        let key = BASE64.decode(secret.strip_prefix(PREFIX)?).ok()?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
        mac.update(signed.as_bytes());
        Some(format!("v1,{}", BASE64.encode(mac.finalize().into_bytes())))
    };
    secrets.iter().filter_map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification, as its reference libraries test it.
    #[test]
    fn the_published_example_comes_out() {
        let signed = signature(
            &["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn two_secrets_make_two_signatures() {
        let (old, new) = (secret_of(&[1; 32]), secret_of(&[2; 32]));
        let both = signature(&[&new, &old], "a", 1, "{}");
        let one = |secret: &str| signature(&[secret], "a", 1, "{}");
        assert_eq!(both, format!("{} {}", one(&new), one(&old)));
        assert_eq!(signature(&["no secret"], "a", 1, "{}"), "");
    }
}
