//! `flowgate import` and `flowgate export`, and the import that `serve` begins with.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use clap::ArgMatches;
use tokio::runtime::{Builder, Handle};

use super::check::fault;
use super::draft::Draft;
use super::operator::{self, Client};
use super::progress::bar;
use super::{EXIT_CONFIG, Failure, file};
use crate::clock::Wall;
use crate::config::Settings;
use crate::registry::copy;
use crate::registry::import::{Imported, export, import};
use crate::registry::store::{Store, StoreError, redis};

/// Tenants between two updates of the progress line.
const PROGRESS_STEP: usize = 500;

/// Opens the registry of a server, which makes none in a Redis without.
pub(super) fn open(settings: &Settings, handle: &Handle) -> Result<Store, Failure> {
    let store = handle.block_on(Store::open_with(&settings.registry, &settings.registry_access));
    finished(store.map_err(|error| cannot_open(&error))?, handle)
}

/// The store, unless it is half a copy.
fn finished(store: Store, handle: &Handle) -> Result<Store, Failure> {
    let unfinished = handle.block_on(copy::unfinished(&store));
    match unfinished.map_err(|error| Failure::runtime(error.to_string()))? {
        None => Ok(store),
        Some(source) => Err(Failure::runtime(format!(
            "the registry is an unfinished copy of the registry {source}: finish it with the same \
             'flowgate registry copy' command"
        ))),
    }
}

/// How a command goes to a registry: a call with thousands of documents may take long, and nobody
/// waits for this process. Whether a registry is made in a Redis without is up to `create`.
pub(super) fn bulk_access(settings: &Settings, create: bool) -> redis::Options {
    const BULK_TIMEOUT: Duration = Duration::from_secs(60);
    let access = settings.registry_access.clone();
    redis::Options { create, command_timeout: access.command_timeout.max(BULK_TIMEOUT), ..access }
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
    import(store, &Wall::system(), handle, file, replace, None, progress)
        .map_err(|faults| fault(path, &faults.0))
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::runtime(format!("cannot start a thread: {error}")))
}

/// Where a command finds the registry.
pub(super) enum Source {
    /// It has opened it itself.
    Store(Store, tokio::runtime::Runtime),
    /// A server holds it, which is asked.
    Server(Client),
}

/// Opens the registry, or asks the server that the arguments name or that holds the registry.
pub(super) fn source(
    settings: &Settings,
    matches: &ArgMatches,
    create: bool,
) -> Result<Source, Failure> {
    // Who names a registry means that one, whatever the environment says of a server.
    let is_named = matches.contains_id("server")
        || (settings.client.url.is_some() && !matches.contains_id("registry"));
    if is_named {
        return operator::client(matches, settings).map(Source::Server);
    }
    let runtime = runtime()?;
    let access = match create {
        true => bulk_access(settings, create),
        false => settings.registry_access.clone(),
    };
    let opened = runtime.handle().block_on(Store::open_with(&settings.registry, &access));
    match opened {
        Ok(store) => Ok(Source::Store(finished(store, runtime.handle())?, runtime)),
        Err(StoreError::Held(_)) if settings.client.token.is_some() => {
            operator::client(matches, settings).map(Source::Server)
        }
        Err(StoreError::Held(who)) => Err(Failure::runtime(format!(
            "{who}; with --server or FLOWGATE_ADMIN_TOKEN the server that has it is asked"
        ))),
        Err(error) => Err(cannot_open(&error)),
    }
}

/// `flowgate import FILE`
pub(super) fn run_import(
    settings: &Settings,
    matches: &ArgMatches,
    replace: bool,
) -> Result<(), Failure> {
    let path = &file(matches);
    let is_terminal = std::io::stderr().is_terminal();
    let progress = |done, of| {
        if is_terminal && (done % PROGRESS_STEP == 0 || done == of) {
            let _ = write!(std::io::stderr(), "\r{}", bar(done as u64, of as u64, "tenants"));
        }
    };
    let done = match source(settings, matches, true)? {
        Source::Store(store, runtime) => {
            import_file(&store, runtime.handle(), path, replace, progress)
        }
        Source::Server(client) => operator::profiles::import(&client, path, replace, progress),
    };
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
pub(super) fn run_export(settings: &Settings, matches: &ArgMatches) -> Result<(), Failure> {
    let path = &file(matches);
    let source = source(settings, matches, false)?;
    let failed = |what: String| Failure::runtime(format!("{}: {what}", path.display()));
    let export = |out: &mut dyn Write| match &source {
        Source::Store(store, runtime) => export(store, runtime.handle(), out).map_err(failed),
        Source::Server(client) => operator::profiles::export(client, out),
    };
    if path == Path::new("-") {
        export(&mut std::io::stdout().lock())?;
        return Ok(());
    }
    let mut draft = Draft::begin(path).map_err(|error| failed(error.to_string()))?;
    let tenants = export(&mut draft)?;
    draft.finish().map_err(|error| failed(error.to_string()))?;
    let _ = writeln!(std::io::stdout(), "{tenants} tenants exported");
    Ok(())
}
