//! Tenants and plans as they are stored: JSON documents, and the keys under which they are found.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::UnixMillis;
use crate::grant::KeyId;
use crate::plan::Plan;
use crate::registry::store::{Document, Kind, StoreError};
use crate::secret::SecretDigest;
use crate::tenant::nodes::{Nodes, Probe};
use crate::tenant::{
    ApiKey, Instance, InstanceTls, OnChange, Password, PreviousSecret, Provider, RetiredKey,
    Tenant, TenantId, Username,
};

/// Documents that are tenants, by id.
pub const TENANT: Kind = Kind("tenant");
/// Documents that are plans, by name.
pub const PLAN: Kind = Kind("plan");
/// Documents that are published APIs, by id.
pub const API: Kind = Kind("api");
/// Documents that are consumers of published APIs, by id.
pub const CONSUMER: Kind = Kind("consumer");
/// Documents that are applications, by id.
pub const APPLICATION: Kind = Kind("application");
/// The document that holds the keys by which access tokens are signed.
pub const SIGNING: Kind = Kind("signing");
/// Documents that are revoked access tokens, by id.
pub const REVOCATION: Kind = Kind("revocation");
/// Documents that are browser sessions, by their secret's digest.
pub const SESSION: Kind = Kind("session");
/// Documents that are audit entries. Their ids sort the newest first.
pub const AUDIT: Kind = Kind("audit");
/// The document that marks a registry as a copy of another.
pub const COPY: Kind = Kind("copy");
/// A process that shares the registry.
pub const REPLICA: Kind = Kind("replica");
/// A question to all of them; only its notice is there.
pub const ASK: Kind = Kind("ask");
/// An order to close a connection; only its notice is there.
pub const CLOSE: Kind = Kind("close");

/// The kinds that make up a registry: what a copy takes along and a check goes through. What one of
/// them refers to comes before it.
pub const LASTING: [Kind; 9] =
    [PLAN, TENANT, API, CONSUMER, APPLICATION, SIGNING, REVOCATION, SESSION, AUDIT];
/// The other kinds: about one registry, or one process.
pub const PASSING: [Kind; 4] = [COPY, REPLICA, ASK, CLOSE];

/// What is stored of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantRecord {
    /// See [`Tenant::username`].
    pub username: String,
    /// The password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordRecord>,
    /// The default key, if there is one, and the named ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyRecord>,
    /// See [`Tenant::retired`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<RetiredRecord>,
    /// The plan's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The runtime, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceRecord>,
    /// See [`Tenant::allowed_origins`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<String>,
    /// See [`Tenant::disabled`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
}

/// What is stored of a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordRecord {
    /// bcrypt's.
    pub hash: String,
    /// See [`Password::from_hash`].
    pub fingerprint: u64,
}

/// What is stored of an API key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// 16 hexadecimal digits; zero for the default key.
    pub id: String,
    /// Absent for the default key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The secret's SHA-256 digest in hexadecimal digits.
    pub sha256: String,
    /// The secret's last four characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// When the secret was made, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// When it stops working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_unix_ms: Option<u64>,
    /// The paths below `node_root` that it opens; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
    /// The secret before the last rotation, while both work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousRecord>,
}

/// A secret that was rotated away and still works for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviousRecord {
    /// As in [`KeyRecord::sha256`].
    pub sha256: String,
    /// When it stops working.
    pub until_unix_ms: u64,
}

/// A secret that opens nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetiredRecord {
    /// As in [`KeyRecord::sha256`].
    pub sha256: String,
    /// See [`RetiredKey::at`].
    pub at_unix_ms: u64,
    /// See [`RetiredKey::is_revoked`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revoked: bool,
}

/// See [`Instance`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceRecord {
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Empty, or a path.
    pub node_root: String,
    /// A path, or `null`.
    pub admin_root: Option<String>,
    /// Present if TLS is spoken with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsRecord>,
    /// See [`Instance::on_change`].
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_change: OnChange,
    /// Absent for a registered address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessRecord>,
    /// Present for a workload in Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<ProcessRecord>,
    /// Further addresses of the same runtime.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<NodeRecord>,
    /// How its addresses are probed, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeRecord>,
}

/// A further address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeRecord {
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// See [`Probe`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeRecord {
    /// A path that each node answers, with anything below 500, while it is well.
    pub path: String,
    /// Between two questions, 1 to 3600; 10 if nothing is said.
    #[serde(default = "ten")]
    #[schema(minimum = 1, maximum = 3600)]
    pub every_seconds: u32,
}

fn ten() -> u32 {
    10
}

/// See [`Provider::Process`] and [`Provider::Kubernetes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessRecord {
    /// Whether requests without a credential start it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub public_wake: bool,
}

fn is_default(on_change: &OnChange) -> bool {
    *on_change == OnChange::default()
}

impl InstanceRecord {
    /// Who owns the runtime's life.
    #[must_use]
    pub fn provider(&self) -> Provider {
        match (self.process, self.kubernetes) {
            (Some(ProcessRecord { public_wake }), _) => Provider::Process { public_wake },
            (_, Some(ProcessRecord { public_wake })) => Provider::Kubernetes { public_wake },
            (None, None) => Provider::Static,
        }
    }

    /// All addresses, if there are several. With an editor one is used as long as it is up.
    fn nodes(&self) -> Option<Arc<Nodes>> {
        if self.others.is_empty() {
            return None;
        }
        let others = self.others.iter().map(|node| (node.host.clone(), node.port));
        let places = std::iter::once((self.host.clone(), self.port)).chain(others).collect();
        let probe = self.probe.as_ref().map(|probe| Probe {
            path: probe.path.clone(),
            every: Duration::from_secs(probe.every_seconds.into()),
        });
        Some(Arc::new(Nodes::new(places, self.admin_root.is_none(), probe)))
    }

    fn to_instance(&self) -> Instance {
        Instance {
            host: self.host.clone(),
            port: self.port,
            node_root: self.node_root.clone(),
            admin_root: self.admin_root.clone(),
            tls: self.tls.as_ref().map(|tls| InstanceTls {
                ca_pem: tls.ca_pem.clone(),
                server_name: tls.server_name.clone(),
            }),
            on_change: self.on_change,
            provider: self.provider(),
            nodes: self.nodes(),
            network: None,
        }
    }
}

/// See [`InstanceTls`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsRecord {
    /// Kept here and not in a file: replicas have different disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<Arc<str>>,
    /// A host name or IP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

impl TenantRecord {
    /// The keys under which the tenant is found: the name, and every secret's digest, those of
    /// retired ones as well.
    #[must_use]
    pub fn indexes(&self) -> Vec<String> {
        let secrets = self.keys.iter().flat_map(KeyRecord::digests);
        let secrets = secrets.chain(self.retired.iter().map(|retired| retired.sha256.as_str()));
        let mut indexes: Vec<String> = secrets.map(|sha256| format!("key:{sha256}")).collect();
        indexes.push(username_index(&self.username));
        indexes
    }

    /// The retired secrets that none of these keys has.
    #[must_use]
    pub fn retired_beside(&self, keys: &[KeyRecord]) -> Vec<RetiredRecord> {
        let is_had = |sha256: &str| keys.iter().flat_map(KeyRecord::digests).any(|it| it == sha256);
        self.retired.iter().filter(|retired| !is_had(&retired.sha256)).cloned().collect()
    }

    /// The stored form.
    ///
    /// # Errors
    /// None that a record can cause.
    pub fn to_body(&self) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(self).map_err(|error| StoreError::Corrupt(error.to_string()))
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// It is none.
    pub fn from_body(body: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(body).map_err(|error| StoreError::Corrupt(error.to_string()))
    }

    /// The tenant that a document holds. `plan` is the one that the record names.
    ///
    /// # Errors
    /// A field that cannot be what was once written.
    pub fn to_tenant(
        &self,
        id: TenantId,
        revision: u64,
        plan: Arc<Plan>,
    ) -> Result<Tenant, StoreError> {
        let corrupt = |field: &str| StoreError::Corrupt(format!("tenant {id}: bad {field}"));
        let username = Username::parse(&self.username).map_err(|_| corrupt("username"))?;
        let keys = self.keys.iter().map(|key| key.to_key().ok_or_else(|| corrupt("key")));
        let retired = self.retired.iter();
        let retired = retired.map(|retired| retired.to_key().ok_or_else(|| corrupt("retired key")));
        Ok(Tenant {
            id,
            revision,
            username,
            password: self
                .password
                .as_ref()
                .map(|password| Password::from_hash(&password.hash, password.fingerprint)),
            keys: keys.collect::<Result<_, _>>()?,
            retired: retired.collect::<Result<_, _>>()?,
            plan_name: self.plan.clone(),
            plan,
            instance: self.instance.as_ref().map(|instance| Arc::new(instance.to_instance())),
            allowed_origins: self.allowed_origins.clone(),
            disabled: self.disabled,
        })
    }
}

impl RetiredRecord {
    fn to_key(&self) -> Option<RetiredKey> {
        Some(RetiredKey {
            digest: SecretDigest::from_hex(&self.sha256)?,
            at: UnixMillis(self.at_unix_ms),
            is_revoked: self.revoked,
        })
    }
}

impl KeyRecord {
    /// The digests of all secrets that may still work.
    pub fn digests(&self) -> impl Iterator<Item = &str> {
        let previous = self.previous.iter().map(|previous| previous.sha256.as_str());
        previous.chain([self.sha256.as_str()])
    }

    fn to_key(&self) -> Option<ApiKey> {
        let previous = match &self.previous {
            Some(previous) => Some(PreviousSecret {
                digest: SecretDigest::from_hex(&previous.sha256)?,
                until: UnixMillis(previous.until_unix_ms),
            }),
            None => None,
        };
        Some(ApiKey {
            id: KeyId::from_hex(&self.id)?,
            name: self.name.clone(),
            digest: SecretDigest::from_hex(&self.sha256)?,
            hint: self.hint.clone(),
            created_at: UnixMillis(self.created_unix_ms),
            expires_at: self.expires_unix_ms.map(UnixMillis),
            scope: self.scope.clone(),
            previous,
        })
    }
}

/// The tenant's id that a document has.
///
/// # Errors
/// It is none.
pub fn tenant_id(document: &Document) -> Result<TenantId, StoreError> {
    TenantId::from_hex(&document.id)
        .ok_or_else(|| StoreError::Corrupt(format!("{:?} is no tenant's id", document.id)))
}

/// The index key of a username.
#[must_use]
pub fn username_index(username: &str) -> String {
    format!("username:{username}")
}

/// The index key of an API key.
#[must_use]
pub fn key_index(digest: SecretDigest) -> String {
    format!("key:{}", digest.to_hex())
}
