//! The URLs of registries in Redis.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use crate::secret::Secret;

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
const PREFIX: &str = "flowgate:";
/// Bytes of a prefix.
const PREFIX_BYTES_MAX: usize = 64;
/// Sentinels in a URL.
const SENTINELS_MAX: usize = 16;
/// Replicas that a write may wait for.
const REPLICAS_MAX: u32 = 16;

/// Where a registry is, and as whom to go there. Its `Display` has no password.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) place: Place,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) db: u32,
    /// In front of every key.
    pub(super) prefix: String,
    /// Replicas that must have a write before it counts.
    pub(super) wait_replicas: u32,
    redacted: String,
}

#[derive(Clone, Debug)]
pub(super) enum Place {
    Server { server: Server, is_tls: bool },
    Socket(PathBuf),
    Sentinels { sentinels: Vec<Server>, master: String, is_tls: bool, user: Option<String> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted)
    }
}

/// The URL for people to see: `***` in place of a password, also where a URL has none in good order.
#[must_use]
pub fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once(':') else { return url.to_owned() };
    if matches!(scheme, "file" | "memory") {
        return url.to_owned();
    }
    // Up to the last @ of all, so that a password with a stray character in it is not seen either.
    let hidden = rest.rsplit_once('@').and_then(|(userinfo, place)| {
        let (user, _password) = userinfo.split_once(':')?;
        Some(format!("{user}:***@{place}"))
    });
    let rest = hidden.unwrap_or_else(|| rest.to_owned());
    let Some((place, query)) = rest.split_once('?') else { return format!("{scheme}:{rest}") };
    let hide = |parameter: &str| match parameter.split_once('=') {
        Some((name, _)) if name.to_lowercase().contains("pass") => format!("{name}=***"),
        _ => parameter.to_owned(),
    };
    let query: Vec<_> = query.split('&').map(hide).collect();
    format!("{scheme}:{place}?{}", query.join("&"))
}

/// Whether a URL is one of a registry in Redis.
pub(super) fn is_one(url: &str) -> bool {
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    matches!(scheme, "redis" | "rediss" | "redis+sentinel" | "unix")
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// One line that says what is wrong with it, and never a password.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let shown = redacted(url);
        Self::read(url, &shown).map_err(|what| format!("{shown:?} names no registry: {what}"))
    }

    fn read(url: &str, shown: &str) -> Result<Self, String> {
        if url.contains(|character: char| character.is_control() || character.is_whitespace()) {
            return Err("spaces and control characters must be percent-encoded".to_owned());
        }
        let (scheme, rest) = url.split_once(':').unwrap_or_default();
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut query = Query::read(query)?;
        let mut address = Self {
            place: Place::Socket(PathBuf::new()),
            user: None,
            password: None,
            db: 0,
            prefix: query.take("prefix").unwrap_or_else(|| PREFIX.to_owned()),
            wait_replicas: 0,
            redacted: shown.to_owned(),
        };
        if scheme == "unix" {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if !path.starts_with('/') {
                return Err("write unix:/PATH/TO/SOCKET".to_owned());
            }
            address.place = Place::Socket(decoded(path)?.into());
            address.user = query.take("user");
        } else {
            address.read_authority(scheme, rest, &mut query)?;
        }
        if let Some(db) = query.take("db") {
            address.db = number("db", &db)?;
        }
        if let Some(replicas) = query.take("wait_replicas") {
            address.wait_replicas = number("wait_replicas", &replicas)?;
        }
        if address.wait_replicas > REPLICAS_MAX {
            return Err(format!("wait_replicas is at most {REPLICAS_MAX}"));
        }
        let prefix_bytes = address.prefix.len();
        if prefix_bytes == 0 || prefix_bytes > PREFIX_BYTES_MAX {
            return Err(format!("prefix has 1 to {PREFIX_BYTES_MAX} bytes"));
        }
        query.must_be_empty()?;
        Ok(address)
    }

    fn read_authority(
        &mut self,
        scheme: &str,
        rest: &str,
        query: &mut Query,
    ) -> Result<(), String> {
        let rest = rest.strip_prefix("//").ok_or_else(|| format!("write {scheme}://HOST"))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (userinfo, hosts) = match authority.rsplit_once('@') {
            Some((userinfo, hosts)) => (Some(userinfo), hosts),
            None => (None, authority),
        };
        if let Some(userinfo) = userinfo {
            let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
            self.user = Some(decoded(user)?).filter(|user| !user.is_empty());
            let password = Secret::new(decoded(password)?);
            self.password = Some(password).filter(|password| !password.expose().is_empty());
        }
        self.place = match scheme {
            "redis" | "rediss" => {
                if !path.is_empty() {
                    self.db = number("the database", path)?;
                }
                let server = server(hosts, REDIS_PORT)?;
                Place::Server { server, is_tls: scheme == "rediss" }
            }
            "redis+sentinel" => {
                let sentinels = hosts.split(',').map(|host| server(host, SENTINEL_PORT));
                let sentinels = sentinels.collect::<Result<Vec<_>, _>>()?;
                if sentinels.len() > SENTINELS_MAX {
                    return Err(format!("there may be {SENTINELS_MAX} sentinels"));
                }
                let master = decoded(path)?;
                if master.is_empty() || master.contains('/') {
                    return Err("write redis+sentinel://HOST,HOST/MASTER".to_owned());
                }
                self.wait_replicas = 1;
                let user = query.take("sentinel_user");
                Place::Sentinels { sentinels, master, is_tls: query.take_flag("tls")?, user }
            }
            _ => return Err("its scheme is unknown".to_owned()),
        };
        Ok(())
    }
}

/// The parameters that nobody took yet.
struct Query(Vec<(String, String)>);

impl Query {
    fn read(text: &str) -> Result<Self, String> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            if parameters.iter().any(|(other, _)| other == name) {
                return Err(format!("{name} is there twice"));
            }
            parameters.push((name.to_owned(), decoded(value)?));
        }
        Ok(Self(parameters))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(its, _)| its == name)?;
        Some(self.0.swap_remove(place).1)
    }

    fn take_flag(&mut self, name: &str) -> Result<bool, String> {
        match self.take(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(format!("{name} is true or false")),
        }
    }

    fn must_be_empty(&self) -> Result<(), String> {
        match self.0.first() {
            Some((name, _)) => Err(format!("it has no parameter {name:?}")),
            None => Ok(()),
        }
    }
}

fn decoded(text: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(Into::into).map_err(|_| "its percent-encoding is not UTF-8".to_owned())
}

fn number(what: &str, text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{what} is a number"))
}

fn server(text: &str, default_port: u16) -> Result<Server, String> {
    let (host, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, port.strip_prefix(':').or(Some(""))),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() || host.contains(['[', ']', ',', '/', '@']) {
        return Err("it needs a host".to_owned());
    }
    let port = match port {
        Some(port) => port.parse().map_err(|_| "a port is a number up to 65535".to_owned())?,
        None => default_port,
    };
    Ok(Server { host: decoded(host)?, port })
}

#[cfg(test)]
mod tests;
