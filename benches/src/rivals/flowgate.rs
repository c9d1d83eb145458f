//! flowgate: one thread of each kind.

use std::net::SocketAddr;
use std::path::Path;

use super::{Secure, Site};
use crate::fault::{During, Result};
use crate::process::Launch;

/// As its documentation has it, with one worker and one relay thread. It pings nobody while we look:
/// no rival does.
pub fn launch(
    program: &Path,
    listen: SocketAddr,
    admin: SocketAddr,
    registry: &str,
    log: &str,
) -> Launch {
    let (listen, admin) = (listen.to_string(), admin.to_string());
    let mut launch = Launch::new(program, ["serve", "--listen", &listen, "--admin-listen", &admin]);
    let more = [
        ("--registry", registry),
        ("--workers", "1"),
        ("--relay-threads", "1"),
        ("--ping-after", "10m"),
        ("--drain-timeout", "1s"),
        ("--log", log),
    ];
    launch
        .arguments
        .extend(more.iter().flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()]));
    launch
}

pub fn for_site(program: &Path, site: &Site, log: &str) -> Result<Launch> {
    let (registry, import) = match site.checks {
        true => {
            // Its own: keys are regenerated in it.
            let copy = site.folder.join("registry.redb");
            std::fs::copy(site.tenants.registry(program)?, &copy).during("copying the registry")?;
            (format!("file:{}", copy.display()), None)
        }
        false => ("memory:".to_owned(), Some(site.tenants.few_profiles()?)),
    };
    let mut launch = launch(program, site.listen, site.spare, &registry, log);
    if let Some(Secure { listen, certificate }) = site.secure {
        let files = format!("{}:{}", certificate.chain.display(), certificate.key.display());
        let more = ["--tls-listen".to_owned(), listen.to_string(), "--tls-certificates".to_owned()];
        launch.arguments.extend(more.into_iter().chain([files]));
    }
    if let Some(profiles) = import {
        launch.arguments.extend(["--import".to_owned(), profiles.display().to_string()]);
    }
    Ok(launch)
}
