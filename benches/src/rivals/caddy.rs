//! Caddy: one core, no logs, upstream connections kept.

use std::path::Path;

use super::{Secure, Site, write};
use crate::fault::Result;
use crate::process::Launch;

pub fn launch(program: &Path, site: &Site) -> Result<Launch> {
    let (ip, port, runtime) = (site.listen.ip(), site.listen.port(), site.runtime);
    let mut text = format!(
        "{{
    admin off
    auto_https off
    persist_config off
    log {{
        level ERROR
    }}
    servers {{
        protocols h1
    }}
}}
(relay) {{
    bind {ip}
    reverse_proxy {runtime} {{
        transport http {{
            keepalive_idle_conns 1000
            keepalive_idle_conns_per_host 1000
        }}
    }}
}}
:{port} {{
    import relay
}}
"
    );
    if let Some(Secure { listen, certificate }) = site.secure {
        let (chain, key) = (certificate.chain.display(), certificate.key.display());
        text += &format!(
            "https://:{} {{
    tls {chain} {key} {{
        protocols tls1.3
    }}
    import relay
}}
",
            listen.port()
        );
    }
    let path = write(site, "Caddyfile", &text)?;
    Ok(Launch::new(program, ["run", "--adapter", "caddyfile", "--config", &path])
        .with("GOMAXPROCS", "1"))
}
