//! Caddy: one core, no logs, upstream connections kept.

use std::path::Path;

use super::{Site, write};
use crate::fault::Result;
use crate::process::Launch;

pub fn launch(program: &Path, site: &Site) -> Result<Launch> {
    let (ip, port, runtime) = (site.listen.ip(), site.listen.port(), site.runtime);
    let text = format!(
        "{{
    admin off
    auto_https off
    persist_config off
    log {{
        level ERROR
    }}
}}
:{port} {{
    bind {ip}
    reverse_proxy {runtime} {{
        transport http {{
            keepalive_idle_conns 1000
            keepalive_idle_conns_per_host 1000
        }}
    }}
}}
"
    );
    let path = write(site, "Caddyfile", &text)?;
    Ok(Launch::new(program, ["run", "--adapter", "caddyfile", "--config", &path])
        .with("GOMAXPROCS", "1"))
}
