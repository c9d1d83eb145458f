//! How a runtime is reached, and who owns its life.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::nodes::Nodes;
use crate::own_network::Network;

/// How a runtime is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Node-RED's `httpNodeRoot`: empty, or a path with a leading and no trailing slash.
    pub node_root: String,
    /// Node-RED's `httpAdminRoot`, in the same form; `None` for a runtime without editor and admin API.
    pub admin_root: Option<String>,
    /// How TLS is spoken with it, if it is.
    pub tls: Option<InstanceTls>,
    /// What becomes of what runs when the tenant gets this instance in place of another.
    pub on_change: OnChange,
    /// Who owns the runtime's life.
    pub provider: Provider,
    /// The nodes of a runtime at several addresses, of which host and port are the first.
    pub nodes: Option<Arc<Nodes>>,
    /// The network in which it is reached, if that is not ours: of a process that runs.
    pub network: Option<Network>,
}

/// Who owns a runtime's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provider {
    /// Somebody else: it is at a registered address.
    #[default]
    Static,
    /// flowgate: a process of its own on one machine, whose port is known while it runs. The instance's
    /// host is loopback and its port 0.
    Process {
        /// Whether requests without a credential start it.
        public_wake: bool,
    },
    /// flowgate: a workload of its own in Kubernetes, reached by the name of its Service, which is known
    /// while it runs. The instance's host is loopback and its port 0.
    Kubernetes {
        /// Whether requests without a credential start it.
        public_wake: bool,
    },
}

/// How TLS is spoken with a runtime. Its certificate is verified in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceTls {
    /// The authorities that may have signed its certificate, in PEM; `None` for the public ones.
    pub ca_pem: Option<Arc<str>>,
    /// The name that is asked for and verified; `None` for the host's.
    pub server_name: Option<String>,
}

/// What becomes of live connections and running exchanges when a tenant's instance changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnChange {
    /// They stay on the old one until either side ends them.
    #[default]
    Keep,
    /// They end with 1012, so that their clients come again and reach the new one.
    Move,
}

impl Instance {
    /// Whether a request finds the same under the other one: same address, same roots.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        // Named one by one: whoever adds a member decides what it means here.
        let Self {
            host,
            port,
            node_root,
            admin_root,
            tls,
            on_change: _,
            provider,
            nodes,
            network: _,
        } = self;
        (host, port, tls, nodes) == (&other.host, &other.port, &other.tls, &other.nodes)
            && (node_root, admin_root) == (&other.node_root, &other.admin_root)
            && provider.is_like(other.provider)
    }

    /// Whether a path that was made for the other one is right for this one.
    #[must_use]
    pub fn has_roots_of(&self, other: &Self) -> bool {
        (&self.node_root, &self.admin_root) == (&other.node_root, &other.admin_root)
    }
}

impl Provider {
    /// Whether flowgate starts and stops it.
    #[must_use]
    pub fn is_owned(self) -> bool {
        self != Self::Static
    }

    /// Whether it runs on when the flowgate that started it ends.
    #[must_use]
    pub fn outlives_flowgate(self) -> bool {
        matches!(self, Self::Kubernetes { .. })
    }

    /// Whether requests without a credential start it.
    #[must_use]
    pub fn public_wake(self) -> bool {
        match self {
            Self::Static => false,
            Self::Process { public_wake } | Self::Kubernetes { public_wake } => public_wake,
        }
    }

    /// Whether it is the same, whatever else is said of it.
    #[must_use]
    pub fn is_like(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.provider.is_owned() && self.port == 0 {
            return f.write_str(match self.provider {
                Provider::Kubernetes { .. } => "a workload of flowgate's in Kubernetes",
                Provider::Process { .. } | Provider::Static => "a process of flowgate's",
            });
        }
        if let Some(nodes) = &self.nodes {
            write!(f, "{} nodes from ", nodes.places().count())?;
        }
        if self.tls.is_some() {
            f.write_str("https://")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
