//! What a request presents, read from its headers and query. Pure; nothing is checked yet.

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use percent_encoding::percent_decode_str;

use crate::carriers::{
    ACCESS_TOKEN_PARAMETER, API_KEY_HEADER, API_KEY_PARAMETER, TICKET_PARAMETER, TOKEN_SUBPROTOCOL,
    is_parameter, read_basic,
};
use crate::refusal::Refusal;
use crate::secret::Secret;

const BAD_AUTHORIZATION: Refusal = Refusal::Malformed("The Authorization header is malformed.");

const TWICE: Refusal = Refusal::Malformed("A credential appears more than once.");

const X_AUTH_USER: HeaderName = HeaderName::from_static("x-auth-user");
const X_AUTH_KEY: HeaderName = HeaderName::from_static("x-auth-key");

/// Everything of ours that a request presents.
#[derive(Debug, Default)]
pub struct Presented {
    /// `Authorization: Basic`.
    pub basic: Option<Named>,
    /// `X-Auth-User` with `X-Auth-Key`.
    pub x_auth: Option<Named>,
    /// API keys without a name beside them: `apikey` as header or query parameter, `access_token`, and
    /// the subprotocol that carries a token; at most one of each.
    pub keys: Vec<Secret>,
    /// `Authorization: Bearer`, which may be an API key, or something for the runtime.
    pub bearer: Option<Secret>,
    /// A one-time ticket.
    pub ticket: Option<Secret>,
}

/// A secret and whose it is said to be.
#[derive(Debug)]
pub struct Named {
    /// The claimed username, as it came.
    pub username: String,
    /// Password or key.
    pub secret: Secret,
}

impl Presented {
    /// Reads all credentials of a request.
    ///
    /// # Errors
    /// A credential header twice, or malformed. `X-Auth-User` without `X-Auth-Key`, or the other way
    /// round, is no credential.
    pub fn read(headers: &HeaderMap, query: Option<&str>) -> Result<Self, Refusal> {
        let mut presented = Self::default();
        if let Some(value) = single(headers, &AUTHORIZATION)? {
            if is_basic(value) {
                let (username, secret) = read_basic(value).ok_or(BAD_AUTHORIZATION)?;
                presented.basic = Some(Named { username, secret });
            } else {
                presented.bearer = bearers(headers).next();
            }
        }
        let user = single(headers, &X_AUTH_USER)?.map(text).transpose()?;
        let key = single(headers, &X_AUTH_KEY)?.map(text).transpose()?;
        if let (Some(username), Some(key)) = (user, key) {
            presented.x_auth = Some(Named { username, secret: Secret::new(key) });
        }
        let header = single(headers, &API_KEY_HEADER)?.map(text).transpose()?.map(Secret::new);
        let parameter = parameter(query, API_KEY_PARAMETER)?;
        if header.is_some() && parameter.is_some() {
            return Err(TWICE);
        }
        presented.keys.extend(header.or(parameter));
        presented.keys.extend(self::parameter(query, ACCESS_TOKEN_PARAMETER)?);
        presented.keys.extend(subprotocol_token(headers)?);
        presented.ticket = self::parameter(query, TICKET_PARAMETER)?;
        Ok(presented)
    }
}

/// Whether an Authorization header is Basic, well formed or not.
pub(super) fn is_basic(value: &HeaderValue) -> bool {
    let scheme = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"basic")
}

/// The bearer tokens of a request; more than one is malformed where a credential is asked for.
pub fn bearers(headers: &HeaderMap) -> impl Iterator<Item = Secret> {
    headers.get_all(AUTHORIZATION).iter().filter_map(|value| {
        let text = std::str::from_utf8(value.as_bytes()).ok()?;
        let (scheme, token) = text.split_at_checked("bearer".len())?;
        let is_bearer = scheme.eq_ignore_ascii_case("bearer")
            && (token.is_empty() || token.starts_with([' ', '\t']));
        is_bearer.then(|| Secret::new(token.trim().to_owned()))
    })
}

/// A query parameter's value, however its name is encoded.
pub(super) fn parameter(query: Option<&str>, name: &str) -> Result<Option<Secret>, Refusal> {
    let pairs = query.into_iter().flat_map(|query| query.split('&'));
    let mut pairs = pairs.filter(|pair| is_parameter(pair, name));
    let Some(pair) = pairs.next() else { return Ok(None) };
    if pairs.next().is_some() {
        return Err(TWICE);
    }
    let raw = pair.split_once('=').map_or("", |(_, raw)| raw);
    match percent_decode_str(raw).decode_utf8() {
        Ok(value) => Ok(Some(Secret::new(value.into_owned()))),
        Err(_) => Err(Refusal::Malformed("A query parameter with a credential is malformed.")),
    }
}

/// Browsers can send a subprotocol with a handshake, and nothing else.
pub(super) fn subprotocol_token(headers: &HeaderMap) -> Result<Option<Secret>, Refusal> {
    let names = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let names = names.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let mut tokens =
        names.filter_map(|name| name.trim_ascii().strip_prefix(TOKEN_SUBPROTOCOL.as_bytes()));
    let Some(token) = tokens.next() else { return Ok(None) };
    match (std::str::from_utf8(token), tokens.next()) {
        (Ok(token), None) => Ok(Some(Secret::new(token.to_owned()))),
        (_, Some(_)) => Err(TWICE),
        (Err(_), _) => Err(Refusal::Malformed("A subprotocol is malformed.")),
    }
}

pub(super) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(TWICE),
    }
}

pub(super) fn text(value: &HeaderValue) -> Result<String, Refusal> {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(_) => Err(Refusal::Malformed("A credential header is not UTF-8.")),
    }
}

#[cfg(test)]
mod tests;
