//! What an API's owner says of it.

use std::fmt;
use std::sync::Arc;

use http::Uri;
use http::header::HeaderValue;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Owner;
use super::context::Prefix;
use crate::tenant::{Instance, host_and_port};

const NAME_BYTES_MAX: usize = 128;
/// Nodes of an API.
pub const NODES_MAX: usize = 16;
const WEIGHT_MAX: u32 = 1000;
const URL_BYTES_MAX: usize = 1024;
const PLANS_MAX: usize = 32;
const PLAN_BYTES_MAX: usize = 64;

/// What a caller has to present. One of several is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ApiSecurity)]
pub enum Security {
    /// Nothing. Stands alone.
    None,
    /// A consumer's key: header or query parameter `apikey`.
    Key,
    /// A consumer's name and password.
    Basic,
    /// A token that a consumer has signed.
    Jwt,
    /// An access token of a subscribed application.
    Oauth2,
}

/// An API as its owner describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ApiDefinition)]
pub struct Definition {
    /// A name for people.
    #[schema(max_length = 128, example = "EchoWebSocket")]
    pub name: String,
    /// The beginning of its paths, as in `/echowebsocket`; `/` is an operator's.
    #[schema(max_length = 128, example = "/echowebsocket")]
    pub context: String,
    /// Follows the context, as in `1.0.0`. Only an operator's API has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 32, example = "1.0.0")]
    pub version: Option<String>,
    /// Where it leads.
    pub endpoint: Endpoint,
    /// What a caller has to present; one of these.
    #[schema(min_items = 1)]
    pub security: Vec<Security>,
    /// Whether the credential is kept from the endpoint. OAuth tokens always are.
    #[serde(default = "yes")]
    pub hide_credentials: bool,
    /// The plans with which applications may subscribe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<String>,
}

fn yes() -> bool {
    true
}

/// Where an API leads: an operator's to nodes, a tenant's to a path of their runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ApiEndpoint)]
pub struct Endpoint {
    /// Servers that answer alike. An operator's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Node>,
    /// The name that the nodes' certificates are for and that is asked for by SNI; else each node's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub server_name: Option<String>,
    /// The Host header that the nodes get; else each node's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub host: Option<String>,
    /// The only authorities to trust for the nodes' certificates, in PEM; else the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ca_pem: Option<String>,
    /// A path below `node_root` of the owner's own runtime. A tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "/thing")]
    pub runtime_path: Option<String>,
}

/// One of several servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ApiNode)]
pub struct Node {
    /// `ws://`, `wss://`, `http://` or `https://`, a host, and perhaps a port and a path.
    #[schema(example = "wss://echo.example.org")]
    pub url: String,
    /// Its share of the calls against the others', 1 to 1000; 1 if nothing is said.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 1000)]
    pub weight: u32,
}

fn one() -> u32 {
    1
}

/// A node, as it is dialled.
#[derive(Clone, Debug)]
pub struct NodeAddress {
    /// Where it is. Its roots say nothing.
    pub instance: Arc<Instance>,
    /// What its paths begin with: empty, or a path that does not end in a slash.
    pub base: String,
    /// The Host header.
    pub host: HeaderValue,
    /// Its share.
    pub weight: u32,
}

/// Where a URL leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// TLS is spoken there.
    pub is_secure: bool,
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Host and port as the URL has them.
    pub authority: String,
    /// Empty, or a path that does not end in a slash.
    pub base: String,
}

impl Node {
    /// Takes the URL apart.
    ///
    /// # Errors
    /// It is none, or has something that is of no use here. The URL itself is not repeated: it may
    /// hold a password.
    pub fn location(&self) -> Result<Location, &'static str> {
        const BAD: &str =
            "a node's url must be like \"wss://echo.example.org\", perhaps with a port and a path";
        if self.url.len() > URL_BYTES_MAX {
            return Err("a node's url must be at most 1024 bytes long");
        }
        let uri: Uri = self.url.parse().map_err(|_| BAD)?;
        let authority = uri.authority().ok_or(BAD)?;
        let (is_secure, default_port) = match uri.scheme_str() {
            Some("ws" | "http") => (false, 80),
            Some("wss" | "https") => (true, 443),
            _ => return Err(BAD),
        };
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err("a node's url must have neither a login nor a query");
        }
        let (host, port) = host_and_port(authority, default_port);
        if port == 0 {
            return Err("a node's port must be 1 to 65535");
        }
        if host.is_empty() {
            return Err(BAD);
        }
        let base = uri.path().trim_end_matches('/').to_owned();
        let authority = authority.as_str().to_owned();
        Ok(Location { is_secure, host, port, authority, base })
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.instance, self.base)
    }
}

impl Definition {
    /// Says what is wrong with it, as far as that can be said without looking at anything else.
    ///
    /// # Errors
    /// What is wrong, as a whole sentence.
    pub fn check(&self, owner: Owner) -> Result<Prefix, String> {
        let name = self.name.trim();
        if name.is_empty() || self.name.len() > NAME_BYTES_MAX || has_control(&self.name) {
            return Err("The name must be 1 to 128 bytes of text.".to_owned());
        }
        let prefix = Prefix::new(&self.context, self.version.as_deref(), owner)?;
        self.check_security()?;
        let is_plan = |plan: &String| (1..=PLAN_BYTES_MAX).contains(&plan.len());
        if self.plans.len() > PLANS_MAX || !self.plans.iter().all(is_plan) {
            return Err("plans must be at most 32 names of plans.".to_owned());
        }
        self.endpoint.check(owner)?;
        Ok(prefix)
    }

    fn check_security(&self) -> Result<(), String> {
        let security = &self.security;
        let repeats = |kind: &Security| security.iter().filter(|other| *other == kind).count() > 1;
        if security.is_empty() {
            return Err(
                "security must say what a caller has to present: none, key, basic, jwt or \
                 oauth2."
                    .to_owned(),
            );
        }
        if security.iter().any(repeats) {
            return Err("security names something twice.".to_owned());
        }
        if security.contains(&Security::None) && security.len() > 1 {
            return Err("security \"none\" stands alone.".to_owned());
        }
        Ok(())
    }
}

impl Endpoint {
    fn check(&self, owner: Owner) -> Result<(), String> {
        match (owner, &self.runtime_path) {
            (Owner::Tenant(_), Some(path)) if self.is_only_a_path() => check_runtime_path(path),
            (Owner::Tenant(_), _) => Err("endpoint must be {\"runtime_path\": \"/…\"}, a path of \
                 your own runtime: addresses are an operator's."
                .to_owned()),
            (Owner::Operator, Some(_)) => {
                Err("endpoint.runtime_path is for a tenant's API.".to_owned())
            }
            (Owner::Operator, None) => self.check_nodes(),
        }
    }

    fn is_only_a_path(&self) -> bool {
        let Self { nodes, server_name, host, ca_pem, runtime_path: _ } = self;
        nodes.is_empty() && server_name.is_none() && host.is_none() && ca_pem.is_none()
    }

    fn check_nodes(&self) -> Result<(), String> {
        if !(1..=NODES_MAX).contains(&self.nodes.len()) {
            return Err("endpoint.nodes must be 1 to 16 nodes.".to_owned());
        }
        for node in &self.nodes {
            let location = node.location().map_err(|what| format!("endpoint: {what}."))?;
            check_path(&location.base)
                .map_err(|what| format!("endpoint: a node's path {what}."))?;
            if !(1..=WEIGHT_MAX).contains(&node.weight) {
                return Err("endpoint: a node's weight must be 1 to 1000.".to_owned());
            }
        }
        let is_host = |host: &String| {
            host.parse::<http::uri::Authority>().is_ok_and(|host| !host.as_str().contains('@'))
        };
        if self.host.as_ref().is_some_and(|host| !is_host(host)) {
            return Err("endpoint.host must be a host name, perhaps with a port.".to_owned());
        }
        Ok(())
    }
}

fn check_runtime_path(path: &str) -> Result<(), String> {
    if path.len() > URL_BYTES_MAX || !path.starts_with('/') {
        return Err("endpoint.runtime_path must begin with a slash.".to_owned());
    }
    check_path(path).map_err(|what| format!("endpoint.runtime_path {what}."))
}

/// What a path that others are joined to may be made of.
fn check_path(path: &str) -> Result<(), &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,=:@".contains(&byte);
    if !path.bytes().all(is_plain) {
        return Err("must be plain: letters, digits, and none of % ; ? #");
    }
    if path.contains("//") || path.split('/').any(|segment| segment == "." || segment == "..") {
        return Err("must have neither empty nor dot segments");
    }
    Ok(())
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}
