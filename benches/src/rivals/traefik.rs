//! Traefik: one core, no logs, upstream connections kept, no timeouts that the load could meet.

use std::path::Path;

use serde_json::json;

use super::{Secure, Site, write};
use crate::fault::Result;
use crate::process::Launch;

pub fn launch(program: &Path, site: &Site) -> Result<Launch> {
    // JSON is YAML, and needs no care with indents.
    let mut services = json!({ "http": {
        "routers": { "all": { "rule": "PathPrefix(`/`)", "service": "runtime", "entryPoints": ["clients"] } },
        "services": { "runtime": { "loadBalancer": {
            "servers": [{ "url": format!("http://{}", site.runtime) }],
            "serversTransport": "kept",
        } } },
        "serversTransports": { "kept": { "maxIdleConnsPerHost": 1000 } },
    } });
    let mut start = json!({
        "global": { "checkNewVersion": false, "sendAnonymousUsage": false },
        "log": { "level": "ERROR" },
        "entryPoints": { "clients": {
            "address": site.listen.to_string(),
            "transport": { "respondingTimeouts": { "readTimeout": "0s", "writeTimeout": "0s", "idleTimeout": "0s" } },
        } },
    });
    if let Some(Secure { listen, certificate }) = site.secure {
        services["http"]["routers"]["secure"] = json!({ "rule": "PathPrefix(`/`)", "service": "runtime", "entryPoints": ["secure"], "tls": {} });
        let files = json!({ "certFile": certificate.chain, "keyFile": certificate.key });
        services["tls"] = json!({
            "stores": { "default": { "defaultCertificate": files } },
            "options": { "default": { "minVersion": "VersionTLS13", "alpnProtocols": ["http/1.1"] } },
        });
        start["entryPoints"]["secure"] = start["entryPoints"]["clients"].clone();
        start["entryPoints"]["secure"]["address"] = json!(listen.to_string());
    }
    let services = write(site, "services.yml", &services.to_string())?;
    start["providers"] = json!({ "file": { "filename": services, "watch": false } });
    let path = write(site, "traefik.yml", &start.to_string())?;
    Ok(Launch::new(program, ["--configFile", &path]).with("GOMAXPROCS", "1"))
}
