//! The operators' tokens: names, roles, and digests of secrets.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::secret::{BEYOND_GROUP_READ, Secret, SecretDigest};
use crate::tls::certificates::{Stamp, stamp};

/// Tokens there may be.
const TOKENS_MAX: usize = 1000;
const NAME_BYTES_MAX: usize = 64;
/// Of one's own choice, a token must not be guessable.
const TOKEN_BYTES_MIN: usize = 32;
const TOKEN_BYTES_MAX: usize = 256;
const FILE_BYTES_MAX: u64 = 1024 * 1024;
const DIGEST_PREFIX: &str = "sha256:";

/// What an operator may do; each role may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Read,
    /// End things: close connections, disable tenants, revoke keys, end sessions.
    Operate,
    /// Everything: create, change and remove, and get secrets that open something.
    Admin,
}

impl Role {
    /// All, from the least on.
    pub const ALL: [Self; 3] = [Self::Read, Self::Operate, Self::Admin];

    /// As it is written in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    /// Reads what [`Role::as_str`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where tokens are configured; nothing of it has been read yet.
#[derive(Clone, Debug, Default)]
pub struct TokenSources {
    /// A file of lines.
    pub file: Option<PathBuf>,
    /// The same lines, in the environment.
    pub environment: Option<Secret>,
}

impl TokenSources {
    /// All tokens of all sources.
    ///
    /// # Errors
    /// The first thing that is wrong with one, in a line that repeats no token.
    pub fn read(&self) -> Result<AdminTokens, String> {
        let mut tokens = AdminTokens::default();
        if let Some(path) = &self.file {
            let fault = |what: String| format!("{}: {what}", path.display());
            let text = read_file(path).map_err(fault)?;
            tokens.add(&text).map_err(fault)?;
        }
        if let Some(text) = &self.environment {
            let fault = |what| format!("environment: FLOWGATE_ADMIN_TOKENS: {what}");
            tokens.add(text.expose()).map_err(fault)?;
        }
        Ok(tokens)
    }
}

fn read_file(path: &Path) -> Result<Zeroizing<String>, String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let about = file.metadata().map_err(|error| error.to_string())?;
    if about.mode() & BEYOND_GROUP_READ != 0 {
        return Err(format!(
            "others can read or change it (mode {:04o}); chmod 0600, or 0640 for a group that \
             may know the tokens",
            about.mode() & 0o7777
        ));
    }
    let mut text = Zeroizing::new(String::new());
    let read = file.by_ref().take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    match read {
        Ok(bytes) if bytes as u64 > FILE_BYTES_MAX => Err("it is longer than 1 MiB".to_owned()),
        Ok(_) => Ok(text),
        Err(error) => Err(error.to_string()),
    }
}

/// All tokens of this process.
#[derive(Clone, Debug, Default)]
pub struct AdminTokens(Vec<AdminToken>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminToken {
    /// Whose or what for; the audit log says it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    digest: SecretDigest,
}

impl AdminTokens {
    fn add(&mut self, text: &str) -> Result<(), String> {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fault = |what: &str| format!("line {}: {what}", number + 1);
            let token = parse(line).map_err(&fault)?;
            if self.0.iter().any(|other| other.name == token.name) {
                return Err(fault("another token has that name"));
            }
            if self.0.iter().any(|other| other.digest == token.digest) {
                return Err(fault("the same token is there under another name"));
            }
            if self.0.len() >= TOKENS_MAX {
                return Err(fault("there are more than 1000 tokens"));
            }
            self.0.push(token);
        }
        Ok(())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The token that a secret is. All are compared, each in constant time.
    #[must_use]
    pub fn find(&self, secret: &Secret) -> Option<&AdminToken> {
        let digest = SecretDigest::of(secret);
        self.0.iter().filter(|token| token.digest == digest).fold(None, |_, token| Some(token))
    }
}

/// The tokens as they are at present: read again when their file changes.
#[derive(Debug, Default)]
pub struct TokensInUse {
    sources: TokenSources,
    present: watch::Sender<Arc<AdminTokens>>,
    read: Mutex<Stamp>,
}

/// Tokens that stay as they are.
impl From<AdminTokens> for TokensInUse {
    fn from(tokens: AdminTokens) -> Self {
        Self { present: watch::Sender::new(Arc::new(tokens)), ..Self::default() }
    }
}

impl TokensInUse {
    /// Reads them for the first time.
    ///
    /// # Errors
    /// As [`TokenSources::read`].
    pub fn load(sources: TokenSources) -> Result<Self, String> {
        // The stamp comes first: what is written while the file is read counts as a change.
        let read = sources.file.as_deref().and_then(stamp);
        let present = watch::Sender::new(Arc::new(sources.read()?));
        Ok(Self { sources, present, read: Mutex::new(read) })
    }

    /// Whether there is a file that may change.
    #[must_use]
    pub fn may_change(&self) -> bool {
        self.sources.file.is_some()
    }

    /// Reads them again if their file has changed since. Blocks.
    pub fn look(&self) {
        let now = self.sources.file.as_deref().and_then(stamp);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if *read != now {
            *read = now;
            drop(read);
            self.reload();
        }
    }

    /// Reads them again. What is wrong is logged, and then the old ones stay. Blocks.
    pub fn reload(&self) {
        match self.sources.read() {
            Ok(tokens) => {
                tracing::info!(tokens = tokens.len(), "admin tokens read again");
                self.present.send_replace(Arc::new(tokens));
            }
            Err(error) => tracing::error!(error, "admin tokens not read again: the old ones stay"),
        }
    }

    fn present(&self) -> Arc<AdminTokens> {
        Arc::clone(&self.present.borrow())
    }

    /// Whether a token is among them, with the same secret and role.
    #[must_use]
    pub fn has(&self, token: &AdminToken) -> bool {
        self.present().0.contains(token)
    }

    /// Waits until [`TokensInUse::has`] says no. Cancel safe.
    pub async fn without(&self, token: &AdminToken) {
        let mut present = self.present.subscribe();
        // Nobody else has the sender: it stays as long as this is borrowed.
        let _ = present.wait_for(|tokens| !tokens.0.contains(token)).await;
    }

    /// As [`AdminTokens::is_empty`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.present().is_empty()
    }

    /// As [`AdminTokens::len`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.present().len()
    }

    /// As [`AdminTokens::find`].
    #[must_use]
    pub fn find(&self, secret: &Secret) -> Option<AdminToken> {
        self.present().find(secret).cloned()
    }
}

fn parse(line: &str) -> Result<AdminToken, &'static str> {
    const FORM: &str = "must be like \"NAME ROLE TOKEN\" or \"NAME ROLE sha256:DIGEST\"";
    let mut words = line.split_whitespace();
    let (Some(name), Some(role), Some(token), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(FORM);
    };
    if name.len() > NAME_BYTES_MAX || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the name must be 1 to 64 visible ASCII characters");
    }
    let role = Role::parse(role).ok_or("the role must be read, operate or admin")?;
    let digest = match token.strip_prefix(DIGEST_PREFIX) {
        Some(hex) => SecretDigest::from_hex(hex)
            .ok_or("sha256: must be followed by 64 hexadecimal digits")?,
        None => {
            let is_visible = token.bytes().all(|byte| byte.is_ascii_graphic());
            if !(TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&token.len()) || !is_visible {
                return Err("a token must be 32 to 256 visible ASCII characters");
            }
            SecretDigest::of(&Secret::new(token.to_owned()))
        }
    };
    Ok(AdminToken { name: name.to_owned(), role, digest })
}

/// The line that a file needs for a secret; it does not tell the secret.
#[must_use]
pub fn line(name: &str, role: Role, secret: &Secret) -> String {
    format!("{name} {role} {DIGEST_PREFIX}{}", SecretDigest::of(secret).to_hex())
}

#[cfg(test)]
mod tests;
