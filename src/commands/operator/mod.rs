//! Commands that ask a running server, as clients of its admin API.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};
use http::Method;
use serde_json::{Value, json};

use super::{EXIT_USAGE, Failure};
use crate::config::Settings;
use crate::secret::Secret;

mod analytics;
mod apis;
mod applications;
mod client;
mod connections;
mod consumers;
mod health;
mod keys;
mod others;
mod print;
pub(super) mod profiles;
mod runtimes;
mod tenants;
mod top;

pub(super) use client::Client;
use client::{Expecting, Files, encoded};

const AFTER_HELP: &str = "\
The server is asked over its operators' listener. The token comes from FLOWGATE_ADMIN_TOKEN or
--token-file. Exit code 0 if it was done, 1 if it was refused, 64 for wrong usage, 69 if the server
cannot be reached, 77 without a token that may do it.";

/// `tenant`, `key`, `api`, `consumer`, `application`, `signing-key`, `plan`, `connections`, `runtime`,
/// `session`, `audit`, `analytics`, `server`, `top` and `health`.
pub(super) fn commands() -> Vec<Command> {
    [tenants::command(), keys::command(), apis::command(), consumers::command()]
        .into_iter()
        .chain([applications::command(), applications::signing_command()])
        .chain([connections::command(), runtimes::command()])
        .chain(others::commands())
        .map(|command| command.subcommand_required(true).arg_required_else_help(true))
        .chain([others::audit_command(), analytics::command(), top::command()])
        .map(|command| with_server(command).after_help(AFTER_HELP))
        .chain([health::command()])
        .collect()
}

/// Adds how the server is reached.
pub(super) fn with_server(command: Command) -> Command {
    let file = Arg::new("token-file")
        .long("token-file")
        .value_name("FILE")
        .global(true)
        .help("File that holds the admin token [environment: FLOWGATE_ADMIN_TOKEN]");
    let json = Arg::new("json")
        .long("json")
        .action(ArgAction::SetTrue)
        .global(true)
        .help("Print JSON, for scripts");
    let command = command.arg(server_arg().global(true)).arg(ca_arg().global(true));
    let command = command.arg(certificate_arg().global(true)).arg(file).arg(json);
    command.arg(config_arg().global(true))
}

/// Where the server is.
fn server_arg() -> Arg {
    Arg::new("server").long("server").value_name("URL").help(
        "The server's operators' listener [environment: FLOWGATE_ADMIN_URL] [default: admin_listen's]",
    )
}

/// What else says where it is.
fn config_arg() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("Configuration file in TOML [environment: FLOWGATE_CONFIG]")
}

/// Whose word for the server's certificate counts.
pub(super) fn ca_arg() -> Arg {
    Arg::new("ca").long("ca").value_name("FILE").help(
        "Authorities in PEM that an https server's certificate may be by, in place of the public ones \
         [environment: FLOWGATE_ADMIN_CA]",
    )
}

/// What is shown to a server that wants a certificate.
pub(super) fn certificate_arg() -> Arg {
    Arg::new("certificate").long("certificate").value_name("CERT:KEY").help(
        "Certificate chain and private key in PEM, or one file with both, for a server that wants one \
         [environment: FLOWGATE_ADMIN_CERTIFICATE]",
    )
}

/// The client that a command's arguments name.
pub(super) fn client(matches: &ArgMatches, settings: &Settings) -> Result<Client, Failure> {
    let url = matches.get_one::<String>("server").map(String::as_str);
    Client::new(settings, url, files(matches))
}

fn files(matches: &ArgMatches) -> Files<'_> {
    let text = |name: &str| matches.try_get_one::<String>(name).ok().flatten().map(String::as_str);
    let file = |name: &str| text(name).map(Path::new);
    Files { ca: file("ca"), certificate: text("certificate"), token: file("token-file") }
}

/// Runs one of [`commands`].
pub(super) fn run(name: &str, matches: &ArgMatches, settings: &Settings) -> Result<(), Failure> {
    if name == "health" {
        return health::run(matches, settings);
    }
    let (verb, arguments) = matches.subcommand().unwrap_or(("", matches));
    let call = Call { client: client(arguments, settings)?, matches: arguments };
    match name {
        "tenant" => tenants::run(verb, &call),
        "key" => keys::run(verb, &call),
        "api" => apis::run(verb, &call),
        "consumer" => consumers::run(verb, &call),
        "application" => applications::run(verb, &call),
        "signing-key" => applications::run_signing(verb, &call),
        "connections" => connections::run(verb, &call),
        "runtime" => runtimes::run(verb, &call),
        "analytics" => analytics::run(&call),
        "top" => top::run(&call),
        _ => others::run(name, verb, &call),
    }
}

/// One command on its way.
struct Call<'a> {
    client: Client,
    matches: &'a ArgMatches,
}

impl Call<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.matches.try_get_one::<String>(name).ok().flatten().map(String::as_str)
    }

    /// An argument that has to be there.
    fn needed(&self, name: &str) -> String {
        self.text(name).unwrap_or_default().to_owned()
    }

    fn texts(&self, name: &str) -> Option<Vec<String>> {
        let values = self.matches.try_get_many::<String>(name).ok().flatten()?;
        Some(values.cloned().collect())
    }

    fn is_set(&self, name: &str) -> bool {
        self.matches.try_get_one::<bool>(name).ok().flatten().is_some_and(|is_set| *is_set)
    }

    fn is_json(&self) -> bool {
        self.is_set("json")
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let read = |text: &str| {
            text.parse().map_err(|_| usage(format!("--{name}: {text:?} is no whole number")))
        };
        self.text(name).map(read).transpose()
    }

    fn get(&self, path: &str) -> Result<Value, Failure> {
        Ok(self.client.ask(Method::GET, path, Expecting::Anything, None)?.body)
    }

    fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        Ok(self.client.ask(method, path, Expecting::Anything, body)?.body)
    }

    /// Prints a list.
    fn list(&self, columns: &[print::Column], rows: &[Value]) -> Result<(), Failure> {
        match self.is_json() {
            true => print::json(&json!(rows)),
            false => print::table(columns, rows),
        }
    }

    /// Prints what was done: a sentence for people, the answer for scripts.
    fn done(&self, answer: &Value, sentence: &str) -> Result<(), Failure> {
        match self.is_json() {
            true => print::json(answer),
            false => print::line(sentence),
        }
    }

    /// Asks before something is lost, unless `--yes` says so already.
    fn confirm(&self, question: &str) -> Result<(), Failure> {
        if self.is_set("yes") {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            return Err(usage(format!("{question} Say --yes")));
        }
        let _ = write!(std::io::stderr(), "{question} Type yes: ");
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        match read.is_ok() && answer.trim() == "yes" {
            true => Ok(()),
            false => Err(Failure::runtime("nothing was done".to_owned())),
        }
    }
}

fn usage(message: String) -> Failure {
    Failure { exit_code: EXIT_USAGE, message }
}

/// A secret from standard input: a command line can be seen by others of the machine.
fn secret_from_stdin(what: &str) -> Result<Secret, Failure> {
    const BYTES_MAX: u64 = 1024;
    if std::io::stdin().is_terminal() {
        let _ = write!(std::io::stderr(), "{what} (it is shown as you type): ");
    }
    let mut text = String::new();
    let read = std::io::Read::take(std::io::stdin().lock(), BYTES_MAX).read_line(&mut text);
    read.map_err(|error| Failure::runtime(format!("standard input: {error}")))?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn name_arg(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).required(true).help(help)
}

fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn tenant_path(username: &str) -> String {
    format!("/admin/v1/tenants/{}", encoded(username))
}

/// A span like `90s` in whole seconds.
fn seconds(name: &str, text: &str) -> Result<u64, Failure> {
    let span: humantime::Duration =
        text.parse().map_err(|why| usage(format!("--{name}: {text:?}: {why}")))?;
    Ok(span.as_secs())
}

/// The file of an argument.
fn path_of(call: &Call<'_>, name: &str) -> Option<PathBuf> {
    call.text(name).map(PathBuf::from)
}
