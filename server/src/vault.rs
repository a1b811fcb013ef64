//! Owns: sealing secrets: AES-256-GCM under a data key of each row, which is itself wrapped by a versioned master key.
//! Does not own: the rows (`provider_key`), or what a secret is for.
//! Invariant: what is sealed opens only as the same account's, provider's, key's and version's; a plaintext lives in
//! [`OpenKey`] alone, which is neither shown nor stored, and is overwritten when it is dropped.

use crate::error::{Error, Result};
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use domain::id::{AccountId, KeyConnectionId, ProviderKeyId, UserId, WebhookId};
use domain::provider::Provider;
use rand::RngCore as _;
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use zeroize::Zeroizing;

const NONCE: usize = 12;

/// Where the master keys are.
#[derive(Clone)]
pub enum Source {
    /// In the settings: `1:BASE64`, or several with commas; the highest version seals.
    Given(SecretString),
    /// One a line in a file, which is made, readable by its owner alone, when it is not there.
    File(PathBuf),
    /// Nowhere: for commands that open nothing.
    Nowhere,
}

/// The master keys, by version.
type Ring = BTreeMap<i64, Zeroizing<[u8; 32]>>;

/// Seals and opens.
pub struct Vault {
    source: Source,
    ring: RwLock<Ring>,
}

/// What a sealed secret is bound to.
#[derive(Clone, Copy)]
pub enum Owner<'a> {
    Key(KeyRow<'a>),
    /// The key in a user's authenticator app.
    SecondFactor(&'a UserId),
    Webhook(WebhookRow<'a>),
    /// What fetches a key from a provider's sign-in, while somebody is there.
    Connection(&'a AccountId, &'a KeyConnectionId),
}

/// The secret that signs what is sent to a webhook, and which of those that followed one another.
#[derive(Clone, Copy)]
pub struct WebhookRow<'a> {
    pub account_id: &'a AccountId,
    pub webhook_id: &'a WebhookId,
    pub key_version: i64,
}

/// An account's own key of a provider, and which of the secrets that followed one another in its row.
#[derive(Clone, Copy)]
pub struct KeyRow<'a> {
    pub account_id: &'a AccountId,
    pub provider: Provider,
    pub key_id: &'a ProviderKeyId,
    pub key_version: i64,
}

/// A sealed secret, as its row holds it.
#[derive(Clone)]
pub struct Sealed {
    /// Nonce and ciphertext of the secret, in Base64.
    pub sealed: String,
    /// Nonce and ciphertext of the row's data key, in Base64.
    pub wrapped_key: String,
    pub master_version: i64,
}

/// A secret in the clear, from the vault to the header of a request.
pub struct OpenKey(SecretString);

impl OpenKey {
    /// The secret, for the header of a request; it is overwritten when it is dropped.
    pub fn into_secret(self) -> SecretString {
        self.0
    }
}

impl Vault {
    /// Reads the master keys; a file that is not there is made.
    pub fn open(source: &Source) -> Result<Vault> {
        Ok(Vault { ring: RwLock::new(read(source)?), source: source.clone() })
    }

    /// Seals a secret under a new data key and the newest master key.
    pub fn seal(&self, owner: Owner<'_>, secret: &str) -> Result<Sealed> {
        let mut data_key = Zeroizing::new([0_u8; 32]);
        rand::rng().fill_bytes(&mut *data_key);
        let sealed = encrypt(&data_key, &bound(owner, "secret", 0), secret.as_bytes())?;
        let (version, wrapped_key) = self.wrap(owner, &data_key)?;
        Ok(Sealed { sealed, wrapped_key, master_version: version })
    }

    /// Opens what was sealed for the same owner. A failure when it was not, or when its master key is not here.
    pub fn unseal(&self, owner: Owner<'_>, sealed: &Sealed) -> Result<OpenKey> {
        let data_key = self.unwrap(owner, sealed)?;
        let secret = decrypt(&data_key, &bound(owner, "secret", 0), &sealed.sealed)?;
        let text = std::str::from_utf8(&secret).map_err(|_| Error::Internal("a sealed key is no text".to_owned()))?;
        Ok(OpenKey(SecretString::from(text)))
    }

    /// The same secret, its data key wrapped by the newest master key. The secret itself stays sealed.
    pub fn rewrap(&self, owner: Owner<'_>, sealed: &Sealed) -> Result<Sealed> {
        let data_key = self.unwrap(owner, sealed)?;
        let (master_version, wrapped_key) = self.wrap(owner, &data_key)?;
        Ok(Sealed { sealed: sealed.sealed.clone(), wrapped_key, master_version })
    }

    /// The version that seals now.
    pub fn newest(&self) -> Result<i64> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        ring.last_key_value().map(|(version, _)| *version).ok_or_else(no_master_key)
    }

    /// Adds a master key to the file, which seals from now on; nodes find it when they meet what it sealed. With keys in
    /// the settings, nothing: the newest of them is what is rotated to.
    pub fn add_master_key(&self) -> Result<i64> {
        if let Source::File(path) = &self.source {
            let next = self.newest()?.saturating_add(1);
            let text = std::fs::read_to_string(path).map_err(|error| failed(path, error))?;
            let text = Zeroizing::new(format!("{}\n{}", text.trim_end(), *new_line(next)));
            let beside = path.with_extension("new");
            // What an interrupted rotation left is not a key yet.
            let _ = std::fs::remove_file(&beside);
            write_new(&beside, &text)?;
            std::fs::rename(&beside, path).map_err(|error| failed(path, error))?;
            self.reload()?;
        }
        self.newest()
    }

    fn wrap(&self, owner: Owner<'_>, data_key: &[u8; 32]) -> Result<(i64, String)> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let (version, master) = ring.last_key_value().ok_or_else(no_master_key)?;
        Ok((*version, encrypt(master, &bound(owner, "data key", *version), data_key)?))
    }

    fn unwrap(&self, owner: Owner<'_>, sealed: &Sealed) -> Result<Zeroizing<[u8; 32]>> {
        let version = sealed.master_version;
        let find = || self.ring.read().unwrap_or_else(PoisonError::into_inner).get(&version).cloned();
        let master = match find() {
            Some(master) => master,
            // Another node, or `vault rotate`, has made it.
            None => {
                self.reload()?;
                find().ok_or_else(|| Error::Internal(format!("master key {version} is not here")))?
            }
        };
        let opened = decrypt(&master, &bound(owner, "data key", version), &sealed.wrapped_key)?;
        let data_key = <[u8; 32]>::try_from(opened.as_slice()).map_err(|_| refused())?;
        Ok(Zeroizing::new(data_key))
    }

    fn reload(&self) -> Result<()> {
        let ring = read(&self.source)?;
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring;
        Ok(())
    }
}

/// Reads master keys; the problem says what is wrong, and never what was written.
pub fn parse(text: &str) -> std::result::Result<(), String> {
    parse_ring(text).map(drop)
}

fn parse_ring(text: &str) -> std::result::Result<Ring, String> {
    let mut ring = Ring::new();
    for entry in text.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty()) {
        let (version, key) = entry.split_once(':').ok_or("is not written as VERSION:BASE64")?;
        let version = version.parse::<i64>().ok().filter(|version| *version > 0);
        let version = version.ok_or("has a version that is no whole number above 0")?;
        let bytes = Zeroizing::new(BASE64.decode(key).map_err(|_| "is not Base64 after its version")?);
        let key = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| "has a key that is not 32 bytes long")?;
        if ring.insert(version, Zeroizing::new(key)).is_some() {
            return Err(format!("has version {version} twice"));
        }
    }
    if ring.is_empty() { Err("is empty".to_owned()) } else { Ok(ring) }
}

fn read(source: &Source) -> Result<Ring> {
    let text = match source {
        Source::Nowhere => return Ok(Ring::new()),
        Source::Given(text) => Zeroizing::new(text.expose_secret().to_owned()),
        Source::File(path) => {
            if !path.exists() {
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
                }
                match write_new(path, &new_line(1)) {
                    // Another process was first.
                    Err(_) if path.exists() => {}
                    written => written?,
                }
            }
            let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|error| failed(path, error))?);
            check_mode(path).map_err(Error::Internal)?;
            text
        }
    };
    parse_ring(&text).map_err(|problem| Error::Internal(format!("TOKENBANK_MASTER_KEY, or the file of it, {problem}")))
}

/// Whether a file of master keys is its owner's alone; the problem says what to do.
pub fn check_mode(path: &Path) -> std::result::Result<(), String> {
    let mode = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(format!(
        "may be read by others than its owner (mode {:o}), who could open every user's key; run `chmod 600 {}`",
        mode & 0o777,
        path.display()
    ))
}

fn new_line(version: i64) -> Zeroizing<String> {
    let mut key = Zeroizing::new([0_u8; 32]);
    rand::rng().fill_bytes(&mut *key);
    Zeroizing::new(format!("{version}:{}\n", BASE64.encode(*key)))
}

fn write_new(path: &Path, text: &str) -> Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| failed(path, error))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| failed(path, error))
}

/// What a ciphertext is bound to: each part with its length, so that no two owners are written alike.
fn bound(owner: Owner<'_>, what: &str, master_version: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let master_version = master_version.to_string();
    let key_version;
    let parts = match owner {
        Owner::Key(row) => {
            key_version = row.key_version.to_string();
            vec![row.account_id.as_str(), row.provider.as_str(), row.key_id.as_str(), &key_version]
        }
        Owner::SecondFactor(user_id) => vec!["second factor", user_id.as_str()],
        Owner::Webhook(row) => {
            key_version = row.key_version.to_string();
            vec!["webhook", row.account_id.as_str(), row.webhook_id.as_str(), &key_version]
        }
        Owner::Connection(account_id, id) => vec!["key connection", account_id.as_str(), id.as_str()],
    };
    for part in std::iter::once(what).chain(parts).chain(std::iter::once(master_version.as_str())) {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

fn encrypt(key: &[u8; 32], aad: &[u8], msg: &[u8]) -> Result<String> {
    let mut nonce = [0_u8; NONCE];
    rand::rng().fill_bytes(&mut nonce);
    let ciphertext =
        Aes256Gcm::new(&(*key).into()).encrypt(&nonce.into(), Payload { msg, aad }).map_err(|_| refused())?;
    Ok(BASE64.encode([nonce.as_slice(), &ciphertext].concat()))
}

fn decrypt(key: &[u8; 32], aad: &[u8], text: &str) -> Result<Zeroizing<Vec<u8>>> {
    let bytes = BASE64.decode(text).map_err(|_| refused())?;
    let (nonce, msg) = bytes.split_first_chunk::<NONCE>().ok_or_else(refused)?;
    let plain =
        Aes256Gcm::new(&(*key).into()).decrypt(&(*nonce).into(), Payload { msg, aad }).map_err(|_| refused())?;
    Ok(Zeroizing::new(plain))
}

fn refused() -> Error {
    Error::Internal("a sealed key does not open: it is not this row's, or not under this master key".to_owned())
}

fn no_master_key() -> Error {
    Error::Internal("there is no master key here: set TOKENBANK_MASTER_KEY".to_owned())
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::internal(&format!("the master key {}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test cases 14 and 16 of "The Galois/Counter Mode of Operation" (McGrew and Viega), appendix B.
    #[test]
    fn the_published_vectors_come_out() {
        let cipher = Aes256Gcm::new(&[0_u8; 32].into());
        let out = cipher.encrypt(&[0_u8; 12].into(), Payload { msg: &[0_u8; 16], aad: b"" }).unwrap();
        assert_eq!(hex::encode(out), "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");

        let key: [u8; 32] = hex::decode("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
            .unwrap()
            .try_into()
            .unwrap();
        let nonce: [u8; 12] = hex::decode("cafebabefacedbaddecaf888").unwrap().try_into().unwrap();
        let msg = hex::decode(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        )
        .unwrap();
        let aad = hex::decode("feedfacedeadbeeffeedfacedeadbeefabaddad2").unwrap();
        let out = Aes256Gcm::new(&key.into()).encrypt(&nonce.into(), Payload { msg: &msg, aad: &aad }).unwrap();
        assert_eq!(
            hex::encode(out),
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"
        );
    }

    fn vault(text: &str) -> Vault {
        Vault::open(&Source::Given(SecretString::from(text))).unwrap()
    }

    fn key(version: u8) -> String {
        format!("{version}:{}", BASE64.encode([version; 32]))
    }

    #[test]
    fn what_is_sealed_opens_only_as_its_own() {
        let vault = vault(&key(1));
        let (account, other_account) = (AccountId::new("a"), AccountId::new("b"));
        let (id, other_id) = (ProviderKeyId::new("k"), ProviderKeyId::new("l"));
        let row = KeyRow { account_id: &account, provider: Provider::OpenAi, key_id: &id, key_version: 1 };
        let user_id = UserId::new("k");
        let owner = Owner::Key(row);
        let sealed = vault.seal(owner, "sk-canary").unwrap();
        assert_eq!(vault.unseal(owner, &sealed).unwrap().into_secret().expose_secret(), "sk-canary");
        for stranger in [
            Owner::Key(KeyRow { account_id: &other_account, ..row }),
            Owner::Key(KeyRow { provider: Provider::Groq, ..row }),
            Owner::Key(KeyRow { key_id: &other_id, ..row }),
            Owner::Key(KeyRow { key_version: 2, ..row }),
            Owner::SecondFactor(&user_id),
        ] {
            assert!(vault.unseal(stranger, &sealed).is_err());
            // Neither half opens on its own in another row.
            let theirs = vault.seal(stranger, "sk-theirs").unwrap();
            assert!(vault.unseal(stranger, &Sealed { sealed: sealed.sealed.clone(), ..theirs.clone() }).is_err());
            assert!(vault.unseal(stranger, &Sealed { wrapped_key: sealed.wrapped_key.clone(), ..theirs }).is_err());
        }
        let again = vault.seal(owner, "sk-canary").unwrap();
        assert!(again.sealed != sealed.sealed && again.wrapped_key != sealed.wrapped_key, "nonces and keys are new");
    }

    #[test]
    fn a_second_master_key_opens_the_old_and_seals_the_new() {
        let (account, id) = (AccountId::new("a"), ProviderKeyId::new("k"));
        let owner =
            Owner::Key(KeyRow { account_id: &account, provider: Provider::OpenAi, key_id: &id, key_version: 1 });
        let old = vault(&key(1)).seal(owner, "sk-canary").unwrap();
        let both = vault(&format!("{},{}", key(2), key(1)));
        let new = both.rewrap(owner, &old).unwrap();
        assert_eq!((new.master_version, &new.sealed), (2, &old.sealed));
        assert!(vault(&key(2)).unseal(owner, &new).is_ok());
        assert!(vault(&key(2)).unseal(owner, &old).is_err());
        assert!(both.unseal(owner, &Sealed { master_version: 2, ..old }).is_err());
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_and_a_new_one_is_its_owners() {
        let folder = std::env::temp_dir().join(format!("tokenbank-vault-{}", std::process::id()));
        let path = folder.join("master.key");
        let source = Source::File(path.clone());
        assert_eq!(Vault::open(&source).unwrap().newest().unwrap(), 1, "it is made");
        assert_eq!(check_mode(&path), Ok(()));
        for mode in [0o640, 0o604, 0o644, 0o620] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(Vault::open(&source).is_err_and(|error| error.to_string().contains("chmod 600")), "{mode:o}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        assert!(Vault::open(&source).is_ok());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_malformed_master_key_is_refused_without_repeating_it() {
        let short = format!("1:{}", BASE64.encode([7_u8; 31]));
        for text in ["", "canary", "0:AAAA", "x:AAAA", "1:canary!", &short, &format!("{},{}", key(1), key(1))] {
            let problem = parse(text).unwrap_err();
            assert!(!problem.contains("canary"), "{problem}");
        }
        assert!(parse(&key(1)).is_ok());
    }
}
