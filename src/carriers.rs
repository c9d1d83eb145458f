//! What carries flowgate's credentials and identity on the wire. None of it reaches a runtime as a
//! client wrote it.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Headers that only flowgate may say to a runtime, and those that carry credentials.
const OURS: [&str; 6] =
    ["apikey", "forwarded", "x-client-ip", "x-credential-identifier", "x-real-ip", "x-request-id"];
const OUR_PREFIXES: [&str; 4] = ["x-auth-", "x-consumer-", "x-forwarded-", "x-flowgate-"];
/// The query parameter that carries an API key.
pub const API_KEY_PARAMETER: &str = "apikey";
/// The header that carries one.
pub const API_KEY_HEADER: HeaderName = HeaderName::from_static(API_KEY_PARAMETER);
/// The query parameter that carries an API key, too, by the name that OAuth gave it.
pub const ACCESS_TOKEN_PARAMETER: &str = "access_token";
/// The query parameter that carries a one-time ticket.
pub const TICKET_PARAMETER: &str = "ticket";
/// The query parameter and the cookie that carry a consumer's token to an API that takes such.
pub const TOKEN_NAME: &str = "jwt";
/// Our own subprotocol.
pub const OUR_SUBPROTOCOL: &str = "flowgate";
/// The beginning of the subprotocol that carries a token.
pub const TOKEN_SUBPROTOCOL: &str = "flowgate.bearer.";
/// The beginnings of our cookies' names, in lower case: by TLS, and without.
const COOKIE_PREFIXES: [&str; 2] = ["__host-flowgate", "flowgate-"];

/// What carried a consumer's credential to a published API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// The header `apikey`.
    KeyHeader,
    /// The query parameter `apikey`.
    KeyQuery,
    /// The header `Authorization`.
    Authorization,
    /// The query parameter `jwt`.
    TokenQuery,
    /// The cookie `jwt`.
    TokenCookie,
}

/// Who calls a published API, as its endpoint is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The consumer's name.
    pub username: String,
    /// Which of their credentials it was.
    pub credential: String,
    /// The carrier that the endpoint gets to see, where the API hides nothing.
    pub passes: Option<Carrier>,
}

/// Whether a header (in lower case) is one that a client's copy is dropped of. Underscore twins
/// count: many servers cannot tell `X_Auth_User` from `X-Auth-User`.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    let name = match name.contains('_') {
        true => Cow::Owned(name.replace('_', "-")),
        false => Cow::Borrowed(name),
    };
    OURS.contains(&&*name) || OUR_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a cookie, from its name on, has one of our names; in whatever case.
#[must_use]
pub fn is_our_cookie(pair: &[u8]) -> bool {
    let begins = |prefix: &str| {
        let name = pair.get(..prefix.len());
        name.is_some_and(|name| name.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    COOKIE_PREFIXES.iter().any(|prefix| begins(prefix))
}

/// Whether a `name=value` pair of a query has this name, however it is encoded.
#[must_use]
pub fn is_parameter(pair: &str, name: &str) -> bool {
    parameter_name(pair).trim().eq_ignore_ascii_case(name)
}

fn parameter_name(pair: &str) -> Cow<'_, str> {
    let raw = pair.split_once('=').map_or(pair, |(name, _)| name);
    percent_decode_str(raw).decode_utf8_lossy()
}

/// Whether a `name=value` pair of a query carries a credential.
#[must_use]
pub fn is_credential_parameter(pair: &str) -> bool {
    let name = parameter_name(pair);
    [API_KEY_PARAMETER, ACCESS_TOKEN_PARAMETER, TICKET_PARAMETER]
        .iter()
        .any(|ours| name.trim().eq_ignore_ascii_case(ours))
}

/// Username and password of a Basic credential (RFC 7617); `None` if it is none, or malformed.
#[must_use]
pub fn read_basic(value: &HeaderValue) -> Option<(String, Secret)> {
    let (scheme, encoded) = value.as_bytes().split_at_checked(5)?;
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim_ascii()).map(Zeroizing::new).ok()?;
    let (username, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((username.to_owned(), Secret::new(password.to_owned())))
}

/// The username that a Basic credential names.
#[must_use]
pub fn basic_username(value: &HeaderValue) -> Option<String> {
    read_basic(value).map(|(username, _)| username)
}
