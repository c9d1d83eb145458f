//! `flowgate registry adopt`

use std::io::{BufRead, IsTerminal, Write};

use super::super::EXIT_USAGE;
use super::super::import::runtime;
use super::{Failure, Settings, existing};
use crate::registry::store::redacted;

/// What has to be typed.
const YES: &str = "adopt";

/// Accepts the registry of the settings as it is.
pub(super) fn run(settings: &Settings, is_sure: bool) -> Result<(), Failure> {
    let failed = |error: crate::registry::store::StoreError| Failure::runtime(error.to_string());
    let runtime = runtime()?;
    let store = existing(settings, &settings.registry, runtime.handle())?;
    let revision = runtime.block_on(store.last_revision()).map_err(failed)?;
    let mut out = std::io::stdout().lock();
    let place = redacted(&settings.registry);
    let _ = writeln!(out, "registry {:032x} at {place}, revision {revision}", store.id());
    if !is_sure {
        if !std::io::stdin().is_terminal() {
            let message = "nobody can be asked here: say --yes".to_owned();
            return Err(Failure { exit_code: EXIT_USAGE, message });
        }
        let _ = write!(
            out,
            "Keys and passwords that were replaced since it was stored will work again on all \
             servers.\nType {YES:?} to go on: "
        );
        let _ = out.flush();
        let mut typed = String::new();
        let read = std::io::stdin().lock().read_line(&mut typed);
        if read.is_err() || typed.trim() != YES {
            return Err(Failure::runtime("nothing was changed".to_owned()));
        }
    }
    let revision = runtime.block_on(store.adopt()).map_err(failed)?;
    let _ = writeln!(out, "adopted; it goes on from revision {revision}");
    Ok(())
}
