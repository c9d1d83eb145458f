//! `flowgate registry create`

use std::io::Write;
use std::path::Path;

use super::super::import::{cannot_open, runtime};
use super::{Failure, Settings, Store, lasting};

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
    let store = runtime.block_on(Store::open(url)).map_err(|error| cannot_open(&error))?;
    let _ = writeln!(std::io::stdout(), "registry {:032x} made at {url}", store.id());
    Ok(())
}
