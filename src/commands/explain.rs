//! `flowgate explain`: what would become of a request, without making it.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::import::{Source, fill, source};
use super::operator;
use super::{EXIT_USAGE, Failure};
use crate::authenticate::Authority;
use crate::client::forwarded::sender;
use crate::client::{Client, RequestIds};
use crate::clock::{Clock, Wall};
use crate::config::Settings;
use crate::connect::Dialer;
use crate::connect::reach::Reach;
use crate::journey::admission::Admission;
use crate::journey::explain::{Asked, Explanation, Line, explain};
use crate::passwords::Passwords;
use crate::registry::usage::Usage;
use crate::registry::{Caching, Registry};

/// Asked once, nothing gets old.
const CACHING: Caching = Caching { tenants_max: 100, stale_max: Duration::MAX };
/// The request was understood, and would be refused.
const EXIT_REFUSED: u8 = 1;

/// The command's own arguments.
pub(super) fn command() -> Command {
    Command::new("explain")
        .about("Say what would become of a request: row, credential, tenant, headers, or the refusal and why")
        .after_help(
            "Nothing is sent to a runtime. If a server holds the registry, it is asked with --server or \
             FLOWGATE_ADMIN_TOKEN; or give the profiles instead:\n  flowgate explain GET http://127.0.0.1:8080/api/thing -H \"apikey: KEY\" \
             --registry memory: --import profiles.example.json\n\
             Exit code 0 if it would be relayed or answered, 1 if it would be refused.",
        )
        .arg(Arg::new("METHOD").required(true).help("As in GET"))
        .arg(Arg::new("URL").required(true).help("As in http://127.0.0.1:8080/api/thing; ws: for a handshake"))
        .arg(
            Arg::new("header")
                .short('H')
                .long("header")
                .value_name("NAME: VALUE")
                .action(ArgAction::Append)
                .help("A header of the request; may be repeated"),
        )
}

/// The request that the arguments ask about.
pub(super) fn question(matches: &ArgMatches) -> Asked {
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let headers = matches.get_many::<String>("header").into_iter().flatten().cloned().collect();
    Asked { method: text("METHOD"), url: text("URL"), headers }
}

/// Decides about the request as a server with these settings would, and says so.
pub(super) fn run(
    settings: &Settings,
    question: &Asked,
    matches: &ArgMatches,
) -> Result<(), Failure> {
    let usage = |message| Failure { exit_code: EXIT_USAGE, message };
    let parts = question.parts().map_err(usage)?;
    let (store, runtime) = match source(settings, matches, false)? {
        Source::Store(store, runtime) => (store, runtime),
        Source::Server(client) => return operator::profiles::explain(&client, question),
    };
    if let Some(path) = &settings.import {
        fill(&store, runtime.handle(), path, false)?;
    }
    let failed = |error: std::io::Error| Failure::runtime(error.to_string());
    let clock = Clock::start();
    let registry = Arc::new(Registry::new(store, CACHING, clock, Wall::system()));
    let passwords = Passwords::start(clock).map_err(failed)?;
    let usage = Usage::default();
    let admission = Admission {
        base_domain: &settings.base_domain,
        authority: Authority { registry: &registry, passwords: &passwords },
        usage: &usage,
    };
    let request_ids = RequestIds::new().map_err(|error| failed(error.into()))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let reach = Reach::new(settings.allow_addresses.clone());
    let listeners = settings.listen.iter().chain(&settings.tls_listen);
    reach.listening_on(listeners.chain([&settings.admin_listen]).copied().collect());
    let dialer = Dialer::new(settings.connect, Arc::new(reach), clock);
    let dialer = dialer.map_err(|error| Failure::runtime(error.to_string()))?;
    let (address, over_tls) =
        sender(address, question.over_tls(), &parts.headers, &settings.trusted_proxies);
    let client = Client { address, over_tls, request_id: request_ids.next() };
    tell(&runtime.block_on(explain(admission, &dialer, parts, client)))
}

/// Prints an explanation.
pub(super) fn tell(explanation: &Explanation) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for Line { what, value } in &explanation.lines {
        let _ = writeln!(out, "{what:<16} {value}");
    }
    match explanation.refused {
        true => Err(Failure { exit_code: EXIT_REFUSED, message: "it would be refused".to_owned() }),
        false => Ok(()),
    }
}
