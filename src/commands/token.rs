//! `flowgate admin-token`: a new token for an operator.

use std::io::Write;

use clap::{Arg, ArgMatches, Command};

use super::Failure;
use crate::admin::tokens::{Role, line};
use crate::secret::Secret;

/// The command's own arguments.
pub(super) fn command() -> Command {
    Command::new("admin-token")
        .about(
            "Make an admin token: the token for the operator, and the line for admin_tokens_file",
        )
        .after_help(
            "The token goes to standard error, the line to standard output, so that\n  \
             flowgate admin-token ada admin >> tokens\nadds the line and shows the token. The line \
             holds the token's digest only.",
        )
        .arg(Arg::new("NAME").required(true).help("Whose it is; the audit log says it"))
        .arg(
            Arg::new("ROLE")
                .required(true)
                .value_parser(Role::ALL.map(Role::as_str))
                .help("What it may do: read looks, operate ends things, admin does everything"),
        )
}

/// Makes one and prints it.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let role = Role::parse(&text("ROLE")).unwrap_or(Role::Read);
    let name = text("NAME");
    let is_name = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic())
        && !name.starts_with('#');
    if !is_name {
        let message = "NAME must be 1 to 64 visible ASCII characters, and begin with no #";
        return Err(Failure { exit_code: super::EXIT_USAGE, message: message.to_owned() });
    }
    let secret = Secret::generate_admin_token();
    let secret = secret.map_err(|error| Failure::runtime(error.to_string()))?;
    let _ = writeln!(std::io::stderr(), "The token, shown this once: {}", secret.expose());
    let written = writeln!(std::io::stdout(), "{}", line(&name, role, &secret));
    written.map_err(|error| Failure::runtime(format!("cannot write: {error}")))
}
