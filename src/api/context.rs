//! Contexts: the beginnings of paths on the bare host that lead to published APIs. Pure.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;

use super::Owner;
use crate::grant::ApiId;

/// First segments that are flowgate's own.
pub const RESERVED: [&str; 12] = [
    ".well-known",
    "admin",
    "api",
    "assets",
    "healthz",
    "login",
    "logout",
    "oauth2",
    "portal",
    "profile",
    "public",
    "readyz",
];
const CONTEXT_BYTES_MAX: usize = 128;
const VERSION_BYTES_MAX: usize = 32;
/// Segments of a prefix, the version's included.
const SEGMENTS_MAX: usize = 8;

/// Context and version as they begin a path: empty for the context `/`, else like
/// `/echowebsocket/1.0.0`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(String);

impl Prefix {
    /// Joins them.
    ///
    /// # Errors
    /// What is wrong with them, or not the owner's to choose, as a whole sentence.
    pub fn new(context: &str, version: Option<&str>, owner: Owner) -> Result<Self, String> {
        let bad = |what: &str| Err(what.to_owned());
        let Some(path) = context.strip_prefix('/') else {
            return bad("context must begin with a slash.");
        };
        if context.len() > CONTEXT_BYTES_MAX {
            return bad("context must be at most 128 bytes long.");
        }
        if !path.is_empty() && !path.split('/').all(is_segment) {
            return bad("context must be like \"/echowebsocket\": segments of letters, digits, \
                 '-', '_', '.' and '~', and no slash at the end.");
        }
        let first = path.split('/').next().unwrap_or_default();
        if RESERVED.iter().any(|reserved| first.eq_ignore_ascii_case(reserved)) {
            return Err(format!("The context /{first} is flowgate's own."));
        }
        match (version, owner) {
            (Some(version), _) if version.len() > VERSION_BYTES_MAX || !is_segment(version) => {
                return bad("version must be like \"1.0.0\": at most 32 letters, digits, '-', \
                     '_', '.' and '~'.");
            }
            (None, Owner::Tenant(_)) => {
                return bad("version is missing: only an operator's API has none.");
            }
            (_, Owner::Tenant(_)) if path.is_empty() => {
                return bad("The context / is an operator's.");
            }
            _ => {}
        }
        let mut prefix = if path.is_empty() { String::new() } else { context.to_owned() };
        if let Some(version) = version {
            prefix.push('/');
            prefix.push_str(version);
        }
        let first = prefix.split('/').nth(1).unwrap_or_default();
        if RESERVED.iter().any(|reserved| first.eq_ignore_ascii_case(reserved)) {
            return Err(format!("Paths that begin with /{first} are flowgate's own."));
        }
        match prefix.matches('/').count() <= SEGMENTS_MAX {
            true => Ok(Self(prefix)),
            false => bad("context must have at most 7 segments."),
        }
    }

    /// What a path has behind it: nothing, or what begins with a slash.
    #[must_use]
    pub fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(&self.0).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The text; empty for the context `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A map by prefix can be asked with a part of a path: equal texts are equal prefixes.
impl Borrow<str> for Prefix {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The whole of it for people: `/` where it is empty.
impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "/" } else { &self.0 })
    }
}

fn is_segment(segment: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(allowed)
}

/// Whether a path on the bare host begins with a segment that no API can have.
#[must_use]
pub fn is_reserved(path: &str) -> bool {
    // Whoever reads it otherwise may leave out empty ones.
    let first = path.split('/').find(|segment| !segment.is_empty()).unwrap_or_default();
    RESERVED.iter().any(|reserved| first.eq_ignore_ascii_case(reserved))
}

/// Which API a path leads to.
///
/// Where prefixes of several owners stand one within the other, all paths below the shortest are its
/// owner's, so that nobody takes a part of what others have published; an operator's go before tenants'.
/// The context `/` gives way to all.
#[derive(Debug, Default)]
pub struct Contexts(HashMap<Prefix, (ApiId, Owner)>);

impl Contexts {
    /// The API with the longest prefix of this path, of those that may have it.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<ApiId> {
        if self.0.is_empty() {
            return None;
        }
        // Where the segment that follows the longest prefix there can be begins.
        let slashes = path.match_indices('/').map(|(place, _)| place);
        let ends = slashes.chain([path.len()]).take(SEGMENTS_MAX + 1);
        let mut found: Option<(usize, ApiId, Owner)> = None;
        for end in ends {
            let Some((api, owner)) = self.0.get(&path[..end]) else { continue };
            let may_have_it = found.is_none_or(|(shorter, _, holder)| {
                shorter == 0 || holder == *owner || *owner == Owner::Operator
            });
            if may_have_it {
                found = Some((end, *api, *owner));
            }
        }
        found.map(|(_, api, _)| api)
    }

    /// Whether a prefix is within one of another owner's, or one of those within it. The context `/` is
    /// not meant.
    #[must_use]
    pub fn overlaps(&self, prefix: &Prefix, owner: Owner) -> bool {
        let is_within = |one: &Prefix, other: &Prefix| {
            !other.0.is_empty() && other.rest(&one.0).is_some_and(|rest| !rest.is_empty())
        };
        self.0.iter().any(|(known, (_, whose))| {
            *whose != owner && (is_within(prefix, known) || is_within(known, prefix))
        })
    }

    /// From now on this prefix leads to this API.
    pub fn insert(&mut self, prefix: Prefix, api: ApiId, owner: Owner) {
        self.0.insert(prefix, (api, owner));
    }

    /// The prefix leads to this API no more; another's it may be already.
    pub fn remove(&mut self, prefix: &Prefix, api: ApiId) {
        if self.0.get(prefix).is_some_and(|(known, _)| *known == api) {
            self.0.remove(prefix);
        }
    }
}
