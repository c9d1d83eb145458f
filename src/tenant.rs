//! Tenants: who they are, what they may present, and where their runtime is.

use std::fmt;
use std::sync::Arc;

use http::uri::Authority;

use crate::clock::UnixMillis;
use crate::close::Cause;
use crate::grant::{ApiId, Grant, KeyId};
use crate::plan::Plan;
use crate::secret::SecretDigest;

pub mod by_id;
mod instance;
mod key;
pub mod nodes;

pub use instance::{Instance, InstanceTls, OnChange, Provider};
pub use key::{ApiKey, PreviousSecret, RetiredKey};

/// Usernames that would be mistaken for the host's own names.
const RESERVED_USERNAMES: [&str; 12] = [
    "www", "api", "admin", "app", "auth", "login", "mail", "ns", "portal", "profile", "public",
    "static",
];
const USERNAME_BYTES_MAX: usize = 63;

/// A tenant's name: a lower-case DNS label (RFC 1035 section 2.3.1), so that it can be a host name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Username(Arc<str>);

/// Why a text is no username.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsernameError {
    /// It is no DNS label in lower case.
    Malformed,
    /// It would be mistaken for one of the host's own names.
    Reserved,
}

impl Username {
    /// Reads a username.
    ///
    /// # Errors
    /// It is no lower-case DNS label, or it is reserved.
    pub fn parse(text: &str) -> Result<Self, UsernameError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty()
            || text.len() > USERNAME_BYTES_MAX
            || !text.bytes().all(allowed)
            || text.starts_with('-')
            || text.ends_with('-')
            // Internationalised labels can look like somebody else's name.
            || text.starts_with("xn--")
        {
            return Err(UsernameError::Malformed);
        }
        if RESERVED_USERNAMES.contains(&text) {
            return Err(UsernameError::Reserved);
        }
        Ok(Self(text.into()))
    }

    /// What stands where no tenant is, but an operator's published API: no tenant can have it.
    #[must_use]
    pub fn of_api(api: ApiId) -> Self {
        Self(format!("(api {api})").into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for UsernameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => {
                "must be 1 to 63 of a-z, 0-9 and '-', not beginning or ending with '-' (nor beginning with \"xn--\")"
            }
            Self::Reserved => "is reserved",
        })
    }
}

/// A tenant's random id; it stays when everything else about them changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TenantId(pub u128);

impl TenantId {
    /// A new one.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(u128::from_ne_bytes(bytes)))
    }

    /// Reads what `Display` writes.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let is_id = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u128::from_str_radix(text, 16).ok().filter(|_| is_id).map(Self)
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A bcrypt hash in the modular crypt format.
#[derive(Clone)]
pub struct Password {
    hash: Arc<str>,
    fingerprint: u64,
}

impl Password {
    /// Takes over a hash that was checked to be bcrypt's. `fingerprint` is random for each new
    /// password, so that hashing the same one anew keeps what rests on it.
    #[must_use]
    pub fn from_hash(hash: &str, fingerprint: u64) -> Self {
        Self { hash: hash.into(), fingerprint }
    }

    /// The hash.
    #[must_use]
    pub fn hash(&self) -> &Arc<str> {
        &self.hash
    }

    /// Names this password without telling it.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[password hash]")
    }
}

/// A user's account.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Random and permanent.
    pub id: TenantId,
    /// Changes with every change of the account.
    pub revision: u64,
    /// Unique and permanent.
    pub username: Username,
    /// `None`: no password opens this account.
    pub password: Option<Password>,
    /// The keys that are valid.
    pub keys: Vec<ApiKey>,
    /// Secrets that open nothing any more, the newest first: whoever still has one can be told why.
    pub retired: Vec<RetiredKey>,
    /// The plan's name.
    pub plan_name: Option<String>,
    /// The limits.
    pub plan: Arc<Plan>,
    /// The runtime; `None` for a tenant who has none at present.
    pub instance: Option<Arc<Instance>>,
    /// Origins, beside our own, whose pages may use ambient credentials.
    pub allowed_origins: Vec<String>,
    /// A disabled tenant is answered as if they did not exist.
    pub disabled: bool,
}

impl Tenant {
    /// An account of an operator's API, whose id is the lower half of this one, which no credential opens and which has no runtime.
    #[must_use]
    pub fn of_operator(id: TenantId) -> Self {
        Self {
            id,
            revision: 0,
            username: Username::of_api(ApiId(id.0 as u64)),
            password: None,
            keys: Vec::new(),
            retired: Vec::new(),
            plan_name: None,
            plan: Arc::default(),
            instance: None,
            allowed_origins: Vec::new(),
            disabled: false,
        }
    }

    /// The one rule: whether a grant still holds, and if not, why. Authentication, revocation and
    /// every re-check ask this and nothing else.
    ///
    /// # Errors
    /// The cause with which connections that rest on the grant are closed.
    pub fn allows(&self, grant: &Grant, now: UnixMillis) -> Result<(), Cause> {
        if self.disabled {
            return Err(Cause::TenantDisabled);
        }
        match *grant {
            // What rests on an API is held against that as well: see `Registry::allows`.
            Grant::Anonymous
            | Grant::Open { .. }
            | Grant::Consumer { .. }
            | Grant::Token { .. } => Ok(()),
            Grant::Password { fingerprint } => self.has_password(fingerprint),
            // Whether it was ended only the registry knows.
            Grant::Session { until, .. } if now >= until => Err(Cause::SessionExpired),
            Grant::Session { fingerprint, .. } => self.has_password(fingerprint),
            Grant::Key { id, secret } => match self.key(id) {
                Some(key) => key.allows(secret, now),
                None => Err(Cause::KeyRevoked),
            },
        }
    }

    fn has_password(&self, fingerprint: u64) -> Result<(), Cause> {
        match &self.password {
            Some(password) if password.fingerprint() == fingerprint => Ok(()),
            _ => Err(Cause::PasswordChanged),
        }
    }

    /// The other rule, for what runs on an instance: whether it may go on there. The present
    /// instance's setting decides, also about what an earlier change has kept; without a present
    /// one, the setting of `on`.
    ///
    /// # Errors
    /// The cause with which it ends.
    pub fn keeps(&self, on: &Instance) -> Result<(), Cause> {
        let on_change = match &self.instance {
            Some(present) if present.is_same_place(on) => return Ok(()),
            Some(present) => present.on_change,
            None => on.on_change,
        };
        match on_change {
            OnChange::Keep => Ok(()),
            OnChange::Move => Err(Cause::RuntimeMoved),
        }
    }

    /// The digests of all keys that lead to this tenant; the tenant decides what they open.
    pub fn digests(&self) -> impl Iterator<Item = SecretDigest> {
        let retired = self.retired.iter().map(|retired| retired.digest);
        self.keys.iter().flat_map(ApiKey::digests).chain(retired)
    }

    /// The key with this id.
    #[must_use]
    pub fn key(&self, id: KeyId) -> Option<&ApiKey> {
        self.keys.iter().find(|key| key.id == id)
    }
}

/// Where a URL's authority leads: the host without the brackets of an IPv6 address, which may be empty,
/// and the port, 0 for one that cannot be.
#[must_use]
pub fn host_and_port(authority: &Authority, default_port: u16) -> (String, u16) {
    let port = match authority.as_str().strip_prefix(authority.host()) {
        Some("") => default_port,
        // `Authority::port` is silent about a number that is none, and so would be the default.
        Some(rest) if rest.bytes().skip(1).all(|byte| byte.is_ascii_digit()) => {
            rest[1..].parse().unwrap_or(0)
        }
        _ => 0,
    };
    (authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(), port)
}

/// A tenant on whom nothing is special, for tests.
#[cfg(test)]
pub fn sample(username: &str) -> Tenant {
    Tenant {
        id: TenantId(1),
        revision: 1,
        username: Username::parse(username).unwrap(),
        password: None,
        keys: Vec::new(),
        retired: Vec::new(),
        plan_name: None,
        plan: Arc::default(),
        instance: Some(Arc::new(Instance {
            host: "127.0.0.1".into(),
            port: 1880,
            node_root: String::new(),
            admin_root: None,
            tls: None,
            on_change: OnChange::Keep,
            provider: Provider::Static,
            nodes: None,
            network: None,
        })),
        allowed_origins: Vec::new(),
        disabled: false,
    }
}

#[cfg(test)]
mod tests;
