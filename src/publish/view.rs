//! APIs and consumers as their owners and operators see them: nothing that opens anything.

use serde::Serialize;
use utoipa::ToSchema;

use super::Publishing;
use crate::api::consumer::{Algorithm, Proof};
use crate::api::{Api, Consumer, Definition, Owner, Security, State};
use crate::live::LiveTable;

/// An API.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ApiView {
    /// 16 hexadecimal digits.
    pub id: String,
    /// As in the API's `ETag`.
    pub revision: u64,
    /// `operator`, or the tenant's id.
    pub owner: String,
    /// The tenant's name, where one owns it and is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub tenant: Option<String>,
    /// The beginning of its paths on the bare host.
    pub path: String,
    /// Where in its life it is.
    pub state: State,
    /// Where it can go from there.
    pub moves: Vec<State>,
    /// An operator has blocked it: its owner can neither change nor remove it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub blocked_by_operator: bool,
    /// For a retired one: when what still runs is cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ends: Option<String>,
    /// What its owner says of it.
    pub definition: Definition,
    /// Connections and plain requests on this replica.
    pub live: usize,
}

/// A consumer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConsumerView {
    /// 16 hexadecimal digits.
    pub id: String,
    /// Changes with every change.
    pub revision: u64,
    /// `operator`, or the tenant's id.
    pub owner: String,
    /// The name; the endpoint gets it as `X-Consumer-Username`.
    pub username: String,
    /// What they can present.
    pub credentials: Vec<CredentialView>,
}

/// A consumer's credential.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CredentialView {
    /// 16 hexadecimal digits; the endpoint gets it as `X-Credential-Identifier`.
    pub id: String,
    /// What an API has to ask for that it opens it.
    pub kind: Security,
    /// When it was made.
    pub created: String,
    /// A long key's last four characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub last_four: Option<String>,
    /// For tokens: the value of their claim `key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub key: Option<String>,
    /// For tokens: how they are signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub algorithm: Option<Algorithm>,
}

impl Publishing<'_> {
    /// An API as it is shown.
    pub async fn show(self, api: &Api) -> ApiView {
        let tenant = match api.owner {
            Owner::Tenant(id) => self.registry.by_id(id).await.ok().flatten(),
            Owner::Operator => None,
        };
        ApiView {
            id: api.id.to_string(),
            revision: api.revision,
            owner: api.owner.to_string(),
            tenant: tenant.map(|tenant| tenant.username.to_string()),
            path: api.prefix.to_string(),
            state: api.state,
            moves: api.state.moves().to_vec(),
            blocked_by_operator: api.blocked_by_operator,
            ends: api.ends_at.map(|end| end.to_string()),
            definition: api.definition.clone(),
            live: running(self.live, api),
        }
    }
}

fn running(live: &LiveTable, api: &Api) -> usize {
    let entries = live.entries_of(api.account_id());
    entries.iter().filter(|entry| entry.grant.api() == Some(api.id)).count()
}

impl ConsumerView {
    /// A consumer as they are shown.
    #[must_use]
    pub fn new(consumer: &Consumer) -> Self {
        let credential = |it: &crate::api::consumer::Credential| {
            let (last_four, key, algorithm) = match &it.proof {
                Proof::Key { hint, .. } => (hint.clone(), None, None),
                Proof::Basic(_) => (None, None, None),
                Proof::Jwt { key, algorithm, .. } => (None, Some(key.clone()), Some(*algorithm)),
            };
            let (id, kind, created) = (it.id.to_string(), it.kind(), it.created_at.to_string());
            CredentialView { id, kind, created, last_four, key, algorithm }
        };
        Self {
            id: consumer.id.to_string(),
            revision: consumer.revision,
            owner: consumer.owner.to_string(),
            username: consumer.username.clone(),
            credentials: consumer.credentials.iter().map(credential).collect(),
        }
    }
}
