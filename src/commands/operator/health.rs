//! `flowgate health`: whether a server is up, for whoever starts it anew if it is not.

use std::time::Duration;

use clap::{ArgMatches, Command};

use super::client::Client;
use super::{certificate_arg, files, flag, print};
use crate::commands::Failure;
use crate::config::Settings;

/// Who asks waits no longer either.
const ANSWER_MAX: Duration = Duration::from_secs(5);

pub(super) fn command() -> Command {
    Command::new("health")
        .about("Whether a server is up: exit code 0 if it is")
        .after_help(
            "Asks /healthz of its operators' listener, as an image's health check, which has no other \
             program to ask with. Needs no token. Exit code 0 if the server is up, 1 with --ready if it \
             takes no clients, 69 if it does not answer within 5 s.",
        )
        .arg(super::server_arg())
        .arg(super::ca_arg())
        .arg(certificate_arg())
        .arg(super::config_arg())
        .arg(flag("ready", "Ask /readyz instead: whether it takes clients"))
}

pub(super) fn run(matches: &ArgMatches, settings: &Settings) -> Result<(), Failure> {
    let url = matches.get_one::<String>("server").map(String::as_str);
    let client = Client::without_token(settings, url, files(matches))?;
    let path = if matches.get_flag("ready") { "/readyz" } else { "/healthz" };
    let (status, said) = client.look(path, ANSWER_MAX)?;
    match status {
        200 => print::line(&said.to_string()),
        _ => Err(Failure::runtime(format!("{} answers {status}: {said}", client.server()))),
    }
}
