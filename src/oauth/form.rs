//! What applications send: forms, read strictly (RFC 6749 section 3.2 and appendix B), and who they are
//! (section 2.3.1).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, Request};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use percent_encoding::percent_decode_str;

use super::Desk;
use crate::api::Application;
use crate::carriers::read_basic;
use crate::client::Client;
use crate::grant::ApplicationId;
use crate::guessing::Claim;
use crate::json::BODY_BYTES_MAX;
use crate::passwords::Verdict;
use crate::refusal::{OAuthRefusal, Refusal};
use crate::registry::away;
use crate::secret::{Secret, SecretDigest};

const BODY_TIME_MAX: Duration = Duration::from_secs(10);
const FORM: &[u8] = b"application/x-www-form-urlencoded";
/// Parameters of one form.
const PARAMETERS_MAX: usize = 32;

pub(super) fn invalid(what: &'static str) -> Refusal {
    Refusal::OAuth(OAuthRefusal::InvalidRequest(what))
}

/// A form's parameters by name, each there once. One without a value is as if it were not there.
#[derive(Debug, Default)]
pub(super) struct Parameters(HashMap<String, Secret>);

impl Parameters {
    /// Reads a form.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let malformed = || invalid("The form is malformed.");
        let text = std::str::from_utf8(body).map_err(|_| malformed())?;
        let mut found = HashMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(malformed)?;
            let (name, value) = (decode(name)?, decode(value)?);
            if found.contains_key(name.expose()) {
                return Err(invalid("A parameter appears more than once."));
            }
            if found.len() == PARAMETERS_MAX {
                return Err(invalid("There are too many parameters."));
            }
            found.insert(name.expose().to_owned(), value);
        }
        found.retain(|_, value| !value.expose().is_empty());
        Ok(Self(found))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(Secret::expose)
    }
}

/// A name or value as forms encode it; what is encoded wrongly is not repaired.
fn decode(text: &str) -> Result<Secret, Refusal> {
    let malformed = || invalid("The form is malformed.");
    let is_hex = |digits: &[u8]| digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit);
    let mut escapes = text.as_bytes().split(|byte| *byte == b'%').skip(1);
    if !escapes.all(|rest| rest.get(..2).is_some_and(is_hex)) {
        return Err(malformed());
    }
    let text = text.replace('+', " ");
    let decoded = percent_decode_str(&text).decode_utf8().map_err(|_| malformed())?;
    match decoded.contains('\0') {
        true => Err(malformed()),
        false => Ok(Secret::new(decoded.into_owned())),
    }
}

/// A request of an application's: its headers and its form.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) headers: HeaderMap,
    pub(super) parameters: Parameters,
}

impl<S: Send + Sync> FromRequest<S> for Asked {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        let mut kinds = parts.headers.get_all(CONTENT_TYPE).iter();
        let is_form = kinds.next().is_some_and(|kind| {
            let kind = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
            kind.trim_ascii().eq_ignore_ascii_case(FORM)
        });
        if !is_form || kinds.next().is_some() {
            return Err(invalid("The body must be application/x-www-form-urlencoded."));
        }
        let body = axum::body::to_bytes(body, BODY_BYTES_MAX);
        let body = tokio::time::timeout(BODY_TIME_MAX, body).await;
        let body = body.map_err(|_| invalid("The form did not come in time."))?;
        let body = body.map_err(|_| invalid("The form is broken or too long."))?;
        Ok(Self { headers: parts.headers, parameters: Parameters::parse(&body)? })
    }
}

/// What an application says that it is.
struct Presented {
    id: String,
    secret: Option<Secret>,
}

fn presented(asked: &Asked) -> Result<Presented, Refusal> {
    let no_client = |why| Refusal::OAuth(OAuthRefusal::InvalidClient(why));
    let (id, secret) = (asked.parameters.get("client_id"), asked.parameters.get("client_secret"));
    let mut headers = asked.headers.get_all(AUTHORIZATION).iter();
    let Some(header) = headers.next() else {
        let id = id.ok_or_else(|| no_client("no consumer key"))?.to_owned();
        return Ok(Presented { id, secret: secret.map(|it| Secret::new(it.to_owned())) });
    };
    if headers.next().is_some() {
        return Err(invalid("The Authorization header appears more than once."));
    }
    let (name, password) =
        read_basic(header).ok_or_else(|| no_client("the Authorization header is not Basic"))?;
    // Both were encoded as in forms before they were joined.
    let no_pair = |_| no_client("the Authorization header is malformed");
    let name = decode(&name).map_err(no_pair)?;
    let password = decode(password.expose()).map_err(no_pair)?;
    if secret.is_some() {
        return Err(invalid("There must be one way of authentication only."));
    }
    if id.is_some_and(|id| id != name.expose()) {
        return Err(invalid("client_id is not that of the Authorization header."));
    }
    Ok(Presented { id: name.expose().to_owned(), secret: Some(password) })
}

impl Desk {
    /// The application that asks, and the fingerprint of its secret.
    pub(super) async fn authenticate(
        &self,
        asked: &Asked,
        client: Client,
    ) -> Result<(Arc<Application>, u64), Refusal> {
        let no_client = |why| Refusal::OAuth(OAuthRefusal::InvalidClient(why));
        let Presented { id, secret } = presented(asked)?;
        let secret = secret.ok_or_else(|| no_client("no consumer secret"))?;
        self.registry.know_apis().await.map_err(away)?;
        let directory = self.registry.directory();
        let application = ApplicationId::from_hex(&id).and_then(|id| directory.application(id));
        let digest = SecretDigest::of(&secret);
        let now = self.now();
        let is_right = application.as_ref().is_some_and(|application| {
            let is_its = |own: &crate::api::application::ApplicationSecret| own.is(digest, now);
            application.secret.as_ref().is_some_and(is_its)
        });
        let name = format!("application {id}");
        let claim = Claim { name: &name, client: client.address.ip() };
        match self.passwords.count_secret(&secret, is_right, claim) {
            Verdict::Later(wait) => {
                let Refusal::TooManyAttempts { wait_seconds } = Refusal::attempts(wait) else {
                    return Err(no_client("too many wrong secrets"));
                };
                Err(Refusal::OAuth(OAuthRefusal::TooManyAttempts { wait_seconds }))
            }
            Verdict::Right => {
                let application = application.ok_or_else(|| no_client("unknown application"))?;
                match directory.is_open(application.owner) {
                    true => Ok((application, digest.fingerprint())),
                    false => Err(no_client("the application's owner is disabled or gone")),
                }
            }
            _ => Err(no_client(match application {
                Some(_) => "wrong consumer secret",
                None => "unknown application",
            })),
        }
    }
}

#[cfg(test)]
mod tests;
