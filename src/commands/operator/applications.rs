//! `flowgate application …` and `flowgate signing-key …`

use clap::Command;
use http::Method;
use serde_json::{Value, json};

use super::print::{self, Column};
use super::{Call, encoded, flag, name_arg, option, seconds};
use crate::commands::Failure;

const LINE: &[Column] = &[
    ("ID", "/id"),
    ("NAME", "/name"),
    ("OWNER", "/owner"),
    ("SUBSCRIPTIONS", "/subscriptions"),
    ("REVISION", "/revision"),
];
const SUBSCRIPTION: &[Column] = &[
    ("ID", "/id"),
    ("API", "/path"),
    ("STATE", "/state"),
    ("PLAN", "/plan"),
    ("CREATED", "/created"),
    ("BLOCKED SINCE", "/blocked_since"),
];
const KEY: &[Column] = &[
    ("KID", "/kid"),
    ("USE", "/use"),
    ("CREATED", "/created"),
    ("CURRENT SINCE", "/current_since"),
    ("UNTIL", "/until"),
];
const APPLICATIONS: &str = "/admin/v1/applications";
const SIGNING_KEYS: &str = "/admin/v1/signing-keys";

pub(super) fn command() -> Command {
    let id = || name_arg("APPLICATION", "Its id, which is the consumer key; or its name");
    Command::new("application")
        .about("Applications that call published APIs with access tokens")
        .subcommands([
            Command::new("add")
                .about("Create an application of the operators'")
                .arg(name_arg("NAME", "The name")),
            Command::new("list").about("List applications, the tenants' included").arg(option(
                "tenant",
                "NAME",
                "Only this tenant's",
            )),
            Command::new("show").about("Show an application's subscriptions").arg(id()),
            Command::new("keys")
                .about("Give an application a new consumer secret, and print it once")
                .arg(id())
                .arg(option("overlap", "SPAN", "The secret before works on for this time"))
                .arg(flag("yes", "Do not ask")),
            Command::new("subscribe")
                .about("Subscribe an application to a published API")
                .arg(id())
                .arg(name_arg("API", "Its path, as in /echowebsocket/1.0.0, or its id"))
                .arg(option("plan", "NAME", "One of the API's plans")),
            Command::new("plan")
                .about("Give a subscription another of the API's plans, also for what runs")
                .arg(id())
                .arg(name_arg("SUBSCRIPTION", "Its id"))
                .arg(name_arg("PLAN", "The plan's name")),
            Command::new("unsubscribe")
                .about("End a subscription, and what rests on it")
                .arg(id())
                .arg(name_arg("SUBSCRIPTION", "Its id"))
                .arg(flag("yes", "Do not ask")),
            Command::new("remove")
                .about("Remove an application, and end what rests on its tokens")
                .arg(id())
                .arg(flag("yes", "Do not ask")),
        ])
}

pub(super) fn signing_command() -> Command {
    Command::new("signing-key").about("The keys that sign access tokens").subcommands([
        Command::new("list").about("List them"),
        Command::new("rotate")
            .about("Have the next key sign, and make another one to be next")
            .arg(flag("revoke", "Drop all keys that there are: every access token ends"))
            .arg(flag("yes", "Do not ask")),
    ])
}

pub(super) fn run(verb: &str, call: &Call<'_>) -> Result<(), Failure> {
    match verb {
        "add" => {
            let body = json!({ "name": call.needed("NAME") });
            let answer = call.send(Method::POST, APPLICATIONS, Some(&body))?;
            let id = answer["id"].as_str().unwrap_or_default();
            return call.done(&answer, &format!("created: its consumer key is {id}"));
        }
        "list" => return list(call),
        _ => {}
    }
    let id = find(call, &call.needed("APPLICATION"))?;
    let path = format!("{APPLICATIONS}/{}", encoded(&id));
    match verb {
        "show" => {
            let answer = call.get(&path)?;
            match call.is_json() {
                true => print::json(&answer),
                false => print::table(SUBSCRIPTION, members(&answer, "subscriptions")),
            }
        }
        "keys" => generate_keys(call, &path),
        "subscribe" => {
            let mut body = json!({ "api": call.needed("API") });
            if let Some(plan) = call.text("plan") {
                body["plan"] = json!(plan);
            }
            let answer = call.send(Method::POST, &format!("{path}/subscriptions"), Some(&body))?;
            let id = answer["id"].as_str().unwrap_or_default();
            call.done(&answer, &format!("subscribed: {id}"))
        }
        "plan" => {
            let subscription = encoded(&call.needed("SUBSCRIPTION"));
            let at = format!("{path}/subscriptions/{subscription}/plan");
            let body = json!({ "plan": call.needed("PLAN") });
            let answer = call.send(Method::PUT, &at, Some(&body))?;
            call.done(&answer, "changed")
        }
        "unsubscribe" => {
            call.confirm("What rests on this subscription will end.")?;
            let at = format!("{path}/subscriptions/{}", encoded(&call.needed("SUBSCRIPTION")));
            let answer = call.send(Method::DELETE, &at, None)?;
            call.done(&answer, &format!("ended; {} connections were closed", answer["closed"]))
        }
        _ => {
            call.confirm("What rests on this application's tokens will end.")?;
            let answer = call.send(Method::DELETE, &path, None)?;
            call.done(&answer, &format!("removed; {} connections were closed", answer["closed"]))
        }
    }
}

pub(super) fn run_signing(verb: &str, call: &Call<'_>) -> Result<(), Failure> {
    if verb == "list" {
        let answer = call.get(SIGNING_KEYS)?;
        return call.list(KEY, members(&answer, "keys"));
    }
    let revoke = call.is_set("revoke");
    if revoke {
        call.confirm("Every access token of every application will end.")?;
    }
    let body = json!({ "revoke": revoke });
    let answer = call.send(Method::POST, &format!("{SIGNING_KEYS}/rotate"), Some(&body))?;
    match call.is_json() {
        true => print::json(&answer),
        false => print::table(KEY, members(&answer, "keys")),
    }
}

fn members<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// All applications, page by page.
fn all(call: &Call<'_>) -> Result<Vec<Value>, Failure> {
    let mut found = Vec::new();
    let mut after = String::new();
    let tenant = call.text("tenant").map(|name| format!("&tenant={}", encoded(name)));
    let tenant = tenant.unwrap_or_default();
    loop {
        let page = call.get(&format!("{APPLICATIONS}?limit=1000{tenant}{after}"))?;
        found.extend_from_slice(members(&page, "applications"));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={}", encoded(next)),
            None => return Ok(found),
        }
    }
}

fn list(call: &Call<'_>) -> Result<(), Failure> {
    let mut rows = all(call)?;
    if !call.is_json() {
        for row in &mut rows {
            row["subscriptions"] = json!(members(row, "subscriptions").len());
        }
    }
    call.list(LINE, &rows)
}

/// An application's id, which may be given by the name of one of the operators'.
fn find(call: &Call<'_>, named: &str) -> Result<String, Failure> {
    if named.len() == 16 && named.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(named.to_owned());
    }
    let is_it = |it: &&Value| it["owner"] == "operator" && it["name"] == named;
    let applications = all(call)?;
    let found = applications.iter().find(is_it).and_then(|it| it["id"].as_str());
    let missing = || Failure::runtime(format!("there is no application {named:?}"));
    found.map(str::to_owned).ok_or_else(missing)
}

fn generate_keys(call: &Call<'_>, path: &str) -> Result<(), Failure> {
    let overlap = call.text("overlap").map(|text| seconds("overlap", text)).transpose()?;
    let present = call.get(path)?;
    if present["consumer_secret"].is_object() && overlap.is_none() {
        call.confirm("The secret that there is, and every token issued for it, will end.")?;
    }
    let body = json!({ "overlap_seconds": overlap.unwrap_or_default() });
    let answer = call.send(Method::POST, &format!("{path}/keys"), Some(&body))?;
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    let sentence = format!(
        "consumer key:    {}\nconsumer secret: {}\nThe secret is shown this once.",
        text("consumer_key"),
        text("consumer_secret")
    );
    call.done(&answer, &sentence)
}
