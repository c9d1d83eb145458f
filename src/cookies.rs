//! flowgate's own cookies: by what names, and when a browser may be believed to have them from us.
//!
//! By TLS they begin with `__Host-`, which a browser takes from that very host only. Without TLS a
//! page of another tenant could set a cookie for all names below the base domain ("tossing"), and
//! anybody on the way could read it. There they have other names and are used on loopback names
//! alone: on the bare host `localhost`, for which nobody else can set any, and on tenant hosts,
//! where a session counts for that tenant only.

use http::HeaderMap;
use http::header::{COOKIE, HOST, HeaderValue, InvalidHeaderValue, ORIGIN};

use crate::secret::Secret;

/// Cookies of one kind that are looked at; more were set by somebody else.
const SAME_MAX: usize = 4;
/// The bare host that sessions live on without TLS.
pub const LOOPBACK_HOST: &str = "localhost";

/// What a cookie is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jar {
    /// A session.
    Session,
    /// The login form, before there is a session.
    Login,
    /// The way to a tenant host, for the browser that began it.
    Handover,
}

impl Jar {
    fn names(self) -> [&'static str; 2] {
        match self {
            Self::Session => ["__Host-flowgate-session", "flowgate-session"],
            Self::Login => ["__Host-flowgate-login", "flowgate-login"],
            Self::Handover => ["__Host-flowgate-handover", "flowgate-handover"],
        }
    }
}

/// How the browser came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By TLS, with us or with whoever stands before us.
    Secure,
    /// Without, on a name that leads to the browser's own machine.
    Loopback,
    /// Without, as far as can be seen: cookies are for TLS only, and a browser that came without
    /// takes none.
    Open,
}

impl Way {
    /// The way of a request. Where TLS ended before us only the browser's `Origin` tells; without one
    /// a page is opened, and the cookies themselves tell.
    #[must_use]
    pub fn of(headers: &HeaderMap, over_tls: bool) -> Self {
        let value = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let by_origin = value(ORIGIN).is_some_and(|origin| origin.starts_with("https://"));
        if over_tls || by_origin {
            return Self::Secure;
        }
        let name = name_of(value(HOST).unwrap_or_default());
        let is_loopback = name.eq_ignore_ascii_case(LOOPBACK_HOST)
            || name.to_ascii_lowercase().ends_with(".localhost");
        if is_loopback { Self::Loopback } else { Self::Open }
    }
}

/// A host without its port.
#[must_use]
pub fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The values of our cookies of a kind, in the order in which they came.
#[must_use]
pub fn read(headers: &HeaderMap, jar: Jar, over_tls: bool) -> Vec<Secret> {
    let [secure, plain] = jar.names();
    let may_be_plain = Way::of(headers, over_tls) == Way::Loopback;
    headers
        .get_all(COOKIE)
        .iter()
        // Byte by byte: others' cookies may hold what is no text, and must not hide ours by that.
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| std::str::from_utf8(pair).ok()?.trim_ascii().split_once('='))
        .filter(|(name, _)| *name == secure || (may_be_plain && *name == plain))
        .map(|(_, value)| Secret::new(value.to_owned()))
        .take(SAME_MAX)
        .collect()
}

/// Whether a session may live on this bare host: without TLS on `localhost` alone, since a tenant's
/// page could set cookies for the base domain.
#[must_use]
pub fn is_safe_bare_host(headers: &HeaderMap, over_tls: bool) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    match Way::of(headers, over_tls) {
        Way::Secure => true,
        Way::Loopback => name_of(host).eq_ignore_ascii_case(LOOPBACK_HOST),
        // Only what came by TLS to somebody before us has a cookie that is looked at.
        Way::Open => true,
    }
}

/// Sets a cookie until the browser ends.
///
/// # Errors
/// The value cannot stand in a header; ours can.
pub fn set(jar: Jar, way: Way, secret: &Secret) -> Result<HeaderValue, InvalidHeaderValue> {
    write(jar, way, secret.expose(), "")
}

/// Takes a cookie back.
///
/// # Errors
/// None that can be.
pub fn clear(jar: Jar, way: Way) -> Result<HeaderValue, InvalidHeaderValue> {
    write(jar, way, "", "; Max-Age=0")
}

fn write(jar: Jar, way: Way, value: &str, age: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let [secure, plain] = jar.names();
    let (name, only) = match way {
        Way::Secure | Way::Open => (secure, "; Secure"),
        Way::Loopback => (plain, ""),
    };
    let cookie = format!("{name}={value}; Path=/; HttpOnly{only}; SameSite=Lax{age}");
    let mut cookie = HeaderValue::from_str(&cookie)?;
    cookie.set_sensitive(true);
    Ok(cookie)
}

#[cfg(test)]
mod tests;
