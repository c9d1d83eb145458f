//! The program's commands.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::{self, ConfigError, KEYS, Settings};

mod certificates;
mod check;
mod draft;
mod explain;
mod import;
mod memory;
mod operator;
mod progress;
mod registry;
mod serve;
mod token;

/// Wrong usage, as in sysexits.h.
const EXIT_USAGE: u8 = 64;
/// Bad configuration, as in sysexits.h.
const EXIT_CONFIG: u8 = 78;

/// What it takes to open a registry.
const REGISTRY_KEYS: &[&str] = &[
    "registry",
    "registry_password_file",
    "registry_ca_file",
    "registry_certificate_file",
    "registry_key_file",
    "registry_command_timeout",
];

const AFTER_HELP: &str = "\
Every option may also be given in the environment (FLOWGATE_BASE_DOMAIN for --base-domain) or in a
TOML file (base_domain = \"…\"). Flags win over the environment, which wins over the file. Spans are
like 500ms, 30s or 2m.

Example:
  flowgate serve --import profiles.example.json
  wscat -c ws://127.0.0.1:8080/public/mike/data";

/// A command that failed: its exit code, and a line for the user.
#[derive(Debug)]
pub struct Failure {
    /// The process's exit code.
    pub exit_code: u8,
    /// What went wrong.
    pub message: String,
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self { exit_code: EXIT_CONFIG, message: error.0 }
    }
}

impl Failure {
    fn runtime(message: String) -> Self {
        Self { exit_code: 1, message }
    }
}

/// Runs the program with the process's own arguments and environment.
#[must_use]
pub fn run() -> ExitCode {
    let matches = match program().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version come this way too, and are no failure.
            let _ = error.print();
            return if error.use_stderr() { EXIT_USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let subcommand = matches.subcommand();
    // The server's own setting says whether it is watched.
    if !matches!(subcommand, Some(("serve", _))) {
        memory::keep_private();
    }
    let outcome = match subcommand {
        Some(("serve", matches)) => settings(matches).and_then(serve::run),
        Some(("check", matches)) => settings(matches).and_then(|settings| check::run(&settings)),
        Some(("explain", matches)) => {
            let question = explain::question(matches);
            let settings = settings(matches);
            settings.and_then(|settings| explain::run(&settings, &question, matches))
        }
        Some(("import", matches)) => {
            let replace = matches.get_flag("replace");
            settings(matches).and_then(|it| import::run_import(&it, matches, replace))
        }
        Some(("export", matches)) => {
            settings(matches).and_then(|it| import::run_export(&it, matches))
        }
        Some(("registry", matches)) => registry::run(matches),
        Some(("admin-token", matches)) => token::run(matches),
        Some(("completions", matches)) => completions(matches),
        Some((name, matches)) => {
            settings(matches).and_then(|settings| operator::run(name, matches, &settings))
        }
        None => Ok(()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "flowgate: {}", failure.message);
            failure.exit_code.into()
        }
    }
}

fn program() -> Command {
    let serve = Command::new("serve")
        .about("Relay clients to their tenants' runtimes until told to stop")
        .after_help(
            "SIGTERM or Ctrl-C drains: no new connections, paced 1001 closes. A second one cuts.",
        );
    let check = Command::new("check")
        .about("Check configuration and profiles files without starting anything")
        .after_help("Exit code 0 if all is well, 78 if not.");
    Command::new("flowgate")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Multi-tenant hosting front-end for per-user flow runtimes such as Node-RED")
        .after_help(AFTER_HELP)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args_override_self(true)
        .subcommand(with_settings(serve))
        .subcommand(with_settings(check))
        .subcommands(import_and_export())
        .subcommand(registry::command())
        .subcommand(asking(with_keys(
            explain::command(),
            &[REGISTRY_KEYS, &["import", "base_domain"]].concat(),
        )))
        .subcommands(operator::commands())
        .subcommand(token::command())
        .subcommand(
            Command::new("completions").about("Print completions for a shell").arg(
                Arg::new("SHELL")
                    .required(true)
                    .value_parser(clap::value_parser!(clap_complete::Shell))
                    .help("bash, elvish, fish, powershell or zsh"),
            ),
        )
}

/// Adds how a server that holds the registry is asked instead.
fn asking(command: Command) -> Command {
    let file = Arg::new("token-file")
        .long("token-file")
        .value_name("FILE")
        .help("File that holds the admin token [environment: FLOWGATE_ADMIN_TOKEN]");
    let server = Arg::new("server").long("server").value_name("URL").help(
        "Ask the server that holds the registry, at its operators' listener [environment: FLOWGATE_ADMIN_URL]",
    );
    command.arg(server).arg(operator::ca_arg()).arg(operator::certificate_arg()).arg(file)
}

fn completions(matches: &ArgMatches) -> Result<(), Failure> {
    let mut text = Vec::new();
    if let Some(shell) = matches.get_one::<clap_complete::Shell>("SHELL") {
        clap_complete::generate(*shell, &mut program(), "flowgate", &mut text);
    }
    let written = std::io::stdout().write_all(&text);
    written.map_err(|error| Failure::runtime(format!("cannot write: {error}")))
}

fn import_and_export() -> [Command; 2] {
    let file = |help: &'static str| Arg::new("FILE").required(true).help(help);
    let replace = Arg::new("replace")
        .long("replace")
        .action(ArgAction::SetTrue)
        .help("Overwrite the tenants and plans that are there already");
    let import = Command::new("import")
        .about("Create the plans and tenants of a profiles file in the registry")
        .after_help(
            "The whole file is checked before anything is written. What is there already stays as it \
             is, so that importing twice does no harm.",
        )
        .arg(file("Profiles file; see profiles.example.json"))
        .arg(replace);
    let export = Command::new("export")
        .about("Write the registry's plans and tenants as a profiles file")
        .after_help(
            "Passwords and keys are in it as hashes. A file that exists is not overwritten.",
        )
        .arg(file("The file to write; - for standard output"));
    [import, export].map(|command| asking(with_keys(command, REGISTRY_KEYS)))
}

fn with_settings(command: Command) -> Command {
    let all: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    with_keys(command, &all)
}

fn with_keys(command: Command, names: &[&str]) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("Configuration file in TOML [environment: FLOWGATE_CONFIG]");
    let keys = KEYS.iter().filter(|key| names.contains(&key.name));
    keys.fold(command.arg(config), |command, key| {
        let default = match key.default {
            "" => String::new(),
            default => format!(" [default: {default}]"),
        };
        let again = if key.repeatable { "; may be repeated" } else { "" };
        let arg = Arg::new(key.name)
            .long(key.name.replace('_', "-"))
            .value_name(key.value)
            .action(if key.repeatable { ArgAction::Append } else { ArgAction::Set })
            .help(format!("{}{again}{default}", key.help));
        command.arg(arg)
    })
}

fn file(matches: &ArgMatches) -> PathBuf {
    matches.get_one::<String>("FILE").map(PathBuf::from).unwrap_or_default()
}

fn settings(matches: &ArgMatches) -> Result<Settings, Failure> {
    let mut flags = BTreeMap::new();
    for key in KEYS {
        if let Ok(Some(values)) = matches.try_get_many::<String>(key.name) {
            flags.insert(key.name, values.cloned().collect());
        }
    }
    let file = matches.get_one::<String>("config").map(PathBuf::from);
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(config::load(flags, environment, file)?)
}
