//! `flowgate check`: everything that `serve` would refuse, without starting.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::certificates::InUse;
use super::{EXIT_CONFIG, Failure};
use crate::config::Settings;
use crate::registry::profiles;
use crate::telemetry;

/// Checks certificates and the profiles file; the settings have been checked by being read.
pub(super) fn run(settings: &Settings) -> Result<(), Failure> {
    let _flushed_at_the_end = telemetry::start(&settings.log);
    InUse::load(settings)?;
    let processes = settings.processes.check();
    processes.map_err(|message| Failure { exit_code: EXIT_CONFIG, message: message.to_owned() })?;
    let kubernetes = settings.kubernetes.check();
    kubernetes.map_err(|message| Failure { exit_code: EXIT_CONFIG, message })?;
    let tokens = settings.admin_tokens.read();
    tokens.map_err(|message| Failure { exit_code: EXIT_CONFIG, message })?;
    let tenants = match &settings.import {
        Some(path) => {
            let file = File::open(path).map_err(|error| fault(path, &[error.to_string()]))?;
            let contents = profiles::check(file, |_| false, |_| Ok(()));
            contents.map_err(|faults| fault(path, &faults.0))?.tenants
        }
        None => 0,
    };
    let _ = writeln!(std::io::stdout(), "configuration is good; {tenants} tenants to import");
    Ok(())
}

/// What is wrong with a profiles file, one line a fault.
pub(super) fn fault(path: &Path, faults: &[String]) -> Failure {
    let lines: Vec<String> =
        faults.iter().map(|fault| format!("{}: {fault}", path.display())).collect();
    Failure { exit_code: EXIT_CONFIG, message: lines.join("\nflowgate: ") }
}
