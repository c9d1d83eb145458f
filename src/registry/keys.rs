//! Changes of a tenant's API keys, whoever makes them: the tenant in the profile or an operator.

use std::collections::HashSet;
use std::time::Duration;

use serde::Deserialize;
use utoipa::ToSchema;

use super::profiles::keys::{NAMED_KEYS_MAX, check_name, check_scope, read_moment};
use super::record::{KeyRecord, PreviousRecord, RetiredRecord, TenantRecord};
use crate::clock::{MOMENT_MAX, UnixMillis};
use crate::grant::KeyId;
use crate::refusal::Refusal;
use crate::secret::{Secret, SecretDigest};

/// How long a rotated secret may go on working.
const OVERLAP_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Secrets that are remembered after their end.
const RETIRED_MAX: usize = 20;

/// A named key that is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// For people; no other key of the tenant's has it.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// When it stops working, as in `2030-01-31T12:00:00Z`; without it or `expires_in_seconds`, never.
    expires: Option<String>,
    /// The same, from now on.
    expires_in_seconds: Option<u64>,
    /// The paths below `node_root` that it opens, each with all below it; without any, all.
    #[serde(default)]
    #[schema(max_items = 20)]
    scope: Vec<String>,
}

impl NewKey {
    /// A key that is asked for.
    #[must_use]
    pub fn new(name: String, expires_in_seconds: Option<u64>, scope: Vec<String>) -> Self {
        Self { name, expires: None, expires_in_seconds, scope }
    }
}

/// How a key is rotated.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// For how long the present secret works on beside the new one.
    #[serde(default)]
    #[schema(maximum = 2_592_000)]
    overlap_seconds: u64,
}

impl Rotation {
    /// The old secret works on for so long.
    #[must_use]
    pub fn with_overlap(overlap_seconds: u64) -> Self {
        Self { overlap_seconds }
    }
}

/// A new secret, and what is stored of it.
fn generate() -> Result<(Secret, String), Refusal> {
    let secret = Secret::generate_key().map_err(|_| Refusal::Overloaded("no randomness"))?;
    let sha256 = SecretDigest::of(&secret).to_hex();
    Ok((secret, sha256))
}

/// A new default key.
///
/// # Errors
/// The system has no randomness to give.
pub fn new_default(now: UnixMillis) -> Result<(Secret, KeyRecord), Refusal> {
    let (secret, sha256) = generate()?;
    let key = KeyRecord {
        id: KeyId::DEFAULT.to_string(),
        name: None,
        sha256,
        hint: Some(secret.hint()),
        created_unix_ms: now.0,
        expires_unix_ms: None,
        scope: Vec::new(),
        previous: None,
    };
    Ok((secret, key))
}

impl NewKey {
    /// The key, if all that is asked for can be.
    ///
    /// # Errors
    /// It cannot, and why.
    pub fn make(&self, now: UnixMillis) -> Result<(Secret, KeyId, KeyRecord), Refusal> {
        let bad = |field: &str, what: &str| Refusal::BadInput(format!("{field} {what}."));
        check_name(&self.name).map_err(|what| bad("name", what))?;
        check_scope(&self.scope).map_err(|what| bad("scope", what))?;
        let (secret, sha256) = generate()?;
        let random = getrandom::u64().map_err(|_| Refusal::Overloaded("no randomness"))?;
        let id = KeyId::named(random);
        let key = KeyRecord {
            id: id.to_string(),
            name: Some(self.name.clone()),
            sha256,
            hint: Some(secret.hint()),
            created_unix_ms: now.0,
            expires_unix_ms: self.expires_at(now)?.map(|expires_at| expires_at.0),
            scope: self.scope.clone(),
            previous: None,
        };
        Ok((secret, id, key))
    }

    fn expires_at(&self, now: UnixMillis) -> Result<Option<UnixMillis>, Refusal> {
        let bad = |what: &str| Err(Refusal::BadInput(what.to_owned()));
        let expires_at = match (&self.expires, self.expires_in_seconds) {
            (Some(_), Some(_)) => return bad("Give expires or expires_in_seconds, not both."),
            (None, None) => return Ok(None),
            (None, Some(seconds)) => now.plus(Duration::from_secs(seconds)),
            (Some(text), None) => match read_moment(text) {
                Some(moment) => moment,
                None => return bad("expires must be like \"2030-01-31T12:00:00Z\"."),
            },
        };
        match expires_at {
            _ if expires_at <= now => bad("The key would have expired already."),
            _ if expires_at > MOMENT_MAX => bad("The key would expire after the year 9999."),
            _ => Ok(Some(expires_at)),
        }
    }
}

impl Rotation {
    /// A secret to rotate to.
    ///
    /// # Errors
    /// The overlap is too long, or there is no randomness.
    pub fn make(&self, now: UnixMillis) -> Result<(Secret, Rotated), Refusal> {
        let overlap = Duration::from_secs(self.overlap_seconds);
        if overlap > OVERLAP_MAX {
            return Err(Refusal::BadInput("The overlap is 30 days at most.".to_owned()));
        }
        let (secret, sha256) = generate()?;
        let hint = secret.hint();
        Ok((secret, Rotated { sha256, hint, overlap, now }))
    }
}

/// What a rotation puts into a key.
#[derive(Clone, Debug)]
pub struct Rotated {
    sha256: String,
    hint: String,
    overlap: Duration,
    now: UnixMillis,
}

impl TenantRecord {
    /// Puts a default key in the place of any there is.
    pub fn regenerate(&mut self, fresh: &KeyRecord) {
        let (named, old): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.keys).into_iter().partition(|key| key.name.is_some());
        self.keys = named;
        self.keys.insert(0, fresh.clone());
        self.retire(&old, UnixMillis(fresh.created_unix_ms), false);
    }

    /// Adds a named key.
    ///
    /// # Errors
    /// There are too many, or there is one of that name.
    pub fn add_key(&mut self, fresh: &KeyRecord) -> Result<(), Refusal> {
        if self.keys.iter().any(|key| key.name == fresh.name) {
            return Err(Refusal::Conflicting("There is a key of that name."));
        }
        if self.keys.iter().filter(|key| key.name.is_some()).count() >= NAMED_KEYS_MAX {
            return Err(Refusal::Conflicting("There are 100 named keys; revoke one first."));
        }
        self.keys.push(fresh.clone());
        Ok(())
    }

    /// Gives a key another secret. Returns whether there is one of that id.
    #[must_use]
    pub fn rotate_key(&mut self, id: KeyId, rotated: &Rotated) -> bool {
        let Some(key) = self.keys.iter_mut().find(|key| key.id == id.to_string()) else {
            return false;
        };
        let old = key.clone();
        // Only the last secret goes on: two rotations in a row end the first one's.
        key.previous = (!rotated.overlap.is_zero()).then(|| PreviousRecord {
            sha256: key.sha256.clone(),
            until_unix_ms: rotated.now.plus(rotated.overlap).0,
        });
        key.sha256.clone_from(&rotated.sha256);
        key.hint = Some(rotated.hint.clone());
        key.created_unix_ms = rotated.now.0;
        self.retire(&[old], rotated.now, false);
        true
    }

    /// Takes a key away. Returns whether there was one of that id.
    #[must_use]
    pub fn revoke_key(&mut self, id: KeyId, now: UnixMillis) -> bool {
        let (revoked, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.keys).into_iter().partition(|key| key.id == id.to_string());
        self.keys = kept;
        self.retire(&revoked, now, true);
        !revoked.is_empty()
    }

    /// Remembers what these keys' secrets were, as far as no key has them now. The oldest are forgotten.
    fn retire(&mut self, keys: &[KeyRecord], now: UnixMillis, revoked: bool) {
        let at_unix_ms = now.0;
        for sha256 in keys.iter().flat_map(KeyRecord::digests) {
            let sha256 = sha256.to_owned();
            self.retired.insert(0, RetiredRecord { sha256, at_unix_ms, revoked });
        }
        let mut seen: HashSet<String> =
            self.keys.iter().flat_map(KeyRecord::digests).map(str::to_owned).collect();
        self.retired.retain(|retired| seen.insert(retired.sha256.clone()));
        self.retired.truncate(RETIRED_MAX);
    }
}

#[cfg(test)]
mod tests;
