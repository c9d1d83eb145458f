//! `flowgate connections …`

use std::collections::BTreeSet;
use std::io::Write;

use clap::{Arg, Command};
use http::Method;
use serde_json::{Value, json};

use super::print::Column;
use super::{Call, encoded, option, tenant_path, usage};
use crate::commands::Failure;

const CONNECTIONS: &[Column] = &[
    ("ID", "/id"),
    ("TENANT", "/tenant"),
    ("KIND", "/kind"),
    ("PATH", "/path"),
    ("GRANT", "/grant"),
    ("CLIENT", "/client"),
    ("SINCE", "/since"),
    ("IN", "/bytes_from_client"),
    ("OUT", "/bytes_from_runtime"),
];

pub(super) fn command() -> Command {
    let filters = |command: Command| {
        let key = "Only those on this key of the tenant's; default for its default key";
        command
            .arg(option("tenant", "TENANT", "This tenant's, on all replicas"))
            .arg(option("key", "ID", key))
            .arg(option("path", "PATH", "Only those at or below this path of the runtime's"))
    };
    let id = Arg::new("ID")
        .help("Of 'connections list'; another replica's needs --tenant")
        .conflicts_with_all(["key", "path"]);
    let close = Command::new("close").about("Close connections: one, or all that the filters want");
    Command::new("connections")
        .about("What runs: of a tenant on all replicas, else on the server that is asked")
        .subcommands([
            filters(Command::new("list").about("List connections and plain requests")),
            filters(close).arg(id),
        ])
}

pub(super) fn run(verb: &str, call: &Call<'_>) -> Result<(), Failure> {
    match verb {
        "list" => list(call),
        _ => close(call),
    }
}

fn list(call: &Call<'_>) -> Result<(), Failure> {
    let filter = |name: &'static str| (name, call.text(name).map(str::to_owned));
    let query = [filter("key"), filter("path")];
    let path = match call.text("tenant") {
        Some(tenant) => format!("{}/connections", tenant_path(tenant)),
        None => "/admin/v1/connections".to_owned(),
    };
    let mut gaps = BTreeSet::new();
    let see = |page: &Value| gaps.extend(texts(&page["incomplete"]).map(str::to_owned));
    let found = call.client.pages(&path, &query, "connections", None, see)?;
    call.list(CONNECTIONS, &found)?;
    for gap in gaps {
        // The list is still one: it goes where it goes, and this to whoever looks.
        let _ = writeln!(std::io::stderr(), "flowgate: not all is known: {gap}");
    }
    Ok(())
}

fn close(call: &Call<'_>) -> Result<(), Failure> {
    let closed = match (call.text("ID"), call.text("tenant")) {
        (Some(id), tenant) => {
            let above = tenant.map_or_else(|| "/admin/v1".to_owned(), tenant_path);
            let path = format!("{above}/connections/{}", encoded(id));
            call.send(Method::DELETE, &path, None)?
        }
        (None, _) => {
            let mut wanted = json!({});
            for name in ["tenant", "key", "path"] {
                if let Some(value) = call.text(name) {
                    wanted[name] = json!(value);
                }
            }
            if wanted == json!({}) {
                return Err(usage("say which: an ID, --tenant or --path".to_owned()));
            }
            call.send(Method::POST, "/admin/v1/connections/close", Some(&wanted))?
        }
    };
    let place = if closed["replicas"] == "this" { " on this replica" } else { "" };
    call.done(&closed, &format!("{} connections were closed{place}", closed["closed"]))?;
    match texts(&closed["incomplete"]).collect::<Vec<_>>() {
        gaps if gaps.is_empty() => Ok(()),
        gaps => Err(Failure::runtime(format!("some may still run: {}", gaps.join("; ")))),
    }
}

fn texts(values: &Value) -> impl Iterator<Item = &str> {
    values.as_array().into_iter().flatten().filter_map(Value::as_str)
}
