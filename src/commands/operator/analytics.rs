//! `flowgate analytics`

use clap::Command;
use serde_json::{Value, json};

use super::print::{self, Column};
use super::{Call, encoded, flag, option, usage};
use crate::commands::Failure;

const PATH: &str = "/admin/v1/analytics";
const OPTIONS: [&str; 7] = ["tenant", "from", "to", "last", "step", "by", "api"];
const TOTALS: &[Column] = &[
    ("NAME", "/name"),
    ("ID", "/id"),
    ("HANDSHAKES", "/total/handshakes"),
    ("REQUESTS", "/total/requests"),
    ("MESSAGES IN", "/total/messages_from_client"),
    ("OUT", "/total/messages_from_runtime"),
    ("BYTES IN", "/total/bytes_from_client"),
    ("OUT", "/total/bytes_from_runtime"),
    ("REFUSALS", "/total/refusals"),
    ("THROTTLED", "/total/throttled"),
    ("CONNECTION SECONDS", "/total/connection_seconds"),
];
const POINTS: &[Column] = &[
    ("AT", "/at"),
    ("NAME", "/name"),
    ("HANDSHAKES", "/handshakes"),
    ("REQUESTS", "/requests"),
    ("MESSAGES IN", "/messages_from_client"),
    ("OUT", "/messages_from_runtime"),
    ("BYTES IN", "/bytes_from_client"),
    ("OUT", "/bytes_from_runtime"),
    ("REFUSALS", "/refusals"),
    ("THROTTLED", "/throttled"),
    ("CONNECTION SECONDS", "/connection_seconds"),
];

pub(super) fn command() -> Command {
    Command::new("analytics")
        .about("Handshakes, messages, bytes and so on by tenant, API, application or plan")
        .arg(option("tenant", "TENANT", "Of this tenant alone").conflicts_with("operators"))
        .arg(flag("operators", "Of the operators' own APIs alone"))
        .arg(option(
            "by",
            "tenant|api|application|plan",
            "What is told apart; tenants if nothing is said",
        ))
        .arg(option("api", "ID", "Only this published API"))
        .arg(option(
            "last",
            "SPAN",
            "Of so much time up to now, as 1h or 30days; a day if nothing is said",
        ))
        .arg(
            option("from", "MOMENT", "From then on, as 2026-11-20T12:00:00Z")
                .conflicts_with("last"),
        )
        .arg(option("to", "MOMENT", "Up to then"))
        .arg(option("step", "minute|hour|day", "How long each number's time is"))
        .arg(flag("points", "A line for each moment in place of the sums"))
        .arg(flag("csv", "Print CSV, for spreadsheets").conflicts_with_all(["json", "points"]))
}

pub(super) fn run(call: &Call<'_>) -> Result<(), Failure> {
    let mut query: Vec<(&str, Option<String>)> =
        OPTIONS.map(|name| (name, call.text(name).map(str::to_owned))).into();
    query.push(("operators", call.is_set("operators").then(|| "true".to_owned())));
    if call.is_set("csv") {
        return csv(call, &query);
    }
    let mut incomplete = Vec::new();
    let groups = call.client.pages(PATH, &query, "groups", None, |page| {
        incomplete.extend(page["incomplete"].as_array().into_iter().flatten().cloned());
    })?;
    match (call.is_json(), call.is_set("points")) {
        (true, _) => print::json(&json!({ "groups": groups, "incomplete": incomplete }))?,
        (false, false) => print::table(TOTALS, &groups)?,
        (false, true) => print::table(POINTS, &points(&groups))?,
    }
    match (incomplete.first().and_then(Value::as_str), call.is_json()) {
        (Some(what), false) => Err(Failure::runtime(format!("not all is known: {what}"))),
        _ => Ok(()),
    }
}

/// Of all groups together, by time.
fn points(groups: &[Value]) -> Vec<Value> {
    let named = |group: &Value| {
        let name = group["name"].clone();
        let points = group["points"].as_array().cloned().unwrap_or_default();
        points.into_iter().map(move |mut point| {
            point["name"] = name.clone();
            point
        })
    };
    let mut all: Vec<Value> = groups.iter().flat_map(named).collect();
    all.sort_by(|one, other| one["at"].as_str().cmp(&other["at"].as_str()));
    all
}

fn csv(call: &Call<'_>, query: &[(&str, Option<String>)]) -> Result<(), Failure> {
    let mut asked = format!("{PATH}?format=csv&limit=1000");
    for (name, value) in query {
        if let Some(value) = value {
            asked = format!("{asked}&{name}={}", encoded(value));
        }
    }
    let answer = call.get(&asked)?;
    let text = answer.as_str().ok_or_else(|| usage("the server sent no CSV".to_owned()))?;
    text.lines().try_for_each(|line| print::line(&print::plain(line)))
}
