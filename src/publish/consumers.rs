//! What owners do with their consumers. Who gets a credential is told it once, or has brought it along.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;
use utoipa::ToSchema;

use super::{Changed, Publishing, count_ended, refused, unwritten};
use crate::api::consumer::{Algorithm, is_name};
use crate::api::{Consumer, Owner};
use crate::authenticate::consumer::sealed_for;
use crate::authenticate::jwt::public_key;
use crate::client::Client;
use crate::grant::{Grant, KeyId};
use crate::live::Entry;
use crate::passwords;
use crate::refusal::{OperatorRefusal, Refusal};
use crate::registry::apis::record::{ConsumerRecord, CredentialRecord, ProofRecord};
use crate::registry::apis::{CONSUMERS_MAX, CONSUMERS_PER_TENANT_MAX};
use crate::registry::audit::Act;
use crate::registry::away;
use crate::registry::record::PasswordRecord;
use crate::revoke::recheck_consumer;
use crate::secret::{Secret, SecretDigest};
use crate::tenant::TenantId;

/// Credentials of one consumer.
const CREDENTIALS_MAX: usize = 16;
/// Bytes of a key that is brought along.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 8..=256;
/// A key this long is told apart by its last four characters, without telling much of it.
const HINTED_BYTES_MIN: usize = 24;
const CLAIM_BYTES_MAX: usize = 128;
/// Bytes of a secret that tokens are signed with.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=512;
const PEM_BYTES_MAX: usize = 4096;

/// There is none of the owner's.
pub const NO_CONSUMER: Refusal =
    Refusal::Operator(OperatorRefusal::Missing("There is no such consumer."));
const NO_CREDENTIAL: Refusal =
    Refusal::Operator(OperatorRefusal::Missing("The consumer has no such credential."));

/// A key for a consumer.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewConsumerKey)]
pub struct NewKey {
    /// One that they have already, of 8 to 256 visible ASCII characters; else one is made.
    #[serde(default)]
    #[schema(value_type = Option<String>, nullable = false, min_length = 8, max_length = 256)]
    pub key: Option<Secret>,
}

/// A password for a consumer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewConsumerPassword)]
pub struct NewPassword {
    /// At most 72 bytes.
    #[schema(value_type = String, min_length = 1, max_length = 72)]
    pub password: Secret,
}

/// How a consumer's tokens are verified.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewConsumerTokens)]
pub struct NewTokens {
    /// The value of the tokens' claim `key`.
    #[schema(min_length = 1, max_length = 128)]
    pub key: String,
    /// How they are signed; a token that says otherwise is refused.
    pub algorithm: Algorithm,
    /// For HS algorithms: the secret, of 16 to 512 bytes.
    #[serde(default)]
    #[schema(value_type = Option<String>, nullable = false)]
    pub secret: Option<Secret>,
    /// For the others: the public key in PEM.
    #[serde(default)]
    #[schema(nullable = false)]
    pub public_key: Option<String>,
}

impl Publishing<'_> {
    /// A consumer of the owner's.
    ///
    /// # Errors
    /// There is none; or the registry cannot be asked.
    pub async fn consumer(self, owner: Owner, username: &str) -> Result<Arc<Consumer>, Refusal> {
        self.registry.know_apis().await.map_err(away)?;
        self.registry.directory().consumer_named(owner, username).ok_or(NO_CONSUMER)
    }

    /// Creates a consumer, unless there is one. Returns whether that was so.
    ///
    /// # Errors
    /// A name that cannot be one, a limit, or the store's.
    pub async fn add_consumer(
        self,
        act: &Act,
        owner: Owner,
        username: &str,
    ) -> Result<(Arc<Consumer>, bool), Refusal> {
        if !is_name(username) {
            let what = "username must be 1 to 64 letters, digits, '-', '_', '.' and '@'.";
            return Err(Refusal::BadInput(what.to_owned()));
        }
        match self.consumer(owner, username).await {
            Ok(there) => return Ok((there, false)),
            Err(missing) if missing == NO_CONSUMER => {}
            Err(refusal) => return Err(refusal),
        }
        let directory = self.registry.directory();
        let is_full = match owner {
            Owner::Operator => false,
            Owner::Tenant(_) => directory.consumers_of(owner).len() >= CONSUMERS_PER_TENANT_MAX,
        };
        if is_full || directory.counts().1 >= CONSUMERS_MAX {
            return Err(Refusal::Conflicting("There are as many consumers as there can be."));
        }
        let record = ConsumerRecord {
            owner: owner.to_string(),
            username: username.to_owned(),
            credentials: Vec::new(),
            created_unix_ms: self.now().0,
        };
        let consumer = self.registry.create_consumer(act, &record).await.map_err(unwritten)?;
        tracing::info!(consumer = username, by = act.who, "consumer created");
        Ok((consumer, true))
    }

    /// Removes a consumer. Returns how much that has ended.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove_consumer(self, act: &Act, before: &Consumer) -> Result<usize, Refusal> {
        let running = self.running_by(before);
        let removed = self.registry.remove_consumer(act, before.id, |_, _| Ok(())).await;
        removed.map_err(|error| refused(error, NO_CONSUMER))?;
        let ended = self.end_by(before, &running);
        tracing::info!(consumer = before.username, ended, by = act.who, "consumer removed");
        Ok(ended)
    }

    /// Gives a consumer one more key. Returns it if it was made here, and its id; a key that they have
    /// already stays as it is.
    ///
    /// # Errors
    /// A key that cannot be one, or is another consumer's; a limit, or the store's.
    pub async fn add_key(
        self,
        act: &Act,
        before: &Consumer,
        wanted: NewKey,
    ) -> Result<(Arc<Consumer>, KeyId, Option<Secret>), Refusal> {
        let (key, is_made) = match wanted.key {
            Some(key) => (key, false),
            None => (Secret::generate_consumer_key().map_err(no_randomness)?, true),
        };
        let text = key.expose();
        if !KEY_BYTES.contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let what = "key must be 8 to 256 visible ASCII characters without spaces.";
            return Err(Refusal::BadInput(what.to_owned()));
        }
        let hint = (text.len() >= HINTED_BYTES_MIN).then(|| key.hint());
        let sha256 = SecretDigest::of(&key).to_hex();
        let fresh = self.credential(ProofRecord::Key { sha256: sha256.clone(), hint })?;
        let change = |record: &mut ConsumerRecord, _: u64| {
            let has_it = |it: &&CredentialRecord| matches!(&it.proof, ProofRecord::Key { sha256: known, .. } if *known == sha256);
            if let Some(known) = record.credentials.iter().find(has_it) {
                return Ok(known.id.clone());
            }
            check_room(record)?;
            record.credentials.push(fresh.clone());
            Ok(fresh.id.clone())
        };
        let changed = self.registry.change_consumer(act, before.id, change).await;
        let (consumer, id) = changed.map_err(|error| refused(error, NO_CONSUMER))?;
        let id = KeyId::from_hex(&id).unwrap_or(KeyId::DEFAULT);
        Ok((consumer, id, is_made.then_some(key)))
    }

    /// Gives a consumer a password in the place of any there is; what rests on that ends.
    ///
    /// # Errors
    /// A password that cannot be one, too many that wait to be hashed, or the store's.
    pub async fn set_basic(
        self,
        act: &Act,
        before: &Consumer,
        NewPassword { password }: NewPassword,
        client: Client,
    ) -> Result<Changed<Consumer>, Refusal> {
        if password.expose().is_empty() || password.expose().len() > passwords::PASSWORD_BYTES_MAX {
            return Err(Refusal::BadInput("password must be 1 to 72 bytes long.".to_owned()));
        }
        let hash = self.passwords.hash(&password, client.address.ip()).await;
        let hash = hash.map_err(|why| match why {
            Some(what) => Refusal::BadInput(format!("password {what}.")),
            None => Refusal::Overloaded("too many passwords wait to be hashed"),
        })?;
        let fingerprint = getrandom::u64().map_err(no_randomness)?;
        let proof = ProofRecord::Basic(PasswordRecord { hash, fingerprint });
        let fresh = self.credential(proof)?;
        self.replace(act, before, fresh, |it| matches!(it, ProofRecord::Basic(_))).await
    }

    /// Says how a consumer's tokens are verified, in the place of what was said; what rests on that
    /// ends.
    ///
    /// # Errors
    /// A key that cannot be one; 422 for an HS secret without a sealing key; or the store's.
    pub async fn set_tokens(
        self,
        act: &Act,
        before: &Consumer,
        wanted: NewTokens,
    ) -> Result<Changed<Consumer>, Refusal> {
        let bad = |what: &str| Refusal::BadInput(what.to_owned());
        let NewTokens { key, algorithm, secret, public_key: pem } = wanted;
        if key.is_empty() || key.len() > CLAIM_BYTES_MAX {
            return Err(bad("key must be 1 to 128 bytes long."));
        }
        let (sealed, public_key) = match (algorithm.is_symmetric(), secret, pem) {
            (true, Some(secret), None) => (Some(self.seal(before, &secret)?), None),
            (false, None, Some(pem)) => {
                if pem.len() > PEM_BYTES_MAX {
                    return Err(bad("public_key must be at most 4096 bytes long."));
                }
                public_key(algorithm, &pem)
                    .map_err(|what| Refusal::BadInput(format!("public_key {what}.")))?;
                (None, Some(pem))
            }
            (true, ..) => return Err(bad("HS algorithms need secret, and no public_key.")),
            (false, ..) => return Err(bad("This algorithm needs public_key, and no secret.")),
        };
        let fingerprint = getrandom::u64().map_err(no_randomness)?;
        let proof = ProofRecord::Jwt { key, algorithm, sealed, public_key, fingerprint };
        let fresh = self.credential(proof)?;
        self.replace(act, before, fresh, |it| matches!(it, ProofRecord::Jwt { .. })).await
    }

    /// Takes a credential away; what rests on it ends.
    ///
    /// # Errors
    /// There is no such credential; or the store's.
    pub async fn remove_credential(
        self,
        act: &Act,
        before: &Consumer,
        id: &str,
    ) -> Result<Changed<Consumer>, Refusal> {
        let change = |record: &mut ConsumerRecord, _: u64| {
            let count = record.credentials.len();
            record.credentials.retain(|credential| credential.id != id);
            if record.credentials.len() == count { Err(NO_CREDENTIAL) } else { Ok(()) }
        };
        self.change_consumer(act, before, change).await
    }

    fn running_by(self, consumer: &Consumer) -> Vec<Arc<Entry>> {
        let of_consumer = |grant: &Grant| matches!(grant, Grant::Consumer { consumer: id, .. } if *id == consumer.id);
        let apis = self.registry.directory().apis_of(consumer.owner);
        // A tenant's are all under one account.
        let accounts: HashSet<TenantId> = apis.iter().map(|api| api.account_id()).collect();
        accounts.into_iter().flat_map(|account| self.running(account, of_consumer)).collect()
    }

    fn end_by(self, before: &Consumer, running: &[Arc<Entry>]) -> usize {
        recheck_consumer(self.live, self.registry, before.id, before.owner);
        count_ended(running)
    }

    fn seal(self, consumer: &Consumer, secret: &Secret) -> Result<String, Refusal> {
        const NO_KEY: Refusal = Refusal::Unprocessable(
            "HS algorithms need a secret that can be read again, and there is no key to seal it \
             with: set sealing_key_file, or take an algorithm with a public key.",
        );
        let sealing = self.registry.sealing().ok_or(NO_KEY)?;
        if !SECRET_BYTES.contains(&secret.expose().len()) {
            return Err(Refusal::BadInput("secret must be 16 to 512 bytes long.".to_owned()));
        }
        let place = sealed_for(&consumer.owner.to_string(), &consumer.username);
        sealing.seal(&place, secret.expose().as_bytes()).map_err(no_randomness)
    }

    fn credential(self, proof: ProofRecord) -> Result<CredentialRecord, Refusal> {
        let id = KeyId::named(getrandom::u64().map_err(no_randomness)?).to_string();
        Ok(CredentialRecord { id, created_unix_ms: self.now().0, proof })
    }

    /// Puts a credential in the place of those of its kind.
    async fn replace(
        self,
        act: &Act,
        before: &Consumer,
        fresh: CredentialRecord,
        is_of_kind: impl Fn(&ProofRecord) -> bool,
    ) -> Result<Changed<Consumer>, Refusal> {
        let change = |record: &mut ConsumerRecord, _: u64| {
            record.credentials.retain(|credential| !is_of_kind(&credential.proof));
            check_room(record)?;
            record.credentials.push(fresh.clone());
            Ok(())
        };
        self.change_consumer(act, before, change).await
    }

    async fn change_consumer(
        self,
        act: &Act,
        before: &Consumer,
        change: impl FnMut(&mut ConsumerRecord, u64) -> Result<(), Refusal>,
    ) -> Result<Changed<Consumer>, Refusal> {
        let running = self.running_by(before);
        let changed = self.registry.change_consumer(act, before.id, change).await;
        let (present, ()) = changed.map_err(|error| refused(error, NO_CONSUMER))?;
        let ended = self.end_by(before, &running);
        tracing::info!(
            consumer = before.username,
            ended,
            what = act.verb,
            by = act.who,
            "consumer changed"
        );
        Ok(Changed { present, ended })
    }
}

fn check_room(record: &ConsumerRecord) -> Result<(), Refusal> {
    match record.credentials.len() < CREDENTIALS_MAX {
        true => Ok(()),
        false => Err(Refusal::Conflicting("The consumer has as many credentials as there can be.")),
    }
}

fn no_randomness(_: getrandom::Error) -> Refusal {
    Refusal::Overloaded("the system has no randomness to give")
}
