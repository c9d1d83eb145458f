//! A profile's instance: address, roots, and the trust in its certificate.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::path::is_under;
use crate::registry::record::{InstanceRecord, NodeRecord, ProbeRecord, ProcessRecord, TlsRecord};
use crate::tenant::nodes::NODES_MAX;
use crate::tenant::{OnChange, host_and_port};
use crate::tls::runtimes::{CA_PEM_BYTES_MAX, authorities, server_name};

const PROBE_PATH_BYTES_MAX: usize = 512;

/// The instance as the file has it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InstanceProfile {
    /// `http://` or `https://`, a host name or an IP address, and a port. Only where somebody else
    /// owns the runtime's life.
    address: Option<String>,
    /// In place of `address`: several, of the same runtime, all `http` or all `https`. With an editor the
    /// first that is up is used; without, all by turns.
    #[schema(min_items = 2, max_items = 16)]
    addresses: Option<Vec<String>>,
    /// How they are probed; else one that could not be reached is left alone for 10 seconds.
    probe: Option<ProbeRecord>,
    /// Who owns the runtime's life; an address has somebody else.
    #[serde(default)]
    provider: ProviderProfile,
    /// Whether requests without a credential start one that flowgate owns.
    #[serde(default)]
    public_wake: bool,
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

/// Who owns a runtime's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProviderProfile {
    /// Somebody else.
    #[default]
    Static,
    /// flowgate, as a process on its own machine.
    Process,
    /// flowgate, as a workload in Kubernetes.
    Kubernetes,
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
        if self.provider != ProviderProfile::Static {
            return self.check_owned(fault).filter(|_| is_good);
        }
        if self.public_wake {
            fault("instance.public_wake", "is for the providers \"process\" and \"kubernetes\"");
            return None;
        }
        let (is_https, mut places) = self.check_addresses(fault).filter(|_| is_good)?;
        is_good = self.check_probe(places.len(), fault);
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
            && let Some(what) = places.iter().find_map(|node| server_name(&node.host).err())
        {
            fault("instance.address", what);
            return None;
        }
        let NodeRecord { host, port } = places.remove(0);
        is_good.then(|| InstanceRecord {
            host,
            port,
            node_root: self.node_root.clone(),
            admin_root: self.admin_root.clone(),
            on_change: self.on_change,
            tls,
            process: None,
            kubernetes: None,
            others: places,
            probe: self.probe.clone(),
        })
    }

    /// Whether they are https, and all of them.
    fn check_addresses(
        &self,
        fault: &mut dyn FnMut(&str, &str),
    ) -> Option<(bool, Vec<NodeRecord>)> {
        let mut read = |field: &str, address: &str| match parse_address(address) {
            Ok((is_https, host, port)) => Some((is_https, NodeRecord { host, port })),
            Err(what) => {
                fault(field, what);
                None
            }
        };
        let Some(addresses) = &self.addresses else {
            let Some(address) = &self.address else {
                fault("instance.address", "is missing");
                return None;
            };
            return read("instance.address", address)
                .map(|(is_https, node)| (is_https, vec![node]));
        };
        const FIELD: &str = "instance.addresses";
        let all: Option<Vec<_>> = addresses.iter().map(|address| read(FIELD, address)).collect();
        let (schemes, places): (Vec<bool>, Vec<NodeRecord>) = all?.into_iter().unzip();
        let has_twice = |(at, place): (usize, &NodeRecord)| places[..at].contains(place);
        let wrong = match &places {
            _ if self.address.is_some() => "and address exclude each other",
            _ if !(2..=NODES_MAX).contains(&places.len()) => "must be 2 to 16",
            _ if schemes.iter().any(|it| *it != schemes[0]) => "must be all http or all https",
            _ if places.iter().enumerate().any(has_twice) => "has one twice",
            _ => return Some((schemes[0], places)),
        };
        fault(FIELD, wrong);
        None
    }

    fn check_probe(&self, nodes: usize, fault: &mut dyn FnMut(&str, &str)) -> bool {
        let wrong = match &self.probe {
            None => return true,
            Some(_) if nodes < 2 => ("instance.probe", "is for several addresses"),
            Some(probe) if !(1..=3600).contains(&probe.every_seconds) => {
                ("instance.probe.every_seconds", "must be 1 to 3600")
            }
            Some(probe)
                if !probe.path.starts_with('/')
                    || probe.path.len() > PROBE_PATH_BYTES_MAX
                    || !probe.path.bytes().all(|byte| byte.is_ascii_graphic()) =>
            {
                ("instance.probe.path", "must be a path like \"/healthz\"")
            }
            Some(_) => return true,
        };
        fault(wrong.0, wrong.1);
        false
    }

    fn check_owned(&self, fault: &mut dyn FnMut(&str, &str)) -> Option<InstanceRecord> {
        let is_process = self.provider == ProviderProfile::Process;
        let unwanted = [
            ("instance.address", self.address.is_some()),
            ("instance.addresses", self.addresses.is_some()),
            ("instance.probe", self.probe.is_some()),
            ("instance.tls", self.tls.is_some()),
        ];
        if let Some((field, _)) = unwanted.into_iter().find(|(_, is_there)| *is_there) {
            fault(
                field,
                match is_process {
                    true => "is not for the provider \"process\": flowgate assigns the port",
                    false => {
                        "is not for the provider \"kubernetes\": its Service has a name of its own"
                    }
                },
            );
            return None;
        }
        let owned = Some(ProcessRecord { public_wake: self.public_wake });
        Some(InstanceRecord {
            host: "127.0.0.1".to_owned(),
            port: 0,
            node_root: self.node_root.clone(),
            admin_root: self.admin_root.clone(),
            on_change: self.on_change,
            tls: None,
            process: owned.filter(|_| is_process),
            kubernetes: owned.filter(|_| !is_process),
            others: Vec::new(),
            probe: None,
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
    let scheme = if instance.tls.is_some() { "https" } else { "http" };
    let address = |host: &str, port: u16| match host.contains(':') {
        true => format!("{scheme}://[{host}]:{port}"),
        false => format!("{scheme}://{host}:{port}"),
    };
    let mut profile = json!({
        "address": address(&instance.host, instance.port),
        "node_root": instance.node_root,
        "admin_root": instance.admin_root,
    });
    if !instance.others.is_empty()
        && let Some(profile) = profile.as_object_mut()
    {
        let first = profile.remove("address");
        let others = instance.others.iter().map(|node| json!(address(&node.host, node.port)));
        profile.insert("addresses".to_owned(), first.into_iter().chain(others).collect());
    }
    if let Some(probe) = &instance.probe {
        profile["probe"] = json!(probe);
    }
    let owned = [("process", instance.process), ("kubernetes", instance.kubernetes)];
    for (provider, ProcessRecord { public_wake }) in
        owned.into_iter().filter_map(|(name, record)| Some((name, record?)))
    {
        if let Some(profile) = profile.as_object_mut() {
            profile.remove("address");
        }
        profile["provider"] = json!(provider);
        if public_wake {
            profile["public_wake"] = json!(true);
        }
    }
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
