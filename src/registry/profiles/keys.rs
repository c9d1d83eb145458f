//! A profile's named API keys.

use std::collections::HashSet;

use serde::Deserialize;
use utoipa::ToSchema;

use crate::clock::UnixMillis;
use crate::secret::SecretDigest;

/// Named keys of one tenant.
pub const NAMED_KEYS_MAX: usize = 100;
/// Paths that one key's scope may list.
pub const SCOPE_MAX: usize = 20;
const NAME_CHARACTERS_MAX: usize = 64;

/// A named key as the file has it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyProfile {
    /// For people; no other key of the tenant's has it.
    name: String,
    /// The key's SHA-256 digest in hexadecimal digits.
    sha256: String,
    /// When it was made, as in `2030-01-31T12:00:00Z`.
    created: Option<String>,
    /// When it stops working.
    expires: Option<String>,
    /// The paths below `node_root` that it opens; without any, all.
    #[serde(default)]
    scope: Vec<String>,
}

/// A named key whose every field was found good.
#[derive(Clone, Debug)]
pub struct NamedKey {
    /// Its name for people.
    pub name: String,
    /// What is kept of the secret.
    pub digest: SecretDigest,
    /// When it was made, if that is known.
    pub created_at: Option<UnixMillis>,
    /// When it stops working.
    pub expires_at: Option<UnixMillis>,
    /// What it opens.
    pub scope: Vec<String>,
}

impl KeyProfile {
    /// The key, if every field is good.
    pub fn check(&self, fault: &mut dyn FnMut(&str, &str)) -> Option<NamedKey> {
        let digest = SecretDigest::from_hex(&self.sha256);
        if digest.is_none() {
            fault("keys.sha256", "must be 64 hexadecimal digits");
        }
        let name = check_name(&self.name).map_err(|what| fault("keys.name", what));
        let scope = check_scope(&self.scope).map_err(|what| fault("keys.scope", what));
        let mut moment = |field: &str, text: &Option<String>| match text.as_deref().map(read_moment)
        {
            Some(None) => {
                fault(field, "must be a moment like \"2030-01-31T12:00:00Z\"");
                None
            }
            moment => Some(moment.flatten()),
        };
        let created_at = moment("keys.created", &self.created);
        let expires_at = moment("keys.expires", &self.expires);
        name.ok()?;
        scope.ok()?;
        Some(NamedKey {
            name: self.name.clone(),
            digest: digest?,
            created_at: created_at?,
            expires_at: expires_at?,
            scope: self.scope.clone(),
        })
    }
}

/// Checks what the keys of one tenant must be together.
pub fn check_all(keys: &[KeyProfile], fault: &mut dyn FnMut(&str, &str)) {
    if keys.len() > NAMED_KEYS_MAX {
        fault("keys", "must be at most 100");
    }
    let mut names = HashSet::new();
    if !keys.iter().all(|key| names.insert(&key.name)) {
        fault("keys.name", "is there twice");
    }
}

/// Reads a moment as RFC 3339 has it.
#[must_use]
pub fn read_moment(text: &str) -> Option<UnixMillis> {
    let moment = humantime::parse_rfc3339(text).ok()?;
    let since = moment.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(UnixMillis(u64::try_from(since.as_millis()).ok()?))
}

/// Says whether a text can be a key's name.
///
/// # Errors
/// Empty, too long, or with what cannot be seen.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let is_good = (1..=NAME_CHARACTERS_MAX).contains(&name.chars().count())
        && !name.chars().any(char::is_control)
        && name.trim() == name;
    match is_good {
        true => Ok(()),
        false => Err("must be 1 to 64 characters, without control characters or spaces around it"),
    }
}

/// Says whether these can be the paths that a key opens.
///
/// # Errors
/// Too many, or one that is no plain path.
pub fn check_scope(scope: &[String]) -> Result<(), &'static str> {
    let is_path = |path: &String| {
        path.starts_with('/')
            && path.len() <= 256
            && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#%\\;".contains(&byte))
            && !path.split('/').any(|segment| matches!(segment, "." | ".."))
    };
    match scope.len() <= SCOPE_MAX && scope.iter().all(is_path) {
        true => Ok(()),
        false => Err("must be at most 20 plain paths like \"/thing\""),
    }
}
