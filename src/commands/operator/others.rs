//! `flowgate plan …`, `session …`, `audit` and `server …`

use clap::Command;
use http::Method;
use serde_json::{Value, json};

use super::print::{self, Column};
use super::{Call, Expecting, encoded, flag, name_arg, option, path_of, seconds, usage};
use crate::commands::Failure;

const PLANS: &[Column] = &[
    ("NAME", "/name"),
    ("CONNECTIONS", "/limits/connections"),
    ("MESSAGE BYTES", "/limits/message_bytes"),
    ("PER SECOND", "/limits/messages_per_second"),
    ("PER MINUTE", "/limits/messages_per_minute"),
    ("PER DAY", "/limits/messages_per_day"),
    ("OVER", "/limits/over"),
    ("SLEEP AFTER S", "/limits/sleep_after_seconds"),
    ("ALWAYS ON", "/limits/always_on"),
];
const SESSIONS: &[Column] =
    &[("ID", "/id"), ("TENANT", "/tenant"), ("CREATED", "/created"), ("SEEN", "/seen")];
const AUDIT: &[Column] = &[
    ("AT", "/at"),
    ("WHO", "/who"),
    ("WHAT", "/verb"),
    ("TO", "/object"),
    ("FROM", "/client"),
    ("BEFORE", "/before"),
    ("AFTER", "/after"),
];
const SETTINGS: &[Column] = &[("NAME", "/name"), ("VALUE", "/values"), ("SOURCE", "/source")];
const REFUSALS: &[Column] = &[
    ("AT", "/at"),
    ("STATUS", "/status"),
    ("CODE", "/code"),
    ("TENANT", "/tenant"),
    ("CLIENT", "/client"),
    ("PATH", "/path"),
    ("WHY", "/why"),
];

const REPLICAS: &[Column] = &[
    ("ID", "/id"),
    ("THIS", "/this"),
    ("HOST", "/host"),
    ("PID", "/pid"),
    ("VERSION", "/version"),
    ("SINCE", "/since"),
    ("LISTEN", "/listen"),
    ("CONNECTIONS", "/connections"),
    ("EXCHANGES", "/exchanges"),
    ("DRAINING", "/draining"),
];

pub(super) fn commands() -> Vec<Command> {
    let tenant = || option("tenant", "TENANT", "Only this tenant's");
    let limit = || option("limit", "N", "At most so many; 100 if nothing is said");
    let plan = Command::new("plan").about("Plans of a running server").subcommands([
        Command::new("list").about("List plans"),
        Command::new("set")
            .about("Create a plan, or replace its limits")
            .arg(name_arg("PLAN", "The plan's name"))
            .arg(option("connections", "N", "Live connections at once"))
            .arg(option("message-bytes", "BYTES", "Bytes of one message"))
            .arg(option("per-second", "N", "Messages per second, on average"))
            .arg(option("burst", "N", "Messages at once").requires("per-second"))
            .arg(option("per-minute", "N", "Messages per minute, on average"))
            .arg(option("per-day", "N", "Messages in 24 hours, on average"))
            .arg(option("over", "pace|drop|close", "What becomes of the rest"))
            .arg(option("sleep-after", "SPAN", "Runtimes sleep after so long without use"))
            .arg(flag("always-on", "Runtimes are started at once and never sleep"))
            .arg(option("limits", "FILE", "A JSON file with the limits instead")),
        Command::new("remove")
            .about("Remove a plan that no tenant has")
            .arg(name_arg("PLAN", "The plan's name"))
            .arg(flag("yes", "Do not ask")),
    ]);
    let session = Command::new("session").about("Browser sessions").subcommands([
        Command::new("list").about("List sessions").arg(tenant()),
        Command::new("end")
            .about("End a session, or all of a tenant")
            .arg(clap::Arg::new("ID").help("Of 'session list'").conflicts_with("tenant"))
            .arg(tenant()),
    ]);
    let server = Command::new("server").about("The server itself").subcommands([
        Command::new("whoami").about("The name and the role of the token"),
        Command::new("status").about("How it is"),
        Command::new("configuration").about("Every setting, with its source"),
        Command::new("replicas").about("All that share its registry"),
        Command::new("cache").about("What its cache of tenants was asked"),
        Command::new("refusals")
            .about("What it refused lately, the newest first")
            .arg(tenant())
            .arg(option("code", "CODE", "Only this code"))
            .arg(limit()),
        Command::new("drain")
            .about("Stop it in order, as SIGTERM does")
            .arg(flag("yes", "Do not ask")),
    ]);
    vec![plan, session, server]
}

pub(super) fn audit_command() -> Command {
    Command::new("audit")
        .about("Who changed what, the newest first")
        .arg(option("who", "NAME", "Only what this operator or tenant did"))
        .arg(option("object", "OBJECT", "Only what was done to this, as in tenant/mike"))
        .arg(option("limit", "N", "At most so many; 100 if nothing is said"))
}

pub(super) fn run(name: &str, verb: &str, call: &Call<'_>) -> Result<(), Failure> {
    match (name, verb) {
        ("plan", "list") => listed(call, "plans", &[], None, PLANS),
        ("plan", "set") => set_plan(call),
        ("plan", _) => remove_plan(call),
        ("session", "list") => listed(call, "sessions", &["tenant"], None, SESSIONS),
        ("session", _) => end_sessions(call),
        ("audit", _) => {
            listed_as(call, "audit", &["who", "object"], Some(limit(call)?), "entries", AUDIT)
        }
        (_, verb) => server(call, verb),
    }
}

fn limit(call: &Call<'_>) -> Result<usize, Failure> {
    const DEFAULT: u64 = 100;
    let limit = call.number("limit")?.unwrap_or(DEFAULT);
    match usize::try_from(limit) {
        Ok(limit) if limit > 0 => Ok(limit),
        _ => Err(usage("--limit must be at least 1".to_owned())),
    }
}

fn listed(
    call: &Call<'_>,
    what: &str,
    filters: &[&str],
    limit: Option<usize>,
    columns: &[Column],
) -> Result<(), Failure> {
    listed_as(call, what, filters, limit, what, columns)
}

fn listed_as(
    call: &Call<'_>,
    what: &str,
    filters: &[&str],
    limit: Option<usize>,
    member: &str,
    columns: &[Column],
) -> Result<(), Failure> {
    let query: Vec<_> =
        filters.iter().map(|name| (*name, call.text(name).map(str::to_owned))).collect();
    let found = call.client.list(&format!("/admin/v1/{what}"), &query, member, limit)?;
    call.list(columns, &found)
}

fn set_plan(call: &Call<'_>) -> Result<(), Failure> {
    let name = call.needed("PLAN");
    let mut limits = match path_of(call, "limits") {
        Some(path) => {
            let fault = |what: String| Failure::runtime(format!("{}: {what}", path.display()));
            let text = std::fs::read_to_string(&path).map_err(|error| fault(error.to_string()))?;
            serde_json::from_str(&text).map_err(|error| fault(error.to_string()))?
        }
        None => json!({}),
    };
    if !limits.is_object() {
        return Err(usage("the limits must be a JSON object".to_owned()));
    }
    let numbers = [
        ("connections", "/connections"),
        ("message-bytes", "/message_bytes"),
        ("per-second", "/messages_per_second"),
        ("per-minute", "/messages_per_minute"),
        ("per-day", "/messages_per_day"),
    ];
    for (argument, place) in numbers {
        if let Some(number) = call.number(argument)? {
            put(&mut limits, place, json!(number));
        }
    }
    if let Some(over) = call.text("over") {
        put(&mut limits, "/over", json!(over));
    }
    if let Some(burst) = call.number("burst")? {
        let limit = limits["messages_per_second"].take();
        put(&mut limits, "/messages_per_second", json!({ "limit": limit, "burst": burst }));
    }
    if let Some(span) = call.text("sleep-after") {
        put(&mut limits, "/sleep_after_seconds", json!(seconds("sleep-after", span)?));
    }
    if call.is_set("always-on") {
        put(&mut limits, "/always_on", json!(true));
    }
    let path = format!("/admin/v1/plans/{}", encoded(&name));
    let plans = call.client.list("/admin/v1/plans", &[], "plans", None)?;
    let present = plans.iter().find(|plan| plan["name"] == *name);
    let tag = present.map(|plan| format!("\"{}\"", plan["revision"]));
    let expecting = tag.as_deref().map_or(Expecting::Absent, Expecting::Tag);
    let plan = call.client.ask(Method::PUT, &path, expecting, Some(&limits))?.body;
    call.done(&plan, &format!("{name} is set"))
}

fn put(limits: &mut Value, place: &str, value: Value) {
    let mut target = limits;
    for member in place.split('/').skip(1) {
        target = &mut target[member];
    }
    *target = value;
}

fn remove_plan(call: &Call<'_>) -> Result<(), Failure> {
    let name = call.needed("PLAN");
    call.confirm(&format!("The plan {name} will be gone."))?;
    let path = format!("/admin/v1/plans/{}", encoded(&name));
    let removed = call.client.ask(Method::DELETE, &path, Expecting::Tag("*"), None)?.body;
    call.done(&removed, &format!("{name} was removed"))
}

fn end_sessions(call: &Call<'_>) -> Result<(), Failure> {
    let path = match (call.text("ID"), call.text("tenant")) {
        (Some(id), _) => format!("/admin/v1/sessions/{}", encoded(id)),
        (None, Some(tenant)) => format!("/admin/v1/sessions?tenant={}", encoded(tenant)),
        (None, None) => return Err(usage("say which: an ID or --tenant".to_owned())),
    };
    let ended = call.send(Method::DELETE, &path, None)?;
    call.done(&ended, &format!("{} sessions were ended", ended["ended"]))
}

fn server(call: &Call<'_>, verb: &str) -> Result<(), Failure> {
    match verb {
        "refusals" => listed(call, "refusals", &["tenant", "code"], Some(limit(call)?), REFUSALS),
        "configuration" => {
            let answer = call.get("/admin/v1/configuration")?;
            let settings = answer["settings"].as_array().map(Vec::as_slice).unwrap_or_default();
            call.list(SETTINGS, settings)
        }
        "replicas" => {
            let answer = call.get("/admin/v1/replicas")?;
            let replicas = answer["replicas"].as_array().map(Vec::as_slice).unwrap_or_default();
            call.list(REPLICAS, replicas)
        }
        "drain" => {
            call.confirm("The server will stop.")?;
            let answer = call.send(Method::POST, "/admin/v1/drain", None)?;
            call.done(&answer, "the server drains")
        }
        what => {
            let answer = call.get(&format!("/admin/v1/{what}"))?;
            if call.is_json() {
                return print::json(&answer);
            }
            let members = answer.as_object().into_iter().flatten();
            let rows: Vec<Value> =
                members.map(|(name, value)| json!({ "name": name, "value": value })).collect();
            print::table(&[("NAME", "/name"), ("VALUE", "/value")], &rows)
        }
    }
}
