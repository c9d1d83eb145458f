//! `flowgate registry create`

use std::io::Write;
use std::path::Path;

use super::super::import::{cannot_open, runtime};
use super::{Failure, Settings, Store, lasting};
use crate::registry::store::{redacted, redis};

/// Makes the registry of the settings.
pub(super) fn run(settings: &Settings) -> Result<(), Failure> {
    let url = &settings.registry;
    lasting(url)?;
    if let Some(path) = url.strip_prefix("file:")
        && Path::new(path).exists()
    {
        return Err(Failure::runtime(format!("{path} exists already; nothing was changed")));
    }
    let runtime = runtime()?;
    let open = |create| {
        let access = redis::Options { create, ..settings.registry_access.clone() };
        runtime.block_on(Store::open_with(url, &access))
    };
    let place = redacted(url);
    if !url.starts_with("file:") && open(false).is_ok() {
        let what = format!("there is a registry at {place} already; nothing was changed");
        return Err(Failure::runtime(what));
    }
    let store = open(true).map_err(|error| cannot_open(&error))?;
    let _ = writeln!(std::io::stdout(), "registry {:032x} made at {place}", store.id());
    Ok(())
}
