//! APIs and consumers as they are stored.

use std::sync::Arc;

use http::header::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::keeping::Record;
use crate::api::consumer::{Algorithm, Credential, Proof, PublicKey, Verifier};
use crate::api::{
    Api, Consumer, Definition, NodeAddress, Owner, Prefix, State, Way, account_id, consumer,
};
use crate::clock::UnixMillis;
use crate::grant::{ApiId, ConsumerId, KeyId};
use crate::registry::record::{API, CONSUMER, PasswordRecord};
use crate::registry::store::{Kind, StoreError};
use crate::secret::SecretDigest;
use crate::tenant::{Instance, InstanceTls, OnChange, Password, Provider, Tenant};
use crate::tls::runtimes::{authorities, server_name};

pub mod application;

/// What is stored of an API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiRecord {
    /// `operator`, or a tenant's id.
    pub owner: String,
    /// What the owner says of it.
    pub definition: Definition,
    /// Where in its life it is.
    pub state: State,
    /// An operator has blocked it, so that its owner cannot publish it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blocked_by_operator: bool,
    /// When what runs on it is cut, once it is retired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_unix_ms: Option<u64>,
    /// When it was made.
    pub created_unix_ms: u64,
}

impl Record for ApiRecord {
    const KIND: Kind = API;

    fn indexes(&self) -> Vec<String> {
        let Definition { context, version, .. } = &self.definition;
        let owner = Owner::parse(&self.owner).unwrap_or(Owner::Operator);
        let prefix = Prefix::new(context, version.as_deref(), owner);
        // What cannot be one is found by none; it cannot be written either.
        prefix.map(|prefix| format!("prefix:{prefix}")).into_iter().collect()
    }

    fn audited(&self) -> Value {
        json!({
            "owner": self.owner,
            "definition": self.definition,
            "state": self.state,
            "blocked_by_operator": self.blocked_by_operator,
            "ends": self.ends_unix_ms.map(|end| UnixMillis(end).to_string()),
        })
    }
}

impl ApiRecord {
    /// Says what is wrong with a definition.
    ///
    /// # Errors
    /// What is wrong, as a whole sentence.
    pub fn check(definition: &Definition, owner: Owner) -> Result<(), String> {
        definition.check(owner)?;
        let endpoint = &definition.endpoint;
        if let Some(ca_pem) = &endpoint.ca_pem {
            authorities(ca_pem).map_err(|what| format!("endpoint.ca_pem {what}."))?;
        }
        if let Some(name) = &endpoint.server_name {
            server_name(name).map_err(|what| format!("endpoint.server_name {what}."))?;
        }
        addresses(definition).map(|_| ())
    }

    /// The API that a document holds.
    ///
    /// # Errors
    /// A field that cannot be what was once written.
    pub fn to_api(&self, id: ApiId, revision: u64) -> Result<Api, StoreError> {
        let corrupt = |what: String| StoreError::Corrupt(format!("API {id}: {what}"));
        let owner = Owner::parse(&self.owner).ok_or_else(|| corrupt("bad owner".to_owned()))?;
        let prefix = self.definition.check(owner).map_err(corrupt)?;
        let way = match &self.definition.endpoint.runtime_path {
            Some(path) => Way::Runtime { path: path.trim_end_matches('/').to_owned() },
            None => Way::Nodes {
                nodes: addresses(&self.definition).map_err(corrupt)?,
                account: Arc::new(Tenant::of_operator(account_id(id))),
            },
        };
        Ok(Api {
            id,
            revision,
            owner,
            definition: self.definition.clone(),
            prefix,
            state: self.state,
            blocked_by_operator: self.blocked_by_operator,
            ends_at: self.ends_unix_ms.map(UnixMillis),
            way,
        })
    }
}

/// Where the nodes are, as they are dialled.
fn addresses(definition: &Definition) -> Result<Arc<[NodeAddress]>, String> {
    let endpoint = &definition.endpoint;
    let ca_pem: Option<Arc<str>> = endpoint.ca_pem.as_deref().map(Arc::from);
    let address = |node: &crate::api::Node| {
        let location = node.location().map_err(|what| format!("endpoint: {what}."))?;
        let host = endpoint.host.as_ref().unwrap_or(&location.authority);
        let host = HeaderValue::from_str(host);
        let tls = location.is_secure.then(|| InstanceTls {
            ca_pem: ca_pem.clone(),
            server_name: endpoint.server_name.clone(),
        });
        if tls.is_some() && endpoint.server_name.is_none() {
            server_name(&location.host)
                .map_err(|what| format!("endpoint: a node's host {what}."))?;
        }
        let instance = Instance {
            host: location.host,
            port: location.port,
            node_root: String::new(),
            admin_root: None,
            tls,
            on_change: OnChange::Keep,
            provider: Provider::Static,
            nodes: None,
            network: None,
        };
        Ok(NodeAddress {
            instance: Arc::new(instance),
            base: location.base,
            host: host.map_err(|_| "endpoint.host must be a host name.".to_owned())?,
            weight: node.weight,
        })
    };
    endpoint.nodes.iter().map(address).collect()
}

/// What is stored of a consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerRecord {
    /// `operator`, or a tenant's id.
    pub owner: String,
    /// See [`Consumer::username`].
    pub username: String,
    /// What they can present.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<CredentialRecord>,
    /// When they were made.
    pub created_unix_ms: u64,
}

/// What is stored of a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialRecord {
    /// 16 hexadecimal digits.
    pub id: String,
    /// When it was made.
    pub created_unix_ms: u64,
    /// What is checked.
    pub proof: ProofRecord,
}

/// What is stored of what is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum ProofRecord {
    /// A key.
    Key {
        /// Its SHA-256 digest in hexadecimal digits.
        sha256: String,
        /// Its last four characters, where it is long enough.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// A password.
    Basic(PasswordRecord),
    /// Tokens.
    Jwt {
        /// The value of the claim `key`.
        key: String,
        /// How they are signed.
        algorithm: Algorithm,
        /// The secret, sealed; for HS algorithms.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sealed: Option<String>,
        /// The public key in PEM; for the others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        public_key: Option<String>,
        /// Random for each new credential.
        fingerprint: u64,
    },
}

impl Record for ConsumerRecord {
    const KIND: Kind = CONSUMER;

    fn indexes(&self) -> Vec<String> {
        let owner = &self.owner;
        let of_credential = |credential: &CredentialRecord| match &credential.proof {
            ProofRecord::Key { sha256, .. } => Some(format!("key:{owner}:{sha256}")),
            // A digest, since the claim may be longer than an index.
            ProofRecord::Jwt { key, .. } => {
                let digest = SecretDigest::of(&crate::secret::Secret::new(key.clone()));
                Some(format!("claim:{owner}:{}", digest.to_hex()))
            }
            ProofRecord::Basic(_) => None,
        };
        let mut indexes: Vec<String> = self.credentials.iter().filter_map(of_credential).collect();
        indexes.push(format!("name:{owner}:{}", self.username));
        indexes
    }

    fn audited(&self) -> Value {
        let of_credential = |credential: &CredentialRecord| match &credential.proof {
            ProofRecord::Key { hint, .. } => {
                json!({ "id": credential.id, "kind": "key", "last_four": hint })
            }
            ProofRecord::Basic(_) => json!({ "id": credential.id, "kind": "basic" }),
            ProofRecord::Jwt { key, algorithm, .. } => {
                json!({ "id": credential.id, "kind": "jwt", "key": key, "algorithm": algorithm })
            }
        };
        json!({
            "owner": self.owner,
            "username": self.username,
            "credentials": self.credentials.iter().map(of_credential).collect::<Vec<_>>(),
        })
    }
}

impl ConsumerRecord {
    /// The consumer that a document holds.
    ///
    /// # Errors
    /// A field that cannot be what was once written.
    pub fn to_consumer(&self, id: ConsumerId, revision: u64) -> Result<Consumer, StoreError> {
        let corrupt = |what: &str| StoreError::Corrupt(format!("consumer {id}: bad {what}"));
        let owner = Owner::parse(&self.owner).ok_or_else(|| corrupt("owner"))?;
        if !consumer::is_name(&self.username) {
            return Err(corrupt("username"));
        }
        let credentials = self.credentials.iter();
        let credentials =
            credentials.map(|it| it.to_credential().ok_or_else(|| corrupt("credential")));
        Ok(Consumer {
            id,
            revision,
            owner,
            username: self.username.clone(),
            credentials: credentials.collect::<Result<_, _>>()?,
        })
    }
}

impl CredentialRecord {
    fn to_credential(&self) -> Option<Credential> {
        let proof = match &self.proof {
            ProofRecord::Key { sha256, hint } => {
                Proof::Key { digest: SecretDigest::from_hex(sha256)?, hint: hint.clone() }
            }
            ProofRecord::Basic(password) => {
                Proof::Basic(Password::from_hash(&password.hash, password.fingerprint))
            }
            ProofRecord::Jwt { key, algorithm, sealed, public_key, fingerprint } => Proof::Jwt {
                key: key.clone(),
                algorithm: *algorithm,
                verifier: match (algorithm.is_symmetric(), sealed, public_key) {
                    (true, Some(sealed), None) => Verifier::Sealed(sealed.clone()),
                    (false, None, Some(pem)) => Verifier::PublicKey(PublicKey::new(pem.clone())),
                    _ => return None,
                },
                fingerprint: *fingerprint,
            },
        };
        let created_at = UnixMillis(self.created_unix_ms);
        Some(Credential { id: KeyId::from_hex(&self.id)?, proof, created_at })
    }
}
