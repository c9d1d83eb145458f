//! What a request presents, read from its headers and query. Pure; nothing is checked yet.

use http::HeaderMap;
use http::header::HeaderValue;
use percent_encoding::percent_decode_str;

use crate::carriers::{
    API_KEY_PARAMETER, TOKEN_PARAMETERS, TOKEN_SUBPROTOCOL, is_parameter, read_basic,
};
use crate::refusal::Refusal;
use crate::secret::Secret;

const BAD_AUTHORIZATION: Refusal = Refusal::Malformed("The Authorization header is malformed.");

/// Everything of ours that a request presents.
#[derive(Debug, Default)]
pub struct Presented {
    /// `Authorization: Basic`.
    pub basic: Option<Named>,
    /// `X-Auth-User` with `X-Auth-Key`.
    pub x_auth: Option<Named>,
    /// `apikey`, as header or query parameter.
    pub api_key: Option<Secret>,
    /// A bearer token, as header, query parameter or subprotocol; or a ticket. Nobody issues them.
    pub token: bool,
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
        if let Some(value) = single(headers, "authorization")? {
            let bytes = value.as_bytes();
            let scheme = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
            if scheme.eq_ignore_ascii_case(b"basic") {
                let (username, secret) = read_basic(value).ok_or(BAD_AUTHORIZATION)?;
                presented.basic = Some(Named { username, secret });
            } else {
                presented.token |= scheme.eq_ignore_ascii_case(b"bearer");
            }
        }
        let user = single(headers, "x-auth-user")?.map(text).transpose()?;
        let key = single(headers, "x-auth-key")?.map(text).transpose()?;
        if let (Some(username), Some(key)) = (user, key) {
            presented.x_auth = Some(Named { username, secret: Secret::new(key) });
        }
        if let Some(value) = single(headers, "apikey")? {
            presented.api_key = Some(Secret::new(text(value)?));
        }
        for pair in query.into_iter().flat_map(|query| query.split('&')) {
            presented.read_parameter(pair)?;
        }
        presented.token |= headers
            .get_all("sec-websocket-protocol")
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .any(|name| name.trim_ascii().starts_with(TOKEN_SUBPROTOCOL.as_bytes()));
        Ok(presented)
    }

    fn read_parameter(&mut self, pair: &str) -> Result<(), Refusal> {
        if is_parameter(pair, API_KEY_PARAMETER) {
            let raw = pair.split_once('=').map_or("", |(_, raw)| raw);
            let key = percent_decode_str(raw)
                .decode_utf8()
                .map_err(|_| Refusal::Malformed("The query parameter apikey is malformed."))?;
            if self.api_key.is_some() {
                return Err(Refusal::Malformed("There is more than one apikey."));
            }
            self.api_key = Some(Secret::new(key.into_owned()));
        }
        self.token |= TOKEN_PARAMETERS.iter().any(|name| is_parameter(pair, name));
        Ok(())
    }

    /// Whether there is nothing that could open a private row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.basic.is_none() && self.x_auth.is_none() && self.api_key.is_none() && !self.token
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a HeaderValue>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Refusal::Malformed("A credential header appears more than once.")),
    }
}

fn text(value: &HeaderValue) -> Result<String, Refusal> {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(_) => Err(Refusal::Malformed("A credential header is not UTF-8.")),
    }
}

#[cfg(test)]
mod tests;
