//! `flowgate registry …`: making, copying, checking and adopting registries.

use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command};
use tokio::runtime::Handle;

use super::import::{bulk_access, cannot_open};
use super::{EXIT_CONFIG, Failure, REGISTRY_KEYS, settings, with_keys};
use crate::config::Settings;
use crate::registry::store::{Store, StoreError};

mod adopt;
mod check;
mod copy;
mod create;

const COPY_HELP: &str = "\
The target is made if it is not there. It must be empty, or what an earlier copy from the same
source left: a copy that was interrupted is gone on with by the same command, and what is equal
already is not written again. Until it is finished, 'serve' and 'import' refuse the target. At
the end all documents of both sides are compared. Stop what uses the source; a source that
changes meanwhile is followed for a while, and then refused. Password and certificates in the
settings are for both sides; a password in a URL comes first.

Copied: plans, tenants with their passwords and keys, sessions, and when keys were last used.
Not copied: one-time tickets (they last 30 s), leases, counters, the feed's history, and the
registry's id: the target has its own.";

const CHECK_HELP: &str = "\
A registry in Redis can be checked while servers use it; one in a file while none does. Prints a line
for each finding, with what to do about it. Nothing is changed.

Exit code 0 if nothing was found, 1 if something was, 2 if it could not be checked to the end.";

const ADOPT_HELP: &str = "\
For a registry in Redis that was set back: restored from an older backup, or by a failover that lost
the last writes. Servers that have seen newer revisions of it do not believe it: they go on with the
tenants they have cached, and refuse changes and unknown tenants. Once the registry is adopted, they
take it as it is, and end what it does not allow.

Keys and passwords that were replaced since the backup was made WORK AGAIN, and tenants who were
created since are gone. Replace such keys and passwords once more.";

/// The commands' arguments.
pub(super) fn command() -> Command {
    let url = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("URL").required(true).help(help)
    };
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let create = Command::new("create")
        .about("Make an empty registry")
        .after_help("One that is there already is an error, and stays as it is.");
    let copy = Command::new("copy")
        .about("Copy a registry into an empty one")
        .after_help(COPY_HELP)
        .arg(url("from", "The source, as in --registry"))
        .arg(url("to", "The target"));
    let check = Command::new("check")
        .about("Look for what contradicts itself in a registry")
        .after_help(CHECK_HELP)
        .arg(flag("json", "A JSON object per line: findings, then a summary"));
    let adopt = Command::new("adopt")
        .about("Accept a registry in Redis that was set back")
        .after_help(ADOPT_HELP)
        .arg(flag("yes", "Do not ask"));
    Command::new("registry")
        .about("Make, copy, check or adopt a registry")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_keys(create, REGISTRY_KEYS))
        .subcommand(with_keys(copy, &REGISTRY_KEYS[1..]))
        .subcommand(with_keys(check, REGISTRY_KEYS))
        .subcommand(with_keys(adopt, REGISTRY_KEYS))
}

/// Runs one of them.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("create", matches)) => create::run(&settings(matches)?),
        Some(("copy", matches)) => {
            let url = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
            copy::run(&settings(matches)?, &url("from"), &url("to"))
        }
        Some(("check", matches)) => check::run(&settings(matches)?, matches.get_flag("json")),
        Some(("adopt", matches)) => adopt::run(&settings(matches)?, matches.get_flag("yes")),
        _ => Ok(()),
    }
}

/// Opens a registry that must be there.
fn existing(settings: &Settings, url: &str, handle: &Handle) -> Result<Store, Failure> {
    lasting(url)?;
    if let Some(path) = url.strip_prefix("file:")
        && !Path::new(path).exists()
    {
        return Err(Failure::runtime(format!("there is no registry file {path}")));
    }
    let store = handle.block_on(Store::open_with(url, &bulk_access(settings, false)));
    store.map_err(|error| cannot_open(&error))
}

/// Opens a registry that is made if it is not there.
fn made(settings: &Settings, url: &str, handle: &Handle) -> Result<Store, Failure> {
    let store = handle.block_on(Store::open_with(url, &bulk_access(settings, true)));
    store.map_err(|error| cannot_open(&error))
}

/// Refuses what is gone with this process.
fn lasting(url: &str) -> Result<(), Failure> {
    match url == "memory:" {
        true => Err(Failure {
            exit_code: EXIT_CONFIG,
            message: "memory: would be empty, and gone with this command".to_owned(),
        }),
        false => Ok(()),
    }
}
