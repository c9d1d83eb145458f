//! `flowgate explain`: what would become of a request, without making it.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Uri};

use super::import::{fill, open};
use super::{EXIT_USAGE, Failure};
use crate::authenticate::Authority;
use crate::client::{Client, RequestIds};
use crate::clock::{Clock, Wall};
use crate::config::Settings;
use crate::grant::Grant;
use crate::journey::admission::{Admission, Admitted, Decision, towards};
use crate::journey::trail::Trail;
use crate::passwords::Passwords;
use crate::refusal::Refusal;
use crate::registry::usage::Usage;
use crate::registry::{Caching, Registry};
use crate::tenant::{ApiKey, Tenant};

/// Asked once, nothing gets old.
const CACHING: Caching = Caching { tenants_max: 100, stale_max: Duration::MAX };
/// The request was understood, and would be refused.
const EXIT_REFUSED: u8 = 1;

/// The command's own arguments.
pub(super) fn command() -> Command {
    Command::new("explain")
        .about("Say what would become of a request: row, credential, tenant, headers, or the refusal and why")
        .after_help(
            "Nothing is sent. A registry file that a server holds cannot be read; give the profiles \
             instead:\n  flowgate explain GET http://127.0.0.1:8080/api/thing -H \"apikey: KEY\" \
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

/// A request as it would arrive, and whether by TLS.
pub(super) type Asked = (Parts, bool);

/// Reads it from the arguments.
pub(super) fn request(matches: &ArgMatches) -> Result<Asked, Failure> {
    let usage = |message: String| Failure { exit_code: EXIT_USAGE, message };
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let method: Method =
        text("METHOD").parse().map_err(|_| usage("METHOD is no method like GET".to_owned()))?;
    let url: Uri = text("URL").parse().map_err(|_| usage("URL is no URL".to_owned()))?;
    let authority = url.authority().ok_or_else(|| {
        usage("URL must be a whole one, like http://127.0.0.1:8080/api/thing".to_owned())
    })?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::builder().method(method).uri(path).body(());
    let (mut parts, ()) = request.map_err(|error| usage(error.to_string()))?.into_parts();
    for header in matches.get_many::<String>("header").into_iter().flatten() {
        let bad = || usage("a header must be like \"Name: value\"".to_owned());
        let (name, value) = header.split_once(':').ok_or_else(bad)?;
        let name: HeaderName = name.trim().parse().map_err(|_| bad())?;
        let value = HeaderValue::from_str(value.trim()).map_err(|_| bad())?;
        parts.headers.append(name, value);
    }
    if !parts.headers.contains_key(HOST) {
        let host = HeaderValue::from_str(authority.as_str());
        parts.headers.insert(HOST, host.map_err(|error| usage(error.to_string()))?);
    }
    if matches!(url.scheme_str(), Some("ws" | "wss")) {
        parts.headers.insert("upgrade", HeaderValue::from_static("websocket"));
        parts.headers.insert("connection", HeaderValue::from_static("Upgrade"));
    }
    let over_tls = matches!(url.scheme_str(), Some("https" | "wss"));
    Ok((parts, over_tls))
}

/// Decides about the request as a server with these settings would, and says so.
pub(super) fn run(settings: &Settings, (parts, over_tls): Asked) -> Result<(), Failure> {
    let runtime = super::import::runtime()?;
    let store = open(settings, false, runtime.handle())?;
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
    let client = Client { address, over_tls, request_id: request_ids.next() };
    let mut trail = Trail::default();
    let decision = runtime.block_on(admission.decide(&parts, client, &mut trail));
    let (lines, is_refused) = match decision {
        Ok(decision) => (accepted(&decision, parts, client), false),
        Err(refusal) => (refused(&refusal, &trail), true),
    };
    let mut out = std::io::stdout().lock();
    for (what, value) in lines {
        let _ = writeln!(out, "{what:<16} {value}");
    }
    match is_refused {
        true => Err(Failure { exit_code: EXIT_REFUSED, message: "it would be refused".to_owned() }),
        false => Ok(()),
    }
}

type Lines = Vec<(&'static str, String)>;

fn refused(refusal: &Refusal, trail: &Trail) -> Lines {
    let found = |text: Option<String>| text.unwrap_or_else(|| "none was found".to_owned());
    let row = Some(trail.row.to_owned()).filter(|row| !row.is_empty());
    let claimed = match refusal {
        Refusal::WrongCredential { claimed, .. } => claimed.as_ref(),
        _ => None,
    };
    vec![
        ("row", found(row)),
        ("tenant", found(trail.tenant.as_ref().or(claimed).map(ToString::to_string))),
        ("refusal", format!("{} {}", refusal.status().as_u16(), refusal.label())),
        ("the client reads", refusal.public().into_owned()),
        ("the log says", refusal.to_string()),
    ]
}

fn accepted(decision: &Decision, parts: Parts, client: Client) -> Lines {
    match decision {
        Decision::Own(_) => vec![("answered by", "flowgate itself".to_owned())],
        Decision::Preflight => {
            vec![("answered by", "flowgate itself: a preflight on a private row".to_owned())]
        }
        Decision::Runtime(admitted) => relayed(admitted, parts, client),
    }
}

fn relayed(admitted: &Admitted, parts: Parts, client: Client) -> Lines {
    let Admitted { identity, row, instance, path_and_query } = admitted;
    let tenant = &identity.tenant;
    let before = parts.headers.clone();
    let mut headers = parts.headers;
    towards(*row, identity, client).rewrite(&mut headers);
    vec![
        ("row", row.label().to_owned()),
        ("credential", describe(&identity.grant, tenant)),
        ("tenant", format!("{} ({})", tenant.username, tenant.id)),
        ("runtime", instance.to_string()),
        ("its path", path_and_query.clone()),
        ("headers removed", names(&before, &headers)),
        ("headers set", set(&before, &headers)),
    ]
}

fn describe(grant: &Grant, tenant: &Tenant) -> String {
    match grant {
        Grant::Anonymous => "none is needed".to_owned(),
        Grant::Password { .. } => "the password".to_owned(),
        Grant::Key { id, .. } => match tenant.key(*id) {
            Some(ApiKey { name: Some(name), .. }) => format!("the API key {name:?}"),
            _ => "the default API key".to_owned(),
        },
    }
}

/// Headers that are gone; their values may be secrets.
fn names(before: &HeaderMap, after: &HeaderMap) -> String {
    let mut gone: Vec<&str> =
        before.keys().filter(|name| !after.contains_key(*name)).map(HeaderName::as_str).collect();
    gone.sort_unstable();
    if gone.is_empty() { "none".to_owned() } else { gone.join(", ") }
}

/// Headers that are new or have another value.
fn set(before: &HeaderMap, after: &HeaderMap) -> String {
    let mut set: Vec<String> = after
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(*value))
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    set.sort_unstable();
    set.join(", ")
}
