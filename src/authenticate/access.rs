//! Applications' access tokens: JSON Web Tokens by RFC 9068 that any replica verifies by itself, and the
//! calls that they open.
//!
//! Nothing in a token says with what it is verified but `kid`, which has to name one of our own keys;
//! the algorithm is that key's. `iss` is not compared: nobody else signs with these keys.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, ORIGIN};
use http::request::Parts;
use serde_json::{Value, json};

use super::Authority;
use super::consumer::{Call, takes};
use super::credentials::{bearers, parameter, single, subprotocol_token};
use super::jwt::{Fault, Token};
use crate::api::consumer::Algorithm;
use crate::api::signing::{KeyRing, SigningKey, id_of, kid, sign};
use crate::api::{Api, Security};
use crate::carriers::{ACCESS_TOKEN_PARAMETER, Caller, TICKET_PARAMETER};
use crate::clock::UnixMillis;
use crate::close::Cause;
use crate::grant::{ApiId, ApplicationId, Grant, KeyId};
use crate::refusal::{ConsumerRefusal, Refusal};
use crate::registry::away;
use crate::secret::Secret;

/// The media type of access tokens (RFC 9068 section 2.1).
const TYPE: &str = "at+jwt";
/// What audiences begin with.
const AUDIENCE_PREFIX: &str = "urn:flowgate:api:";
/// The longest header that is one of ours.
const HEADER_BYTES_MAX: usize = 256;
/// How far the clock of the replica that has issued a token may be ahead.
const AHEAD_MAX: Duration = Duration::from_secs(60);

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// Whose it is.
    pub application: ApplicationId,
    /// Which APIs it is for.
    pub apis: Vec<ApiId>,
    /// What was asked for, or granted in place of it.
    pub scope: String,
    /// When it was issued.
    pub issued_at: UnixMillis,
    /// When it is over.
    pub until: UnixMillis,
    /// Which it is.
    pub jti: u64,
    /// [`crate::secret::SecretDigest::fingerprint`] of the secret that it was issued for.
    pub secret: u64,
    /// Which key has signed it.
    pub key: u64,
}

/// Whether a text is an access token of ours by its form, however old: it is for nobody else's eyes.
#[must_use]
pub fn is_access_token(text: &str) -> bool {
    let Some((header, _)) = text.split_once('.') else { return false };
    if header.len() > HEADER_BYTES_MAX {
        return false;
    }
    let Ok(bytes) = BASE64_URL_SAFE_NO_PAD.decode(header) else { return false };
    let Ok(header) = serde_json::from_slice::<Value>(&bytes) else { return false };
    header["typ"] == TYPE && header["kid"].as_str().and_then(id_of).is_some()
}

impl AccessToken {
    /// The token as it is presented. `None` if the key cannot sign.
    #[must_use]
    pub fn write(&self, issuer: &str, key: &SigningKey, private: &[u8]) -> Option<Secret> {
        let header = json!({ "typ": TYPE, "alg": "EdDSA", "kid": kid(key.id) });
        let audience: Vec<String> =
            self.apis.iter().map(|api| format!("{AUDIENCE_PREFIX}{api}")).collect();
        let application = self.application.to_string();
        let claims = json!({
            "iss": issuer,
            "sub": application,
            "client_id": application,
            "aud": audience,
            "scope": self.scope,
            "iat": self.issued_at.0 / 1000,
            "exp": self.until.0 / 1000,
            "jti": KeyId(self.jti).to_string(),
            "secret": KeyId(self.secret).to_string(),
        });
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        sign(private, format!("{}.{}", part(&header), part(&claims)))
    }

    /// Reads a token and verifies it: that it is ours, and not over. Whether it was revoked is not looked
    /// at; see [`Grant::Token`].
    ///
    /// # Errors
    /// Why it is not.
    pub fn verify(text: &str, ring: &KeyRing, now: UnixMillis) -> Result<Self, Fault> {
        const BAD: Fault = Fault("the token is malformed");
        let token = Token::parse(text)?;
        if token.header("typ") != Some(&json!(TYPE)) {
            return Err(Fault("the token is no access token"));
        }
        let key = token.header("kid").and_then(Value::as_str).and_then(id_of);
        let key = key.and_then(|id| ring.key(id, now));
        let key = key.ok_or(Fault("the token was signed with no key of ours"))?;
        token.is_signed_with(Algorithm::EdDSA, &key.verifier())?;
        let until = token.until(now)?;
        if until == UnixMillis::NEVER {
            return Err(BAD);
        }
        let text = |name: &str| token.claim(name).and_then(Value::as_str);
        let issued_at = token.claim("iat").and_then(Value::as_u64).ok_or(BAD)?;
        let issued_at = UnixMillis(issued_at.saturating_mul(1000));
        if issued_at > now.plus(AHEAD_MAX) {
            return Err(Fault("the token is not good yet"));
        }
        let audience = token.claim("aud").and_then(Value::as_array).ok_or(BAD)?;
        let api = |value: &Value| ApiId::from_hex(value.as_str()?.strip_prefix(AUDIENCE_PREFIX)?);
        let number = |name: &str| text(name).and_then(KeyId::from_hex).map(|id| id.0);
        Ok(Self {
            application: text("client_id").and_then(ApplicationId::from_hex).ok_or(BAD)?,
            apis: audience.iter().map(api).collect::<Option<_>>().ok_or(BAD)?,
            scope: text("scope").ok_or(BAD)?.to_owned(),
            issued_at,
            until,
            jti: number("jti").ok_or(BAD)?,
            secret: number("secret").ok_or(BAD)?,
            key: key.id,
        })
    }
}

impl Authority<'_> {
    /// The call that an access token or a ticket for one opens; `None` where neither is presented.
    pub(super) async fn access(self, request: &Parts, api: &Api) -> Result<Option<Call>, Refusal> {
        if let Some(ticket) = parameter(request.uri.query(), TICKET_PARAMETER)? {
            return self.access_by_ticket(&ticket, request, api).await.map(Some);
        }
        let headers = &request.headers;
        single(headers, &AUTHORIZATION)?;
        let bearer = bearers(headers).next();
        // Where consumers sign tokens themselves, it may be one of those.
        let bearer =
            bearer.filter(|bearer| !takes(api, Security::Jwt) || is_access_token(bearer.expose()));
        let is_header = bearer.is_some();
        let all = [
            bearer,
            parameter(request.uri.query(), ACCESS_TOKEN_PARAMETER)?,
            subprotocol_token(headers)?,
        ];
        let mut all = all.into_iter().flatten();
        let Some(token) = all.next() else { return Ok(None) };
        if all.next().is_some() {
            // RFC 6750 section 2.
            return Err(Refusal::Malformed("An access token appears more than once."));
        }
        let grant = self.grant_of_token(&token, api)?;
        self.admit_application(grant, api, is_header).map(Some)
    }

    /// What the access token in a request's `Authorization` grants on an API.
    ///
    /// # Errors
    /// 401 without a token that holds, 403 for an application that is not subscribed.
    pub fn check_bearer(self, headers: &HeaderMap, api: &Api) -> Result<Grant, Refusal> {
        single(headers, &AUTHORIZATION)?;
        let missing = Refusal::Consumer(ConsumerRefusal::MissingAccessToken);
        let bearer = bearers(headers).next().ok_or(missing)?;
        let grant = self.grant_of_token(&bearer, api)?;
        self.admit_application(grant, api, true).map(|call| call.grant)
    }

    fn grant_of_token(self, token: &Secret, api: &Api) -> Result<Grant, Refusal> {
        let invalid = |why| Refusal::Consumer(ConsumerRefusal::InvalidAccessToken(why));
        let directory = self.registry.directory();
        let ring = directory.signing_keys();
        let token = AccessToken::verify(token.expose(), &ring, self.now());
        let token = token.map_err(|Fault(why)| invalid(why))?;
        let application = directory.application(token.application);
        let application = application.ok_or_else(|| invalid("the application is gone"))?;
        let subscription = application.subscription_to(api.id);
        let subscription = subscription.filter(|_| token.apis.contains(&api.id));
        let not_subscribed = Refusal::Consumer(ConsumerRefusal::NotSubscribed);
        Ok(Grant::Token {
            api: api.id,
            subscription: subscription.ok_or(not_subscribed)?.id,
            secret: token.secret,
            key: token.key,
            jti: token.jti,
            until: token.until,
        })
    }

    async fn access_by_ticket(
        self,
        secret: &Secret,
        request: &Parts,
        api: &Api,
    ) -> Result<Call, Refusal> {
        let invalid = |why| Refusal::Consumer(ConsumerRefusal::InvalidAccessToken(why));
        let ticket = self.registry.take_ticket(secret).await.map_err(away)?;
        let ticket = ticket.ok_or_else(|| invalid("unknown, used or expired ticket"))?;
        let mut origins = request.headers.get_all(ORIGIN).iter();
        let origin = origins.next().map(|origin| origin.to_str().unwrap_or("?"));
        if ticket.path != request.uri.path() {
            return Err(invalid("the ticket is for another path"));
        }
        if ticket.origin.as_deref() != origin || origins.next().is_some() {
            return Err(invalid("the ticket is for another origin"));
        }
        match ticket.grant {
            grant @ Grant::Token { api: id, .. } if id == api.id => {
                self.admit_application(grant, api, false)
            }
            _ => Err(invalid("the ticket is for another API")),
        }
    }

    /// Whether a token's grant holds now, and who calls.
    fn admit_application(
        self,
        grant: Grant,
        api: &Api,
        authorization_consumed: bool,
    ) -> Result<Call, Refusal> {
        let invalid = |why| Refusal::Consumer(ConsumerRefusal::InvalidAccessToken(why));
        let directory = self.registry.directory();
        let verdict = directory.allows(&grant, self.now());
        let unknown = || Refusal::RegistryAway("applications are being read anew".to_owned());
        verdict.ok_or_else(unknown)?.map_err(|cause| match cause {
            Cause::SubscriptionBlocked => Refusal::Consumer(ConsumerRefusal::SubscriptionBlocked),
            cause => invalid(cause.reason()),
        })?;
        let Grant::Token { subscription, .. } = grant else {
            return Err(invalid("no token's grant"));
        };
        let application = directory.application_subscribed(subscription);
        let application = application.ok_or_else(|| invalid("the application is gone"))?;
        debug_assert_eq!(grant.api(), Some(api.id));
        let id = application.id.to_string();
        // No consumer's name has a colon: an endpoint cannot take the one for the other.
        let username = format!("application:{id}");
        let caller = Caller { username, credential: id, passes: None };
        Ok(Call {
            grant,
            caller: Some(Arc::new(caller)),
            authorization_consumed,
            is_ambient: false,
        })
    }
}

#[cfg(test)]
mod tests;
