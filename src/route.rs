//! Host and path to a row of the table in `docs/wire.md`. Pure.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::api::context::is_reserved;
use crate::path::is_under;
use crate::refusal::Refusal;
use crate::row::Row;
use crate::tenant::{Instance, Username};

/// The longest path; it is kept with every connection and stands in every log line.
pub const PATH_BYTES_MAX: usize = 2048;

/// What is said where no row is.
pub const NO_ROW: Refusal = Refusal::NotFound("no row for this path");

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// flowgate answers itself.
    Own(Own),
    /// A tenant's runtime.
    Runtime(RuntimeTarget),
    /// A tenant's host, outside `/api`: the editor, if the path is under the tenant's `admin_root`.
    TenantHost {
        /// Whose host it is.
        username: Username,
    },
    /// On the bare host, what no row of ours names: a published API's, if one has a context that the
    /// path begins with.
    Context,
    /// flowgate's own, on a tenant's host.
    TenantPage {
        /// Whose host it is.
        username: Username,
    },
}

/// What flowgate answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// `/healthz`: the process runs.
    Health,
    /// `/readyz`: it takes requests.
    Ready,
    /// `/profile`, `/portal` and below, on the bare host: a tenant's view of their own account, and of
    /// what others publish.
    Profile,
    /// `/login` and below, on the bare host: sessions begin.
    Login,
    /// `/logout`, on the bare host: they end.
    Logout,
    /// `/assets/…`: what those pages are made of.
    Assets,
    /// `/oauth2/…` and the metadata about it, on the bare host: access tokens for applications.
    OAuth,
    /// `/` on the bare host: leads to the profile.
    Home,
}

/// A request for a runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeTarget {
    /// The row.
    pub row: Row,
    /// The tenant whom host or path name; on [`Row::Api`] the credential does.
    pub username: Option<Username>,
    /// The path below `node_root`, from its slash on, byte for byte.
    pub below_node_root: String,
}

impl RuntimeTarget {
    /// The path at the runtime.
    ///
    /// # Errors
    /// Not found, if it would be under the editor's and admin API's root. Malformed, if it would
    /// begin with two slashes: URL parsers take what follows them for a host.
    pub fn runtime_path(&self, instance: &Instance) -> Result<String, Refusal> {
        let path = [&*instance.node_root, &self.below_node_root].concat();
        match &instance.admin_root {
            Some(admin_root) if is_under(&path, admin_root) => {
                Err(Refusal::NotFound("the path is under the runtime's admin_root"))
            }
            _ if path.starts_with("//") => {
                Err(Refusal::Malformed("The path begins with an empty segment."))
            }
            _ => Ok(path),
        }
    }
}

/// Finds the row for a request. `host` is the Host header, `path` the path without query.
///
/// # Errors
/// Malformed host or path, or no row.
pub fn route(host: &str, path: &str, base_domain: &str) -> Result<Target, Refusal> {
    check_path(path)?;
    let tenant_host = tenant_of_host(host, base_domain)?;
    match path {
        "/healthz" => return Ok(Target::Own(Own::Health)),
        "/readyz" => return Ok(Target::Own(Own::Ready)),
        _ => {}
    }
    let runtime = |row, username, prefix: &str| {
        let below_node_root = path[prefix.len()..].to_owned();
        Ok(Target::Runtime(RuntimeTarget { row, username, below_node_root }))
    };
    if let Some(username) = tenant_host {
        return if path.starts_with("/api/public/") {
            runtime(Row::TenantPublic, Some(username), "/api")
        } else if path.starts_with("/api/") {
            runtime(Row::TenantApi, Some(username), "/api")
        } else if matches!(path, "/" | "/login/session" | "/logout") {
            Ok(Target::TenantPage { username })
        } else {
            Ok(Target::TenantHost { username })
        };
    }
    if path.starts_with("/api/") {
        return runtime(Row::Api, None, "/api");
    }
    let is_at = |root: &str| {
        path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let own = match path {
        "/" => Some(Own::Home),
        "/logout" => Some(Own::Logout),
        _ if is_at("/profile") || is_at("/portal") => Some(Own::Profile),
        _ if is_at("/login") => Some(Own::Login),
        _ if is_at("/assets") => Some(Own::Assets),
        "/.well-known/oauth-authorization-server" => Some(Own::OAuth),
        _ if is_at("/oauth2") => Some(Own::OAuth),
        _ => None,
    };
    if let Some(own) = own {
        return Ok(Target::Own(own));
    }
    if let Some(rest) = path.strip_prefix("/public/")
        && let Some((name, below)) = rest.split_once('/')
    {
        let username = Username::parse(name).map_err(|_| Refusal::NotFound("no such tenant"))?;
        let below_node_root = ["/public/", below].concat();
        return Ok(Target::Runtime(RuntimeTarget {
            row: Row::Public,
            username: Some(username),
            below_node_root,
        }));
    }
    match is_reserved(path) {
        true => Err(NO_ROW),
        false => Ok(Target::Context),
    }
}

/// The tenant whose host this is, by its form alone; `None` for the bare host.
fn tenant_of_host(host: &str, base_domain: &str) -> Result<Option<Username>, Refusal> {
    let name = host_name(host)?;
    let name = name.strip_suffix('.').unwrap_or(name);
    let place = name.len().checked_sub(base_domain.len());
    let Some((before, domain)) = place.and_then(|place| name.split_at_checked(place)) else {
        return Ok(None);
    };
    let label = before.strip_suffix('.').filter(|_| domain.eq_ignore_ascii_case(base_domain));
    Ok(label.and_then(|label| Username::parse(&label.to_ascii_lowercase()).ok()))
}

/// A Host header without its port.
fn host_name(host: &str) -> Result<&str, Refusal> {
    const BAD: Refusal = Refusal::Malformed("The Host header is malformed.");
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or(BAD)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| BAD)?;
            (address, after)
        }
        None => {
            let name = host.split(':').next().unwrap_or_default();
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if name.is_empty() || !name.bytes().all(allowed) {
                return Err(BAD);
            }
            (name, &host[name.len()..])
        }
    };
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok(name),
        Some(digits) if digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(name)
        }
        _ => Err(BAD),
    }
}

/// Refuses what could mean another path to the runtime than to us. Nothing is repaired.
fn check_path(path: &str) -> Result<(), Refusal> {
    if path.len() > PATH_BYTES_MAX {
        return Err(Refusal::PathTooLong);
    }
    if !path.starts_with('/') {
        return Err(Refusal::Malformed("The path must begin with a slash."));
    }
    if path.as_bytes().contains(&b'\\') {
        return Err(Refusal::Malformed("The path contains a backslash."));
    }
    for segment in path.as_bytes().split(|byte| *byte == b'/') {
        let decoded: Cow<'_, [u8]> = percent_decode(segment).into();
        if decoded.iter().any(|byte| matches!(byte, b'/' | b'\\')) {
            return Err(Refusal::Malformed("The path contains an encoded slash or backslash."));
        }
        if decoded.iter().any(u8::is_ascii_control) {
            return Err(Refusal::Malformed("The path contains a control byte."));
        }
        let name = decoded.split(|byte| *byte == b';').next().unwrap_or_default();
        if name == b"." || name == b".." {
            return Err(Refusal::Malformed("The path contains a dot segment."));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
