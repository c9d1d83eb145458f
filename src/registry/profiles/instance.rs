//! A profile's instance: address, roots, and the trust in its certificate.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::path::is_under;
use crate::registry::record::{InstanceRecord, TlsRecord};
use crate::tenant::{OnChange, host_and_port};
use crate::tls::runtimes::{CA_PEM_BYTES_MAX, authorities, server_name};

/// The instance as the file has it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InstanceProfile {
    /// `http://` or `https://`, a host name or an IP address, and a port.
    address: String,
    /// Node-RED's `httpNodeRoot`: empty, or a path like `/api`.
    #[serde(default)]
    node_root: String,
    /// `null` has to be said: an editor that nobody thought of would be open to all.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required)]
    admin_root: Option<String>,
    /// What becomes of live connections when it changes.
    #[serde(default)]
    on_change: OnChange,
    /// How its certificate is verified, for `https://`.
    tls: Option<TlsProfile>,
}

/// How to verify the runtime's certificate, if not by its host's name and the public authorities.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsProfile {
    /// A file in PEM, read when the profile is.
    ca_file: Option<String>,
    /// The only authorities to trust, in PEM.
    ca_pem: Option<String>,
    /// The name that the certificate has to have.
    server_name: Option<String>,
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
        let (is_https, host, port) = address.ok().filter(|_| is_good)?;
        let tls = match (is_https, &self.tls) {
            (false, None) => None,
            (false, Some(_)) => {
                fault("instance.tls", "is for an address that begins with https://");
                return None;
            }
            (true, tls) => Some(tls.as_ref().map_or(Ok(TlsRecord::default()), TlsProfile::check)),
        };
        let tls = match tls.transpose() {
            Ok(tls) => tls,
            Err((field, what)) => {
                fault(field, &what);
                return None;
            }
        };
        if let Some(tls) = &tls
            && tls.server_name.is_none()
            && let Err(what) = server_name(&host)
        {
            fault("instance.address", what);
            return None;
        }
        Some(InstanceRecord {
            host,
            port,
            node_root: self.node_root.clone(),
            admin_root: self.admin_root.clone(),
            on_change: self.on_change,
            tls,
        })
    }
}

impl TlsProfile {
    fn check(&self) -> Result<TlsRecord, (&'static str, String)> {
        const CA_FILE: &str = "instance.tls.ca_file";
        let (field, ca_pem) = match (&self.ca_file, &self.ca_pem) {
            (Some(_), Some(_)) => {
                return Err((CA_FILE, "and ca_pem exclude each other".to_owned()));
            }
            (Some(path), None) => {
                (CA_FILE, Some(read(path).map_err(|what| (CA_FILE, format!("{path:?}: {what}")))?))
            }
            (None, ca_pem) => ("instance.tls.ca_pem", ca_pem.clone()),
        };
        if let Some(ca_pem) = &ca_pem {
            authorities(ca_pem).map_err(|what| (field, what))?;
        }
        if let Some(name) = &self.server_name {
            server_name(name).map_err(|what| ("instance.tls.server_name", what.to_owned()))?;
        }
        Ok(TlsRecord { ca_pem: ca_pem.map(Arc::from), server_name: self.server_name.clone() })
    }
}

/// One byte more than may be, so that what is too long is found to be so.
fn read(path: &str) -> Result<String, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut pem = String::new();
    file.take(CA_PEM_BYTES_MAX as u64 + 1)
        .read_to_string(&mut pem)
        .map_err(|error| error.to_string())?;
    Ok(pem)
}

/// The instance as a profile has it.
pub fn to_profile(instance: &InstanceRecord) -> Value {
    let InstanceRecord { host, port, .. } = instance;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let scheme = if instance.tls.is_some() { "https" } else { "http" };
    let mut profile = json!({
        "address": format!("{scheme}://{host}:{port}"),
        "node_root": instance.node_root,
        "admin_root": instance.admin_root,
    });
    if let Some(tls) = instance.tls.as_ref().filter(|tls| **tls != TlsRecord::default()) {
        profile["tls"] = json!(tls);
    }
    if instance.on_change != OnChange::default() {
        profile["on_change"] = json!(instance.on_change);
    }
    profile
}

/// What to do about it.
pub const ADMIN_ROOT_ADVICE: &str = "must not be, or contain, node_root: the flows' paths would open the editor; \
     in the runtime's settings.js set e.g. httpAdminRoot: \"/red\" and httpNodeRoot: \"/api\"";

/// Whether it is https, host and port. The text itself is not repeated in the fault: it may hold a
/// password.
///
/// # Errors
/// What is wrong with it.
pub fn parse_address(address: &str) -> Result<(bool, String, u16), &'static str> {
    const BAD: &str = "must be like \"http://127.0.0.1:1880\", without a path";
    let uri: http::Uri = address.parse().map_err(|_| BAD)?;
    let authority = uri.authority().ok_or(BAD)?;
    let (is_https, default_port) = match uri.scheme_str() {
        Some("http") => (false, 80),
        Some("https") => (true, 443),
        _ => return Err(BAD),
    };
    let has_path = !matches!(uri.path(), "" | "/") || uri.query().is_some();
    if has_path || authority.as_str().contains('@') {
        return Err(BAD);
    }
    let (host, port) = host_and_port(authority, default_port);
    if port == 0 {
        return Err("must have a port from 1 to 65535");
    }
    match host.is_empty() {
        false => Ok((is_https, host, port)),
        true => Err(BAD),
    }
}
