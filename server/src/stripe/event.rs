//! Owns: whether a delivery was signed by Stripe, and the little that is read from an event.
//! Does not own: storing it (`http::webhook`) or acting on it (`apply`).
//! Invariant: a [`VerifiedEvent`] exists only after the signature of its raw bytes was checked; an empty secret
//! verifies nothing.

use domain::time::Timestamp;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// How old a signature may be, so that a delivery that was overheard cannot be repeated later. Stripe's own default.
const TOLERANCE_SECONDS: i64 = 300;

/// Why a delivery is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    #[error("no webhook secret is set, so nothing can be verified")]
    NoSecret,
    #[error("the Stripe-Signature header is missing or cannot be read")]
    BadHeader,
    #[error("the signature is older than five minutes, or from the future")]
    WrongTime,
    #[error("the signature does not match the body")]
    WrongSignature,
}

/// A delivery that Stripe signed, as it came.
#[derive(Clone, Debug)]
pub struct VerifiedEvent {
    payload: String,
    digest: String,
}

/// What is read from an event. Everything else is read from the object itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub stripe_event_id: String,
    /// Such as `checkout.session.completed`.
    pub kind: String,
    pub live: bool,
    /// The object that it is about, such as `cs_…`.
    pub object_id: Option<String>,
    /// The subscription that an invoice is for.
    pub subscription_id: Option<String>,
    /// The customer that it belongs to.
    pub customer_id: Option<String>,
    /// The payment that a charge, a refund or a dispute is of.
    pub payment_intent_id: Option<String>,
}

/// Checks the `Stripe-Signature` header, `t=<seconds>,v1=<hex>[,v1=…]`, against the raw body. While a secret is
/// rotated Stripe signs with the old and the new one; any that matches is enough.
///
/// <https://docs.stripe.com/webhooks#verify-manually>
pub fn verify(secret: &SecretString, header: &str, body: &[u8], now: Timestamp) -> Result<VerifiedEvent, Forged> {
    if secret.expose_secret().trim().is_empty() {
        return Err(Forged::NoSecret);
    }
    let (seconds, signatures) = read_header(header).ok_or(Forged::BadHeader)?;
    if now.seconds().abs_diff(seconds) > TOLERANCE_SECONDS.unsigned_abs() {
        return Err(Forged::WrongTime);
    }

    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).map_err(|_| Forged::NoSecret)?;
    mac.update(seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    // `verify_slice` compares in constant time.
    if !signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok()) {
        return Err(Forged::WrongSignature);
    }
    // Text that Postgres can hold; true JSON has neither broken UTF-8 nor a bare NUL.
    let payload = String::from_utf8_lossy(body).replace('\0', "\u{FFFD}");
    Ok(VerifiedEvent { payload, digest: hex::encode(Sha256::digest(body)) })
}

/// The time and the `v1` signatures; other schemes, such as `v0`, are not believed.
fn read_header(header: &str) -> Option<(i64, Vec<Vec<u8>>)> {
    let mut seconds = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=')? {
            // Only the spelling that Stripe signed: no sign, no leading zero.
            ("t", text) => seconds = text.parse::<i64>().ok().filter(|parsed| parsed.to_string() == text),
            ("v1", text) => signatures.extend(hex::decode(text)),
            _other_scheme => {}
        }
    }
    seconds.filter(|_| !signatures.is_empty()).map(|seconds| (seconds, signatures))
}

impl VerifiedEvent {
    /// The body, as it is stored.
    pub fn payload(&self) -> &str {
        &self.payload
    }

    /// What the event is about, or why it cannot be read.
    pub fn envelope(&self) -> Result<Envelope, String> {
        Envelope::parse(&self.payload)
    }

    /// A name for a body in which no event id can be read, the same for the same bytes.
    pub fn fallback_id(&self) -> String {
        format!("sha256_{}", self.digest)
    }
}

impl Envelope {
    /// Reads a stored payload.
    pub fn parse(payload: &str) -> Result<Envelope, String> {
        #[derive(Deserialize)]
        struct Event {
            id: String,
            #[serde(rename = "type")]
            kind: String,
            livemode: bool,
            data: Data,
        }
        #[derive(Deserialize)]
        struct Data {
            object: Object,
        }
        #[derive(Deserialize)]
        struct Object {
            id: Option<String>,
            parent: Option<serde_json::Value>,
            customer: Option<serde_json::Value>,
            payment_intent: Option<serde_json::Value>,
        }
        let event: Event =
            serde_json::from_str(payload).map_err(|error| format!("the event cannot be read: {error}"))?;
        if [&event.id, &event.kind].iter().any(|name| name.is_empty() || name.chars().any(char::is_control)) {
            return Err("the event has no usable id or type".to_owned());
        }
        Ok(Envelope {
            stripe_event_id: event.id,
            kind: event.kind,
            live: event.livemode,
            subscription_id: event
                .data
                .object
                .parent
                .as_ref()
                .and_then(|parent| parent.pointer("/subscription_details/subscription"))
                .and_then(id_of),
            customer_id: event.data.object.customer.as_ref().and_then(id_of),
            payment_intent_id: event.data.object.payment_intent.as_ref().and_then(id_of),
            object_id: event.data.object.id,
        })
    }
}

/// Stripe writes an object as its id, or in full.
fn id_of(value: &serde_json::Value) -> Option<String> {
    value.as_str().or_else(|| value.get("id")?.as_str()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;
    const BODY: &[u8] = br#"{"id":"evt_1","type":"x","livemode":false,"data":{"object":{"id":"cs_1"}}}"#;

    fn sign(secret: &str, seconds: i64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{seconds}.").as_bytes());
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    }

    fn check(secret: &str, header: &str, body: &[u8]) -> Result<(), Forged> {
        verify(&SecretString::from(secret.to_owned()), header, body, Timestamp::from_seconds(NOW)).map(drop)
    }

    #[test]
    fn a_true_signature_verifies_and_the_envelope_is_read() {
        let header = format!("t={NOW},v1={}", sign("whsec_a", NOW, BODY));
        let secret = SecretString::from("whsec_a".to_owned());
        let event = verify(&secret, &header, BODY, Timestamp::from_seconds(NOW)).unwrap();
        let envelope = event.envelope().unwrap();
        assert_eq!((envelope.stripe_event_id.as_str(), envelope.kind.as_str()), ("evt_1", "x"));
        assert_eq!(envelope.object_id.as_deref(), Some("cs_1"));
    }

    #[test]
    fn either_signature_of_a_rotated_secret_is_enough() {
        let (old, new) = (sign("whsec_old", NOW, BODY), sign("whsec_new", NOW, BODY));
        let header = format!("t={NOW},v1={old},v1={new},v0=00");
        assert_eq!(check("whsec_new", &header, BODY), Ok(()));
        assert_eq!(check("whsec_old", &header, BODY), Ok(()));
        assert_eq!(check("whsec_other", &header, BODY), Err(Forged::WrongSignature));
    }

    #[test]
    fn what_is_altered_old_or_unreadable_is_forged() {
        let good = sign("whsec_a", NOW, BODY);
        let altered = BODY.iter().copied().chain([b' ']).collect::<Vec<_>>();
        assert_eq!(check("whsec_a", &format!("t={NOW},v1={good}"), &altered), Err(Forged::WrongSignature));
        assert_eq!(check("whsec_a", &format!("t={},v1={good}", NOW - 1), BODY), Err(Forged::WrongSignature));
        assert_eq!(check("whsec_a", &format!("t={NOW},v0={good}"), BODY), Err(Forged::BadHeader));
        for age in [-301, 301] {
            let header = format!("t={},v1={}", NOW - age, sign("whsec_a", NOW - age, BODY));
            assert_eq!(check("whsec_a", &header, BODY), Err(Forged::WrongTime));
        }
        let at_the_edge = format!("t={},v1={}", NOW - 300, sign("whsec_a", NOW - 300, BODY));
        assert_eq!(check("whsec_a", &at_the_edge, BODY), Ok(()));
        for header in
            ["", "t=", "v1=", "t=1", &format!("v1={good}"), &format!("t=x,v1={good}"), "t=1,v1=zz", "nonsense"]
        {
            assert_eq!(check("whsec_a", header, BODY), Err(Forged::BadHeader), "{header}");
        }
    }

    /// Field failure 11: with an empty secret anybody can sign.
    #[test]
    fn an_empty_secret_verifies_nothing() {
        let header = format!("t={NOW},v1={}", sign("", NOW, BODY));
        assert_eq!(check("", &header, BODY), Err(Forged::NoSecret));
        let header = format!("t={NOW},v1={}", sign(" ", NOW, BODY));
        assert_eq!(check(" ", &header, BODY), Err(Forged::NoSecret));
    }
}
