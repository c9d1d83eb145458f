//! `flowgate registry check`

use std::io::Write;

use serde_json::json;
use tokio::runtime::Handle;

use super::super::import::runtime;
use super::super::progress::Progress;
use super::{Failure, Settings, Store, StoreError, existing};
use crate::registry::check::{Checked, Finding, check};

/// Something was found.
const EXIT_FOUND: u8 = 1;
/// It could not be checked to the end.
const EXIT_UNCHECKED: u8 = 2;

/// Checks the registry of the settings, the store first.
pub(super) fn run(settings: &Settings, as_json: bool) -> Result<(), Failure> {
    let unchecked =
        |failure: Failure| Failure { exit_code: EXIT_UNCHECKED, message: failure.message };
    let runtime = runtime()?;
    let store = existing(settings, &settings.registry, runtime.handle()).map_err(unchecked)?;
    let mut progress = Progress::start();
    let outcome = all(&store, runtime.handle(), &mut progress, as_json);
    progress.clear();
    let Checked { documents, findings } = outcome
        .map_err(|error| Failure { exit_code: EXIT_UNCHECKED, message: error.to_string() })?;
    if as_json {
        let summary = json!({
            "type": "summary",
            "registry": format!("{:032x}", store.id()),
            "documents": documents,
            "findings": findings,
        });
        let _ = writeln!(std::io::stdout(), "{summary}");
    }
    match findings {
        0 if as_json => Ok(()),
        0 => {
            let _ = writeln!(std::io::stdout(), "{documents} documents checked, nothing found");
            Ok(())
        }
        _ => {
            let message = format!("{findings} findings; {documents} documents checked");
            Err(Failure { exit_code: EXIT_FOUND, message })
        }
    }
}

fn all(
    store: &Store,
    handle: &Handle,
    progress: &mut Progress,
    as_json: bool,
) -> Result<Checked, StoreError> {
    let progress = std::cell::RefCell::new(progress);
    let mut found = |finding: Finding| {
        progress.borrow_mut().clear();
        let _ = writeln!(std::io::stdout(), "{}", line(&finding, as_json));
    };
    let mut tell = |documents| progress.borrow_mut().show("checking", documents, 0);
    handle.block_on(check(store, &mut found, &mut tell))
}

fn line(finding: &Finding, as_json: bool) -> String {
    let Finding { about, what, advice } = finding;
    match as_json {
        true => {
            json!({ "type": "finding", "about": about, "what": what, "advice": advice }).to_string()
        }
        false => format!("{about}: {what}; {advice}"),
    }
}
