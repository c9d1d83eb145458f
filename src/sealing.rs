//! Secrets that have to be read again, as the registry keeps them: sealed with AES-256-GCM by a key
//! that only replicas have, in a file beside their configuration.

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Keys of a file: the present one and some before it.
const KEYS_MAX: usize = 16;
const FILE_BYTES_MAX: u64 = 16 * 1024;
/// What every sealed text begins with.
const FORM: &str = "s1";

/// Seals with the first key of a file, and opens with any of them.
pub struct Sealing {
    keys: Vec<(String, LessSafeKey)>,
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealing({} keys)", self.keys.len())
    }
}

/// A sealed text that cannot be opened: its key is not there, it belongs elsewhere, or it was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unopened;

impl Sealing {
    /// Reads a file: a key of 32 bytes in base64 on each line, the one that seals first. Empty lines
    /// and such as begin with `#` say nothing.
    ///
    /// # Errors
    /// The file cannot be read, others may read it, or a line is no key; no line is repeated.
    pub fn load(path: &Path) -> Result<Self, String> {
        use std::io::Read;
        use std::os::unix::fs::PermissionsExt;
        let told = |error: std::io::Error| format!("{}: {error}", path.display());
        let file = std::fs::File::open(path).map_err(told)?;
        let mode = file.metadata().map_err(told)?.permissions().mode();
        if mode & 0o007 != 0 {
            return Err(format!("{} must not be for others to read: chmod 600", path.display()));
        }
        let mut text = Zeroizing::new(String::new());
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(told)?;
        Self::parse(&text).map_err(|what| format!("{}: {what}", path.display()))
    }

    /// Reads the text of such a file.
    ///
    /// # Errors
    /// As [`Sealing::load`].
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).enumerate();
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let mut keys = Vec::new();
        for (place, line) in lines {
            let bad = || format!("line {} is no key: 32 random bytes in base64", place + 1);
            let bytes = BASE64_STANDARD.decode(line).map(Zeroizing::new).map_err(|_| bad())?;
            if bytes.len() != KEY_BYTES {
                return Err(bad());
            }
            let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| bad())?;
            keys.push((name_of(&bytes), LessSafeKey::new(key)));
        }
        match keys.len() {
            1..=KEYS_MAX => Ok(Self { keys }),
            _ => Err("there must be 1 to 16 keys".to_owned()),
        }
    }

    /// Seals a secret for one place, as in `consumer/17`: it opens nowhere else.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn seal(&self, place: &str, secret: &[u8]) -> Result<String, getrandom::Error> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce)?;
        let Some((name, key)) = self.keys.first() else {
            return Err(getrandom::Error::UNEXPECTED);
        };
        let mut sealed = secret.to_vec();
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(place.as_bytes()),
            &mut sealed,
        )
        .map_err(|_| getrandom::Error::UNEXPECTED)?;
        let text = BASE64_URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat());
        Ok(format!("{FORM}.{name}.{text}"))
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// It cannot be.
    pub fn open(&self, place: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>, Unopened> {
        let mut parts = sealed.splitn(3, '.');
        let (Some(FORM), Some(name), Some(text)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(Unopened);
        };
        let (_, key) = self.keys.iter().find(|(known, _)| known == name).ok_or(Unopened)?;
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| Unopened)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN).ok_or(Unopened)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unopened)?;
        let mut secret = Zeroizing::new(sealed.to_vec());
        let bytes = key.open_in_place(nonce, Aad::from(place.as_bytes()), &mut secret);
        let length = bytes.map_err(|_| Unopened)?.len();
        secret.truncate(length);
        Ok(secret)
    }
}

/// Names a key without telling it.
fn name_of(key: &[u8]) -> String {
    let digest = Sha256::digest([b"flowgate sealing key ", key].concat());
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const NEW: &str = "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=";

    #[test]
    fn what_is_sealed_opens_in_its_place_only_and_after_a_rotation() {
        let old = Sealing::parse(&format!("# first\n\n{OLD}\n")).unwrap();
        let sealed = old.seal("consumer/1", b"geheim").unwrap();
        assert!(!sealed.contains("geheim"));
        assert_eq!(&*old.open("consumer/1", &sealed).unwrap(), b"geheim");
        assert_eq!(old.open("consumer/2", &sealed), Err(Unopened));
        let both = Sealing::parse(&format!("{NEW}\n{OLD}")).unwrap();
        assert_eq!(&*both.open("consumer/1", &sealed).unwrap(), b"geheim");
        let anew = both.seal("consumer/1", b"geheim").unwrap();
        assert_eq!(old.open("consumer/1", &anew), Err(Unopened));
        for place in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[place] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(old.open("consumer/1", &changed), Err(Unopened), "{place}");
        }
    }

    #[test]
    fn a_file_that_is_no_key_file_is_refused_without_its_text() {
        for text in ["", "# nothing\n", "geheim", "Z2VoZWlt", &format!("{OLD}\ngeheim")] {
            let fault = Sealing::parse(text).unwrap_err();
            assert!(!fault.contains("geheim") && !fault.contains("Z2VoZWlt"), "{fault}");
        }
    }
}
