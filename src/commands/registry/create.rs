//! `flowgate registry create`

use std::io::Write;
use std::path::Path;

use super::super::import::{cannot_open, runtime};
use super::{Failure, Settings, Store, StoreError, lasting, made};
use crate::registry::store::redacted;

/// Makes the registry of the settings.
pub(super) fn run(settings: &Settings) -> Result<(), Failure> {
    let url = &settings.registry;
    lasting(url)?;
    let place = redacted(url);
    let exists = || Failure::runtime(format!("{place} exists already; nothing was changed"));
    let runtime = runtime()?;
    match url.strip_prefix("file:") {
        Some(path) if Path::new(path).exists() => return Err(exists()),
        Some(_) => {}
        None => match runtime.block_on(Store::open_with(url, &settings.registry_access)) {
            // There is none, or something that is in the way of one, as will be said.
            Err(StoreError::Foreign(_)) => {}
            Err(error) => return Err(cannot_open(&error)),
            Ok(_) => return Err(exists()),
        },
    }
    let store = made(settings, url, runtime.handle())?;
    let _ = writeln!(std::io::stdout(), "registry {:032x} made at {place}", store.id());
    Ok(())
}
