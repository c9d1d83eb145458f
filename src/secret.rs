//! Text that must never be seen: passwords and keys on their way to being checked.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const KEY_PREFIX: &str = "fgk_";
const CONSUMER_PREFIX: &str = "fgc_";
const APPLICATION_PREFIX: &str = "fgo_";
const TICKET_PREFIX: &str = "fgt_";
const SESSION_PREFIX: &str = "fgs_";
const ADMIN_PREFIX: &str = "fga_";

/// Secret text. Prints as `[redacted]`, is wiped when dropped, and is not compared with `==`.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// A new API key: 256 random bits in 43 characters, with a prefix by which leaked ones can be
    /// found. Every character may stand in a header, a query or a subprotocol.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn generate_key() -> Result<Self, getrandom::Error> {
        Self::generate(KEY_PREFIX)
    }

    /// A new key for a consumer of published APIs, in the same form.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn generate_consumer_key() -> Result<Self, getrandom::Error> {
        Self::generate(CONSUMER_PREFIX)
    }

    /// A new secret for an application, in the same form.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn generate_application_secret() -> Result<Self, getrandom::Error> {
        Self::generate(APPLICATION_PREFIX)
    }

    /// A new one-time ticket, in the same form.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn generate_ticket() -> Result<Self, getrandom::Error> {
        Self::generate(TICKET_PREFIX)
    }

    /// A new secret for a browser's cookie, in the same form.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn generate_session() -> Result<Self, getrandom::Error> {
        Self::generate(SESSION_PREFIX)
    }

    /// A new token for an operator, in the same form.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn generate_admin_token() -> Result<Self, getrandom::Error> {
        Self::generate(ADMIN_PREFIX)
    }

    fn generate(prefix: &str) -> Result<Self, getrandom::Error> {
        let mut random = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *random)?;
        Ok(Self::new(format!("{prefix}{}", BASE64_URL_SAFE_NO_PAD.encode(*random))))
    }

    /// The last four characters of a key, for people to tell keys apart.
    #[must_use]
    pub fn hint(&self) -> String {
        let characters = self.0.chars().count();
        self.0.chars().skip(characters.saturating_sub(4)).collect()
    }

    /// The text, for whoever has to check it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Secret {
    /// Whatever stands where a secret should is not repeated in the error.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer);
        text.map(Self::new).map_err(|_| D::Error::custom("a secret must be a string"))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What must not be in the mode of a file with secrets that its group may read: anything for others, and the
/// group's leave to change it.
pub const BEYOND_GROUP_READ: u32 = 0o027;
/// The most bytes of a file with one secret.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Others than owner and group may do nothing with such a file.
const OTHERS: u32 = 0o007;

/// What a file holds that others may not read, without white space at its end.
///
/// # Errors
/// Others may read or change it, it is over 64 KiB, or it cannot be read; nothing of it is repeated.
pub fn read_file(path: &Path) -> Result<Secret, String> {
    // The open file is looked at, not the path: that may be another one by then.
    let file = File::open(path).map_err(|error| error.to_string())?;
    let about = file.metadata().map_err(|error| error.to_string())?;
    if about.mode() & OTHERS != 0 {
        return Err("others may read or write it; chmod o= takes that away".to_owned());
    }
    let mut text = Zeroizing::new(String::new());
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    match read.map_err(|error| error.to_string())? as u64 {
        ..=FILE_BYTES_MAX => Ok(Secret::new(text.trim_end().to_owned())),
        _ => Err("it is longer than 64 KiB".to_owned()),
    }
}

/// What is wrong with JSON, without a word of it: that may be a password in the wrong place.
#[must_use]
pub fn json_fault(error: &serde_json::Error) -> String {
    const EXPECTED: &str = ", expected ";
    let text = error.to_string();
    match text.rfind(EXPECTED) {
        Some(place) if error.is_data() => format!("Bad JSON{}.", &text[place..]),
        _ => format!("Bad JSON: {text}."),
    }
}

/// The SHA-256 digest of a random secret (an API key), which is what is stored of it. Not for
/// passwords: those are guessable.
#[derive(Clone, Copy, Eq)]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    /// The digest of a secret.
    #[must_use]
    pub fn of(secret: &Secret) -> Self {
        Self(Sha256::digest(secret.expose().as_bytes()).into())
    }

    /// 64 hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Names this digest in a grant.
    #[must_use]
    pub fn fingerprint(self) -> u64 {
        self.0.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; 32];
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(place * 2..place * 2 + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

/// In constant time.
impl PartialEq for SecretDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl std::hash::Hash for SecretDigest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl std::fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[digest]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        let secret = Secret::new("hunter2".into());
        assert_eq!(format!("{secret:?} {:?}", SecretDigest::of(&secret)), "[redacted] [digest]");
    }

    #[test]
    fn a_secret_is_wiped_when_it_is_dropped() {
        fn is_wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        is_wiped(&Secret::new("s3cret".to_owned()).0);
    }

    #[test]
    fn a_secret_file_is_not_for_others() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let write = |bytes: usize, mode| {
            std::fs::write(&path, "x".repeat(bytes) + "\n").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            read_file(&path).map(|secret| secret.expose().len())
        };
        for mode in [0o600, 0o640, 0o660, 0o400] {
            assert_eq!(write(7, mode), Ok(7), "{mode:o}");
        }
        for mode in [0o604, 0o602, 0o601, 0o644, 0o666] {
            assert!(write(7, mode).unwrap_err().starts_with("others may"), "{mode:o}");
        }
        assert_eq!(write(64 * 1024 - 1, 0o600), Ok(64 * 1024 - 1));
        assert_eq!(write(64 * 1024, 0o600), Err("it is longer than 64 KiB".to_owned()));
        std::fs::write(&path, [b'x', 0xff]).unwrap();
        assert!(!read_file(&path).unwrap_err().contains('x'));
    }

    #[test]
    fn a_digest_is_read_from_hex() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(SecretDigest::from_hex(abc), Some(SecretDigest::of(&Secret::new("abc".into()))));
        assert_eq!(SecretDigest::from_hex(&abc[1..]), None);
        assert_eq!(SecretDigest::from_hex(&abc.replace('b', "+")), None);
        assert_eq!(SecretDigest::from_hex(&"é".repeat(32)), None);
    }
}
