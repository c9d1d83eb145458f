//! Every setting as a text with its source, for operators to look at. Secrets are left out.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Given, KEYS};

const REDACTED: &str = "[redacted]";

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Effective {
    /// The name in the file.
    pub name: String,
    /// The values; several for a list, none for a setting without a default.
    pub values: Vec<String>,
    /// Where they come from: `default`, a flag, a variable, or a file.
    pub source: String,
}

/// All settings, in the order of [`KEYS`].
pub(super) fn all(given: &Given) -> Vec<Effective> {
    let effective = |key: &super::Key| {
        let (values, source) = match given.get(key.name) {
            Some((values, source)) => (values.clone(), source.clone()),
            None if key.default.is_empty() => (Vec::new(), "default".to_owned()),
            None => (vec![key.default.to_owned()], "default".to_owned()),
        };
        let values = values.iter().map(|value| redacted(key.name, value)).collect();
        Effective { name: key.name.to_owned(), values, source }
    };
    KEYS.iter().map(effective).collect()
}

/// A value without what is secret in it: all of it, or the password of a URL.
fn redacted(name: &str, value: &str) -> String {
    let is_path = name.ends_with("_file");
    let is_secret = ["password", "secret", "token"].iter().any(|word| name.contains(word));
    if is_secret && !is_path {
        return REDACTED.to_owned();
    }
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    // A password may hold any character but '/' and '@'; where it ends is the last '@' before a path.
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = match authority.rsplit_once('@') {
        Some((login, host)) => match login.split_once(':') {
            Some((user, _)) => format!("{user}:{REDACTED}@{host}"),
            None => format!("{REDACTED}@{host}"),
        },
        None => authority.to_owned(),
    };
    let path = match path.split_once('?') {
        Some((path, query)) => format!("{path}?{}", redacted_query(query)),
        None => path.to_owned(),
    };
    format!("{scheme}://{authority}{path}")
}

fn redacted_query(query: &str) -> String {
    let member = |member: &str| match member.split_once('=') {
        Some((name, _)) if name.contains("pass") || name.contains("secret") => {
            format!("{name}={REDACTED}")
        }
        _ => member.to_owned(),
    };
    query.split('&').map(member).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_told() {
        for (name, value, told) in [
            ("registry", "file:flowgate.redb", "file:flowgate.redb"),
            ("registry", "redis://h:6379/0", "redis://h:6379/0"),
            ("registry", "redis://:geheim@h/0?prefix=a", "redis://:[redacted]@h/0?prefix=a"),
            ("registry", "rediss://me:p@ss@h:1", "rediss://me:[redacted]@h:1"),
            ("registry", "redis://me@h", "redis://[redacted]@h"),
            (
                "registry",
                "redis+sentinel://a:b@h1,h2/m?db=1&sentinel_password=x",
                "redis+sentinel://a:[redacted]@h1,h2/m?db=1&sentinel_password=[redacted]",
            ),
            ("registry_password", "geheim", "[redacted]"),
            ("registry_password_file", "/run/p", "/run/p"),
            ("admin_tokens_file", "/run/t", "/run/t"),
        ] {
            assert_eq!(redacted(name, value), told);
        }
    }

    #[test]
    fn every_setting_has_a_source() {
        let mut given = Given::new();
        given.insert("log", (vec!["warn".to_owned()], "--log".to_owned()));
        let all = all(&given);
        assert_eq!(all.len(), KEYS.len());
        let of = |name: &str| all.iter().find(|setting| setting.name == name).unwrap();
        assert_eq!((&*of("log").values[0], &*of("log").source), ("warn", "--log"));
        assert_eq!(of("listen").source, "default");
        assert!(of("import").values.is_empty());
    }
}
