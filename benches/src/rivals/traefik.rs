//! Traefik: one core, no logs, upstream connections kept, no timeouts that the load could meet.

use std::path::Path;

use serde_json::json;

use super::{Site, write};
use crate::fault::Result;
use crate::process::Launch;

pub fn launch(program: &Path, site: &Site) -> Result<Launch> {
    // JSON is YAML, and needs no care with indents.
    let services = json!({ "http": {
        "routers": { "all": { "rule": "PathPrefix(`/`)", "service": "runtime", "entryPoints": ["clients"] } },
        "services": { "runtime": { "loadBalancer": {
            "servers": [{ "url": format!("http://{}", site.runtime) }],
            "serversTransport": "kept",
        } } },
        "serversTransports": { "kept": { "maxIdleConnsPerHost": 1000 } },
    } });
    let services = write(site, "services.yml", &services.to_string())?;
    let start = json!({
        "global": { "checkNewVersion": false, "sendAnonymousUsage": false },
        "log": { "level": "ERROR" },
        "entryPoints": { "clients": {
            "address": site.listen.to_string(),
            "transport": { "respondingTimeouts": { "readTimeout": "0s", "writeTimeout": "0s", "idleTimeout": "0s" } },
        } },
        "providers": { "file": { "filename": services, "watch": false } },
    });
    let path = write(site, "traefik.yml", &start.to_string())?;
    Ok(Launch::new(program, ["--configFile", &path]).with("GOMAXPROCS", "1"))
}
