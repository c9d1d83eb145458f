//! Consumers of published APIs: their credentials to a [`Call`].

use std::sync::Arc;

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;

use super::Authority;
use super::access::is_access_token;
use super::credentials::{bearers, is_basic, parameter, single, text};
use super::jwt::{Fault, Token, public_key, secret_key};
use crate::api::consumer::{Consumer, Credential, Proof, Verifier};
use crate::api::{Api, Security};
use crate::carriers::{API_KEY_HEADER, API_KEY_PARAMETER, Caller, Carrier, TOKEN_NAME, read_basic};
use crate::client::Client;
use crate::clock::UnixMillis;
use crate::grant::Grant;
use crate::guessing::Claim;
use crate::passwords::Verdict;
use crate::refusal::{ConsumerRefusal, Refusal};
use crate::registry::away;
use crate::secret::{Secret, SecretDigest};

/// The place for which a consumer's secret is sealed.
#[must_use]
pub fn sealed_for(consumer_owner: &str, username: &str) -> String {
    format!("consumer/{consumer_owner}/{username}")
}

/// A call that an API's credentials allow.
#[derive(Debug)]
pub struct Call {
    /// What it rests on.
    pub grant: Grant,
    /// Who calls; nobody in particular where the API asks for nothing.
    pub caller: Option<Arc<Caller>>,
    /// The Authorization header was used up.
    pub authorization_consumed: bool,
    /// A browser may have added the credential by itself.
    pub is_ambient: bool,
}

type Proven = (Arc<Consumer>, usize, UnixMillis);

impl Authority<'_> {
    /// Checks what an API asks for; of several kinds the first that is presented counts, in the order
    /// in which the API names them.
    ///
    /// # Errors
    /// 401 with what is missing or wrong; 400 for malformed headers; 503 if passwords or the registry
    /// cannot be asked, or a consumer's secret cannot be opened.
    pub async fn check_call(
        self,
        request: &Parts,
        api: &Api,
        client: Client,
    ) -> Result<Call, Refusal> {
        if api.is_open() {
            let grant = Grant::Open { api: api.id };
            let call =
                Call { grant, caller: None, authorization_consumed: false, is_ambient: false };
            return Ok(call);
        }
        self.registry.know_apis().await.map_err(away)?;
        let mut missing = None;
        for kind in &api.definition.security {
            let found = match kind {
                Security::Key => self.key(request, api)?,
                Security::Basic => self.basic(request, api, client).await?,
                Security::Jwt => self.jwt(request, api)?,
                Security::Oauth2 => match self.access(request, api).await? {
                    Some(call) => return Ok(call),
                    None => None,
                },
                Security::None => None,
            };
            if let Some((proven, carrier)) = found {
                return Ok(call(api, &proven, carrier));
            }
            missing = missing.or(Some(match kind {
                Security::Key => ConsumerRefusal::MissingKey,
                Security::Basic if request.headers.contains_key(AUTHORIZATION) => {
                    ConsumerRefusal::MalformedBasic
                }
                Security::Basic => ConsumerRefusal::MissingBasic,
                Security::Jwt => ConsumerRefusal::MissingToken,
                Security::None | Security::Oauth2 => ConsumerRefusal::MissingAccessToken,
            }));
        }
        Err(Refusal::Consumer(missing.unwrap_or(ConsumerRefusal::MissingKey)))
    }

    fn key(self, request: &Parts, api: &Api) -> Result<Option<(Proven, Carrier)>, Refusal> {
        let header = single(&request.headers, &API_KEY_HEADER)?.map(text).transpose()?;
        let (key, carrier) = match header {
            Some(header) => (Secret::new(header), Carrier::KeyHeader),
            None => match parameter(request.uri.query(), API_KEY_PARAMETER)? {
                Some(parameter) => (parameter, Carrier::KeyQuery),
                None => return Ok(None),
            },
        };
        let digest = SecretDigest::of(&key);
        let consumer = self.registry.directory().consumer_with_key(api.owner, digest);
        let place = consumer.as_ref().and_then(|consumer| {
            let is_it = |it: &Credential| matches!(it.proof, Proof::Key { digest: known, .. } if known == digest);
            consumer.credentials.iter().position(is_it)
        });
        match (consumer, place) {
            (Some(consumer), Some(place)) => {
                Ok(Some(((consumer, place, UnixMillis::NEVER), carrier)))
            }
            _ => Err(Refusal::Consumer(ConsumerRefusal::InvalidKey)),
        }
    }

    async fn basic(
        self,
        request: &Parts,
        api: &Api,
        client: Client,
    ) -> Result<Option<(Proven, Carrier)>, Refusal> {
        let Some(value) = single(&request.headers, &AUTHORIZATION)? else {
            return Ok(None);
        };
        // Another kind may know what it is.
        if !is_basic(value) {
            return Ok(None);
        }
        let malformed = Refusal::Consumer(ConsumerRefusal::MalformedBasic);
        let (username, password) = read_basic(value).ok_or(malformed)?;
        let consumer = self.registry.directory().consumer_named(api.owner, &username);
        let stored = consumer.as_ref().and_then(|consumer| {
            let mut credentials = consumer.credentials.iter().enumerate();
            credentials.find_map(|(place, credential)| match &credential.proof {
                Proof::Basic(stored) => Some((place, stored.clone())),
                _ => None,
            })
        });
        // Without one the same work is done for nothing.
        let known = stored.as_ref().map(|(_, stored)| stored);
        // Guesses of a consumer's password are no tenant's of the same name.
        let name = format!("consumer {}/{username}", api.owner);
        let claim = Claim { name: &name, client: client.address.ip() };
        if let Some(wait) = self.passwords.wait(known, &password, claim) {
            return Err(Refusal::attempts(wait));
        }
        let verdict = self.passwords.verify(known, &password, claim).await;
        match (verdict, stored, consumer) {
            (Verdict::Busy, ..) => {
                Err(Refusal::Overloaded("too many passwords wait to be checked"))
            }
            (Verdict::Later(wait), ..) => Err(Refusal::attempts(wait)),
            (Verdict::Right | Verdict::Remembered, Some((place, _)), Some(consumer)) => {
                let proven = (consumer, place, UnixMillis::NEVER);
                Ok(Some((proven, Carrier::Authorization)))
            }
            _ => Err(Refusal::Consumer(ConsumerRefusal::InvalidBasic)),
        }
    }

    fn jwt(self, request: &Parts, api: &Api) -> Result<Option<(Proven, Carrier)>, Refusal> {
        let Some((text, carrier)) = token(request)? else { return Ok(None) };
        if takes(api, Security::Oauth2) && is_access_token(text.expose()) {
            return Ok(None);
        }
        let malformed = |Fault(why)| Refusal::Consumer(ConsumerRefusal::MalformedToken(why));
        let wrong = |Fault(why)| Refusal::Consumer(ConsumerRefusal::InvalidToken(why));
        let token = Token::parse(text.expose()).map_err(malformed)?;
        let no_consumer = |why| Refusal::Consumer(ConsumerRefusal::UnknownToken(why));
        let key = token.key().ok_or_else(|| no_consumer("the token has no claim \"key\""))?;
        let consumer = self.registry.directory().consumer_with_claim(api.owner, key);
        let consumer = consumer.ok_or_else(|| no_consumer("no consumer has the token's key"))?;
        let mut credentials = consumer.credentials.iter().enumerate();
        let found = credentials.find_map(|(place, credential)| match &credential.proof {
            Proof::Jwt { key: known, algorithm, verifier, .. } if known == key => {
                Some((place, *algorithm, verifier))
            }
            _ => None,
        });
        let (place, algorithm, verifier) =
            found.ok_or_else(|| no_consumer("no consumer has the token's key"))?;
        let opened_key;
        let key = match verifier {
            Verifier::PublicKey(key) => key
                .key(|pem| public_key(algorithm, pem).ok())
                .ok_or(Refusal::Overloaded("a consumer's public key is of no use"))?,
            Verifier::Sealed(sealed) => {
                let place = sealed_for(&consumer.owner.to_string(), &consumer.username);
                let opened = self.registry.sealing().map(|sealing| sealing.open(&place, sealed));
                match opened {
                    Some(Ok(secret)) => {
                        opened_key = secret_key(&secret);
                        &opened_key
                    }
                    _ => {
                        let why = "no key of sealing_key_file opens a consumer's secret";
                        return Err(Refusal::Overloaded(why));
                    }
                }
            }
        };
        token.is_signed_with(algorithm, key).map_err(wrong)?;
        let until = token.until(self.now()).map_err(wrong)?;
        Ok(Some(((Arc::clone(&consumer), place, until), carrier)))
    }
}

/// Whether an API asks for this, among others.
pub(super) fn takes(api: &Api, kind: Security) -> bool {
    api.definition.security.contains(&kind)
}

fn call(api: &Api, (consumer, place, until): &Proven, carrier: Carrier) -> Call {
    let credential = &consumer.credentials[*place];
    let passes = (!api.definition.hide_credentials).then_some(carrier);
    Call {
        grant: Grant::Consumer {
            api: api.id,
            consumer: consumer.id,
            credential: credential.id,
            secret: credential.fingerprint(),
            until: *until,
        },
        caller: Some(Arc::new(Caller {
            username: consumer.username.clone(),
            credential: credential.id.to_string(),
            passes,
        })),
        authorization_consumed: carrier == Carrier::Authorization,
        is_ambient: matches!(credential.proof, Proof::Basic(_)) || carrier == Carrier::TokenCookie,
    }
}

/// The token of a request: header before query before cookie.
fn token(request: &Parts) -> Result<Option<(Secret, Carrier)>, Refusal> {
    let headers = &request.headers;
    if let Some(value) = single(headers, &AUTHORIZATION)? {
        if let Some(bearer) = bearers(headers).next() {
            return Ok(Some((bearer, Carrier::Authorization)));
        }
        // As APISIX takes it, too: the token alone.
        let alone = text(value)?;
        if !alone.contains(' ') {
            return Ok(Some((Secret::new(alone), Carrier::Authorization)));
        }
    }
    if let Some(parameter) = parameter(request.uri.query(), TOKEN_NAME)? {
        return Ok(Some((parameter, Carrier::TokenQuery)));
    }
    Ok(cookie(headers)?.map(|cookie| (cookie, Carrier::TokenCookie)))
}

fn cookie(headers: &HeaderMap) -> Result<Option<Secret>, Refusal> {
    let pairs = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = pairs.flat_map(|value| value.split(';')).filter_map(|pair| pair.split_once('='));
    let mut tokens = pairs.filter(|(name, _)| name.trim() == TOKEN_NAME);
    match (tokens.next(), tokens.next()) {
        (Some(_), Some(_)) => Err(Refusal::Malformed("A credential appears more than once.")),
        (found, _) => Ok(found.map(|(_, token)| Secret::new(token.trim().to_owned()))),
    }
}

#[cfg(test)]
mod tests;
