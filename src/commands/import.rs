//! `flowgate import` and `flowgate export`, and the import that `serve` begins with.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::Path;

use tokio::runtime::{Builder, Handle};

use super::check::fault;
use super::draft::Draft;
use super::progress::bar;
use super::{EXIT_CONFIG, Failure};
use crate::clock::Wall;
use crate::config::Settings;
use crate::registry::copy;
use crate::registry::import::{Imported, export, import};
use crate::registry::store::{Store, StoreError, redis};

/// Tenants between two updates of the progress line.
const PROGRESS_STEP: usize = 500;

/// Opens the registry of a server or of what changes it. Whether one is made in a Redis without is up
/// to `create`.
pub(super) fn open(settings: &Settings, create: bool, handle: &Handle) -> Result<Store, Failure> {
    let access = redis::Options { create, ..settings.registry_access.clone() };
    let store = handle.block_on(Store::open_with(&settings.registry, &access));
    let store = store.map_err(|error| cannot_open(&error))?;
    let unfinished = handle.block_on(copy::unfinished(&store));
    match unfinished.map_err(|error| Failure::runtime(error.to_string()))? {
        None => Ok(store),
        Some(source) => Err(Failure::runtime(format!(
            "the registry is an unfinished copy of the registry {source}: finish it with the same \
             'flowgate registry copy' command"
        ))),
    }
}

/// What a store that does not open is to the user.
pub(super) fn cannot_open(error: &StoreError) -> Failure {
    let exit_code = if matches!(error, StoreError::Invalid(_)) { EXIT_CONFIG } else { 1 };
    Failure { exit_code, message: error.to_string() }
}

/// Imports a file and logs what came of it.
pub(super) fn fill(
    store: &Store,
    handle: &Handle,
    path: &Path,
    replace: bool,
) -> Result<Imported, Failure> {
    let done = import_file(store, handle, path, replace, |_, _| {})?;
    tracing::info!(
        file = %path.display(),
        created = done.created,
        left_alone = done.left_alone,
        plans = done.plans,
        "profiles imported"
    );
    Ok(done)
}

fn import_file(
    store: &Store,
    handle: &Handle,
    path: &Path,
    replace: bool,
    progress: impl FnMut(usize, usize),
) -> Result<Imported, Failure> {
    let file = File::open(path).map_err(|error| fault(path, &[error.to_string()]))?;
    import(store, &Wall::system(), handle, file, replace, progress)
        .map_err(|faults| fault(path, &faults.0))
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::runtime(format!("cannot start a thread: {error}")))
}

/// `flowgate import FILE`
pub(super) fn run_import(settings: &Settings, path: &Path, replace: bool) -> Result<(), Failure> {
    let runtime = runtime()?;
    let store = open(settings, true, runtime.handle())?;
    let is_terminal = std::io::stderr().is_terminal();
    let done = import_file(&store, runtime.handle(), path, replace, |done, of| {
        if is_terminal && (done % PROGRESS_STEP == 0 || done == of) {
            let _ = write!(std::io::stderr(), "\r{}", bar(done as u64, of as u64, "tenants"));
        }
    });
    if is_terminal {
        let _ = writeln!(std::io::stderr());
    }
    let Imported { created, replaced, left_alone, plans } = done?;
    let advice = match (left_alone, replace) {
        (0, _) | (_, true) => "",
        _ => " (--replace would overwrite them)",
    };
    let _ = writeln!(
        std::io::stdout(),
        "{created} tenants created, {replaced} replaced, {left_alone} left as they were{advice}; \
         {plans} plans written"
    );
    Ok(())
}

/// `flowgate export FILE`
pub(super) fn run_export(settings: &Settings, path: &Path) -> Result<(), Failure> {
    let runtime = runtime()?;
    let store = open(settings, false, runtime.handle())?;
    let failed = |what: String| Failure::runtime(format!("{}: {what}", path.display()));
    if path == Path::new("-") {
        export(&store, runtime.handle(), &mut std::io::stdout().lock()).map_err(failed)?;
        return Ok(());
    }
    let mut draft = Draft::begin(path).map_err(|error| failed(error.to_string()))?;
    let tenants = export(&store, runtime.handle(), &mut draft).map_err(failed)?;
    draft.finish().map_err(|error| failed(error.to_string()))?;
    let _ = writeln!(std::io::stdout(), "{tenants} tenants exported");
    Ok(())
}
