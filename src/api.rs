//! Published APIs: flows and other servers that are offered to other people under a context, with
//! consumers of their own.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::UnixMillis;
use crate::close::Cause;
use crate::grant::ApiId;
use crate::tenant::{Tenant, TenantId};

pub mod application;
pub mod consumer;
pub mod context;
mod definition;
pub mod signing;

pub use application::Application;
pub use consumer::Consumer;
pub use context::Prefix;
pub use definition::{Definition, Endpoint, Node, NodeAddress, Security};

/// Who publishes an API; its consumers are theirs, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// Whoever runs this flowgate.
    Operator,
    /// A tenant.
    Tenant(TenantId),
}

impl Owner {
    /// Reads what `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "operator" => Some(Self::Operator),
            id => TenantId::from_hex(id).map(Self::Tenant),
        }
    }
}

/// `operator`, or the tenant's id.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("operator"),
            Self::Tenant(id) => id.fmt(f),
        }
    }
}

/// Where in its life an API is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ApiState)]
pub enum State {
    /// It is being made; nobody can call it.
    Created,
    /// It can be called to try it out, before anybody may subscribe to it.
    Prototyped,
    /// It can be called.
    Published,
    /// For the time being nobody can call it, and whoever did is cut.
    Blocked,
    /// It can be called by whoever does so already; nobody new may subscribe.
    Deprecated,
    /// It is over.
    Retired,
}

impl State {
    /// All there are.
    pub const ALL: [Self; 6] = [
        Self::Created,
        Self::Prototyped,
        Self::Published,
        Self::Blocked,
        Self::Deprecated,
        Self::Retired,
    ];

    /// Where it may go from here.
    #[must_use]
    pub fn moves(self) -> &'static [Self] {
        match self {
            Self::Created => &[Self::Prototyped, Self::Published],
            Self::Prototyped => &[Self::Created, Self::Published],
            Self::Published => &[Self::Created, Self::Prototyped, Self::Blocked, Self::Deprecated],
            Self::Blocked => &[Self::Published, Self::Deprecated],
            Self::Deprecated => &[Self::Retired],
            Self::Retired => &[],
        }
    }

    /// Whether it can be called.
    #[must_use]
    pub fn is_callable(self) -> bool {
        matches!(self, Self::Prototyped | Self::Published | Self::Deprecated)
    }

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Prototyped => "prototyped",
            Self::Published => "published",
            Self::Blocked => "blocked",
            Self::Deprecated => "deprecated",
            Self::Retired => "retired",
        }
    }
}

/// A published API, as requests meet it.
#[derive(Clone, Debug)]
pub struct Api {
    /// Random and permanent.
    pub id: ApiId,
    /// Changes with every change of it.
    pub revision: u64,
    /// Whose it is.
    pub owner: Owner,
    /// What its owner says of it.
    pub definition: Definition,
    /// The beginning of the paths that lead to it.
    pub prefix: Prefix,
    /// Where in its life it is.
    pub state: State,
    /// An operator has blocked it: its owner can neither change nor remove it.
    pub blocked_by_operator: bool,
    /// When what runs on it is cut, once it is retired.
    pub ends_at: Option<UnixMillis>,
    /// Where it leads.
    pub way: Way,
}

/// Where an API leads.
#[derive(Clone, Debug)]
pub enum Way {
    /// To its owner's runtime, at this path below `node_root`.
    Runtime {
        /// Empty, or a path that does not end in a slash.
        path: String,
    },
    /// To one of these.
    Nodes {
        /// In the order of the definition; at least one.
        nodes: Arc<[NodeAddress]>,
        /// The account under which what runs is kept: the API's own, nobody else's.
        account: Arc<Tenant>,
    },
}

impl Api {
    /// Whether what rests on it may begin or go on, and if not, why.
    ///
    /// # Errors
    /// The cause with which connections are closed.
    pub fn allows(&self, now: UnixMillis) -> Result<(), Cause> {
        match self.state {
            State::Prototyped | State::Published | State::Deprecated => Ok(()),
            State::Blocked => Err(Cause::ApiBlocked),
            State::Created => Err(Cause::ApiUnpublished),
            State::Retired if self.ends_at.is_some_and(|end| now < end) => Ok(()),
            State::Retired => Err(Cause::ApiRetired),
        }
    }

    /// Whether it asks for no credential.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.definition.security.contains(&Security::None)
    }

    /// Under whose id what runs is kept in the live table.
    #[must_use]
    pub fn account_id(&self) -> TenantId {
        match (&self.way, self.owner) {
            (Way::Nodes { account, .. }, _) => account.id,
            (Way::Runtime { .. }, Owner::Tenant(id)) => id,
            (Way::Runtime { .. }, Owner::Operator) => account_id(self.id),
        }
    }
}

/// The id of the account that an operator's API has in the live table. No tenant's random id has this
/// half of it.
#[must_use]
pub fn account_id(api: ApiId) -> TenantId {
    TenantId(u128::from(u64::MAX) << 64 | u128::from(api.0))
}

/// Whether an id is that of an operator's API's account.
#[must_use]
pub fn is_account_id(id: TenantId) -> bool {
    id.0 >> 64 == u128::from(u64::MAX)
}

#[cfg(test)]
mod tests;
