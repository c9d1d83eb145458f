//! `flowgate check`: everything that `serve` would refuse, without starting.

use std::io::Write;
use std::path::Path;

use super::{EXIT_CONFIG, Failure};
use crate::config::Settings;
use crate::registry::profiles;

/// Checks the profiles file; the settings have been checked by being read.
pub(super) fn run(settings: &Settings) -> Result<(), Failure> {
    let tenants = match &settings.import {
        Some(path) => {
            profiles::check_only(&read(path)?).map_err(|faults| fault(path, &faults.0))?
        }
        None => 0,
    };
    let _ = writeln!(std::io::stdout(), "configuration is good; {tenants} tenants to import");
    Ok(())
}

/// Reads a profiles file's text.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| fault(path, &[error.to_string()]))
}

/// What is wrong with a profiles file, one line a fault.
pub(super) fn fault(path: &Path, faults: &[String]) -> Failure {
    let lines: Vec<String> =
        faults.iter().map(|fault| format!("{}: {fault}", path.display())).collect();
    Failure { exit_code: EXIT_CONFIG, message: lines.join("\nflowgate: ") }
}
