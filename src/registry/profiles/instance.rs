//! A profile's instance: address and roots.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::path::is_under;
use crate::registry::record::InstanceRecord;

/// The instance as the file has it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InstanceProfile {
    /// `http://`, a host name or an IP address, and a port.
    address: String,
    /// Node-RED's `httpNodeRoot`: empty, or a path like `/api`.
    #[serde(default)]
    node_root: String,
    /// `null` has to be said: an editor that nobody thought of would be open to all.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required)]
    admin_root: Option<String>,
}

impl InstanceProfile {
    /// The instance, if every field is good.
    pub fn check(&self, fault: &mut dyn FnMut(&str, &str)) -> Option<InstanceRecord> {
        let mut is_root = |field: &str, root: &str| {
            let is_good = root.starts_with('/')
                && !root.ends_with('/')
                && root.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#%\\;".contains(&byte))
                && !root.split('/').skip(1).any(|segment| matches!(segment, "" | "." | ".."));
            if !is_good {
                fault(field, "must be a plain path like \"/red\", without a slash at its end");
            }
            is_good
        };
        let mut is_good =
            self.node_root.is_empty() || is_root("instance.node_root", &self.node_root);
        if let Some(admin_root) = &self.admin_root {
            if admin_root == "/" || admin_root.is_empty() || is_under(&self.node_root, admin_root) {
                fault("instance.admin_root", ADMIN_ROOT_ADVICE);
                is_good = false;
            } else {
                is_good &= is_root("instance.admin_root", admin_root);
            }
        }
        let address = parse_address(&self.address);
        if let Err(what) = address {
            fault("instance.address", what);
        }
        let (host, port) = address.ok().filter(|_| is_good)?;
        Some(InstanceRecord {
            host,
            port,
            node_root: self.node_root.clone(),
            admin_root: self.admin_root.clone(),
        })
    }
}

/// What to do about it.
pub const ADMIN_ROOT_ADVICE: &str = "must not be, or contain, node_root: the flows' paths would open the editor; \
     in the runtime's settings.js set e.g. httpAdminRoot: \"/red\" and httpNodeRoot: \"/api\"";

/// Host and port. The text itself is not repeated in the fault: it may hold a password.
fn parse_address(address: &str) -> Result<(String, u16), &'static str> {
    const HTTP_PORT: u16 = 80;
    const BAD: &str = "must be like \"http://127.0.0.1:1880\", without a path";
    let uri: http::Uri = address.parse().map_err(|_| BAD)?;
    let authority = uri.authority().ok_or(BAD)?;
    if uri.scheme_str() == Some("https") {
        return Err("must begin with http://: runtimes are not dialled with TLS");
    }
    let has_path = !matches!(uri.path(), "" | "/") || uri.query().is_some();
    if uri.scheme_str() != Some("http") || has_path || authority.as_str().contains('@') {
        return Err(BAD);
    }
    let port = match authority.as_str().strip_prefix(authority.host()) {
        Some("") => HTTP_PORT,
        // `Authority::port` is silent about a number that is none, and so would be the port 80.
        Some(rest) if rest.bytes().skip(1).all(|byte| byte.is_ascii_digit()) => {
            rest[1..].parse().unwrap_or(0)
        }
        _ => 0,
    };
    if port == 0 {
        return Err("must have a port from 1 to 65535");
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    match host.is_empty() {
        false => Ok((host, port)),
        true => Err(BAD),
    }
}
