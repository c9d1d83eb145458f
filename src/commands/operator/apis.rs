//! `flowgate api …`

use clap::{ArgAction, Command};
use http::Method;
use serde_json::{Value, json};

use super::print::{self, Column};
use super::{Call, Expecting, encoded, flag, name_arg, option, path_of, seconds, usage};
use crate::commands::Failure;

const LINE: &[Column] = &[
    ("PATH", "/path"),
    ("ID", "/id"),
    ("NAME", "/definition/name"),
    ("OWNER", "/tenant"),
    ("STATE", "/state"),
    ("SECURITY", "/definition/security"),
    ("LIVE", "/live"),
    ("REVISION", "/revision"),
];
const SUBSCRIBER: &[Column] = &[
    ("SUBSCRIPTION", "/id"),
    ("APPLICATION", "/name"),
    ("CONSUMER KEY", "/application"),
    ("PLAN", "/plan"),
    ("CREATED", "/created"),
    ("BLOCKED SINCE", "/blocked_since"),
    ("LIVE", "/connections"),
];
const APIS: &str = "/admin/v1/apis";

pub(super) fn command() -> Command {
    let api = || name_arg("API", "Its path, as in /echowebsocket/1.0.0, or its id");
    let subscription = || name_arg("SUBSCRIPTION", "Its id, as 'api subscribers' shows it");
    let add = with_definition(Command::new("add").about("Create an API"))
        .arg(flag("publish", "Publish it at once"));
    let set =
        with_definition(Command::new("set").about("Change what is said of an API").arg(api()));
    Command::new("api").about("Published APIs of a running server").subcommands([
        add,
        Command::new("list")
            .about("List APIs, the tenants' included")
            .arg(option("tenant", "NAME", "Only this tenant's"))
            .arg(option("state", "STATE", "Only those in this state")),
        Command::new("show").about("Show an API").arg(api()),
        set,
        Command::new("state")
            .about("Move an API on: created, prototyped, published, blocked, deprecated, retired")
            .arg(api())
            .arg(name_arg("STATE", "The state"))
            .arg(option("notice", "SPAN", "For retired: how long what runs goes on [default: 60s]"))
            .arg(flag("yes", "Do not ask")),
        Command::new("subscribers")
            .about("Show which applications are subscribed to an API")
            .arg(api()),
        Command::new("block")
            .about("Block a subscription to an API, and end what rests on it")
            .arg(api())
            .arg(subscription())
            .arg(flag("yes", "Do not ask")),
        Command::new("unblock")
            .about("Let a blocked subscription through again")
            .arg(api())
            .arg(subscription()),
        Command::new("remove")
            .about("Remove an API, and close what runs on it")
            .arg(api())
            .arg(flag("yes", "Do not ask")),
    ])
}

fn with_definition(command: Command) -> Command {
    command
        .arg(option(
            "file",
            "FILE",
            "A definition in JSON, as 'api show --json' has it; options go on top",
        ))
        .arg(option("name", "TEXT", "A name for people"))
        .arg(option("context", "PATH", "The beginning of its paths, as in /echowebsocket"))
        .arg(option("api-version", "TEXT", "Follows the context, as in 1.0.0"))
        .arg(
            option(
                "node",
                "URL[=WEIGHT]",
                "A server, as in wss://echo.example.org; may be repeated",
            )
            .action(ArgAction::Append),
        )
        .arg(option("server-name", "NAME", "The nodes' name by SNI and in their certificates"))
        .arg(option("host", "HOST", "The Host header that the nodes get"))
        .arg(option("node-ca", "FILE", "The only authorities to trust for the nodes, in PEM"))
        .arg(
            option("security", "KIND", "none, key, basic, jwt or oauth2; may be repeated")
                .action(ArgAction::Append),
        )
        .arg(flag("show-credentials", "Let the endpoint see the callers' credentials"))
        .arg(
            option("offer", "PLAN", "A plan to subscribe with; may be repeated")
                .action(ArgAction::Append),
        )
}

pub(super) fn run(verb: &str, call: &Call<'_>) -> Result<(), Failure> {
    match verb {
        "add" => {
            let path = if call.is_set("publish") { "?publish=true" } else { "" };
            let body = definition(call, json!({}))?;
            let answer = call.send(Method::POST, &format!("{APIS}{path}"), Some(&body))?;
            let (id, at, state) = (&answer["id"], &answer["path"], &answer["state"]);
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            call.done(&answer, &format!("{} is {}; its id is {}", text(at), text(state), text(id)))
        }
        "list" => list(call),
        "show" => print::json(&find(call)?),
        "set" => set(call),
        "state" => set_state(call),
        "subscribers" => {
            let answer = call.get(&format!("{APIS}/{}/subscriptions", id_of(&find(call)?)))?;
            call.list(SUBSCRIBER, answer["subscriptions"].as_array().map_or(&[], Vec::as_slice))
        }
        "block" => set_blocked(call, true),
        "unblock" => set_blocked(call, false),
        _ => {
            let id = id_of(&find(call)?);
            call.confirm("What runs on this API will end.")?;
            let at = format!("{APIS}/{id}");
            let answer = call.client.ask(Method::DELETE, &at, Expecting::Tag("*"), None)?.body;
            call.done(&answer, &format!("removed; {} connections were closed", answer["closed"]))
        }
    }
}

fn list(call: &Call<'_>) -> Result<(), Failure> {
    let mut query = vec!["limit=1000".to_owned()];
    for name in ["tenant", "state"] {
        query.extend(call.text(name).map(|value| format!("{name}={}", encoded(value))));
    }
    let mut rows = Vec::new();
    let mut after = String::new();
    loop {
        let page = call.get(&format!("{APIS}?{}{after}", query.join("&")))?;
        rows.extend(page["apis"].as_array().into_iter().flatten().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={}", encoded(next)),
            None => return call.list(LINE, &rows),
        }
    }
}

fn set(call: &Call<'_>) -> Result<(), Failure> {
    let present = find(call)?;
    let at = format!("{APIS}/{}", id_of(&present));
    let body = definition(call, present["definition"].clone())?;
    let tag = format!("\"{}\"", present["revision"]);
    let answer = call.client.ask(Method::PUT, &at, Expecting::Tag(&tag), Some(&body))?.body;
    call.done(&answer, &format!("changed; {} connections were closed", answer["closed"]))
}

fn set_state(call: &Call<'_>) -> Result<(), Failure> {
    let state = call.needed("STATE");
    let id = id_of(&find(call)?);
    if matches!(state.as_str(), "blocked" | "retired" | "created") {
        call.confirm("What runs on this API will end.")?;
    }
    let mut body = json!({ "state": state });
    if let Some(notice) = call.text("notice") {
        body["notice_seconds"] = json!(seconds("notice", notice)?);
    }
    let answer = call.send(Method::PUT, &format!("{APIS}/{id}/state"), Some(&body))?;
    call.done(&answer, &format!("{state}; {} connections were closed", answer["closed"]))
}

fn set_blocked(call: &Call<'_>, blocked: bool) -> Result<(), Failure> {
    let api = id_of(&find(call)?);
    if blocked {
        call.confirm("What rests on this subscription will end.")?;
    }
    let at =
        format!("{APIS}/{api}/subscriptions/{}/blocked", encoded(&call.needed("SUBSCRIPTION")));
    let answer = call.send(Method::PUT, &at, Some(&json!({ "blocked": blocked })))?;
    let told = match blocked {
        true => format!("blocked; {} connections were closed", answer["closed"]),
        false => "unblocked".to_owned(),
    };
    call.done(&answer, &told)
}

/// The API that an argument means.
fn find(call: &Call<'_>) -> Result<Value, Failure> {
    let wanted = call.needed("API");
    if !wanted.starts_with('/') {
        return call.get(&format!("{APIS}/{}", encoded(&wanted)));
    }
    let mut after = String::new();
    loop {
        let page = call.get(&format!("{APIS}?limit=1000{after}"))?;
        let mut apis = page["apis"].as_array().into_iter().flatten();
        if let Some(found) = apis.find(|api| api["path"] == *wanted) {
            return Ok(found.clone());
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={}", encoded(next)),
            None => return Err(Failure::runtime(format!("there is no API {wanted:?}"))),
        }
    }
}

fn id_of(api: &Value) -> String {
    encoded(api["id"].as_str().unwrap_or_default())
}

/// A definition: the file's, or what is there, with what options say on top.
fn definition(call: &Call<'_>, present: Value) -> Result<Value, Failure> {
    let mut said = match path_of(call, "file") {
        Some(path) => {
            let text = read(&path)?;
            let said: Value = serde_json::from_str(&text)
                .map_err(|error| usage(format!("{}: {error}", path.display())))?;
            // As 'api show' prints it.
            said.get("definition").cloned().unwrap_or(said)
        }
        None => present,
    };
    for (option, member) in [("name", "name"), ("context", "context"), ("api-version", "version")] {
        if let Some(text) = call.text(option) {
            said[member] = json!(text);
        }
    }
    if let Some(nodes) = call.texts("node") {
        let nodes: Result<Vec<Value>, Failure> = nodes.iter().map(|node| read_node(node)).collect();
        said["endpoint"]["nodes"] = json!(nodes?);
    }
    for (option, member) in [("server-name", "server_name"), ("host", "host")] {
        if let Some(text) = call.text(option) {
            said["endpoint"][member] = json!(text);
        }
    }
    if let Some(path) = path_of(call, "node-ca") {
        said["endpoint"]["ca_pem"] = json!(read(&path)?);
    }
    if let Some(kinds) = call.texts("security") {
        said["security"] = json!(kinds);
    }
    if call.is_set("show-credentials") {
        said["hide_credentials"] = json!(false);
    }
    if let Some(plans) = call.texts("offer") {
        said["plans"] = json!(plans);
    }
    Ok(said)
}

/// `URL`, or `URL=WEIGHT`.
fn read_node(text: &str) -> Result<Value, Failure> {
    let Some((url, weight)) = text.rsplit_once('=') else { return Ok(json!({ "url": text })) };
    let weight: u32 =
        weight.parse().map_err(|_| usage(format!("--node: {weight:?} is no weight")))?;
    Ok(json!({ "url": url, "weight": weight }))
}

fn read(path: &std::path::Path) -> Result<String, Failure> {
    let told = |error| Failure::runtime(format!("{}: {error}", path.display()));
    std::fs::read_to_string(path).map_err(told)
}
