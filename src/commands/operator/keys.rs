//! `flowgate key …`

use clap::{ArgAction, Command};
use http::Method;
use serde_json::{Value, json};

use super::print::Column;
use super::{Call, encoded, flag, name_arg, option, seconds, tenant_path};
use crate::commands::Failure;

pub(super) const COLUMNS: &[Column] = &[
    ("ID", "/id"),
    ("NAME", "/name"),
    ("LAST FOUR", "/last_four"),
    ("CREATED", "/created"),
    ("LAST USED", "/last_used"),
    ("FROM", "/last_used_from"),
    ("EXPIRES", "/expires"),
    ("SCOPE", "/scope"),
];
const DEFAULT: &str = "0000000000000000";

pub(super) fn command() -> Command {
    let tenant = || name_arg("TENANT", "The username");
    let key = "The key's name or id; default for the one without a name";
    Command::new("key").about("API keys of a running server's tenants").subcommands([
        Command::new("list").about("List a tenant's keys").arg(tenant()),
        Command::new("add")
            .about("Make a named key, and print it once")
            .arg(tenant())
            .arg(name_arg("NAME", "The key's name"))
            .arg(
                option("scope", "PATH", "A path below node_root that it opens; may be repeated")
                    .action(ArgAction::Append),
            )
            .arg(
                option("expires", "MOMENT", "When it stops working, as in 2030-01-31T12:00:00Z")
                    .conflicts_with("expires-in"),
            )
            .arg(option("expires-in", "SPAN", "The same from now on, as in 90days")),
        Command::new("rotate")
            .about("Give a key another secret, and print it once")
            .arg(tenant())
            .arg(name_arg("KEY", key))
            .arg(option("overlap", "SPAN", "For how long the present secret works on, as in 1h")),
        Command::new("revoke")
            .about("Take a key away, and end what rests on it")
            .arg(tenant())
            .arg(name_arg("KEY", key))
            .arg(flag("yes", "Do not ask")),
    ])
}

pub(super) fn run(verb: &str, call: &Call<'_>) -> Result<(), Failure> {
    let username = call.needed("TENANT");
    let path = tenant_path(&username);
    match verb {
        "list" => {
            let answer = call.get(&format!("{path}/keys"))?;
            let keys = answer["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
            call.list(COLUMNS, keys)
        }
        "add" => {
            let mut body = json!({ "name": call.needed("NAME") });
            if let Some(scope) = call.texts("scope") {
                body["scope"] = json!(scope);
            }
            if let Some(expires) = call.text("expires") {
                body["expires"] = json!(expires);
            }
            if let Some(span) = call.text("expires-in") {
                body["expires_in_seconds"] = json!(seconds("expires-in", span)?);
            }
            given_out(call, &call.send(Method::POST, &format!("{path}/keys"), Some(&body))?)
        }
        "rotate" => rotate(call, &path),
        _ => {
            let id = find(call, &path)?;
            call.confirm("What rests on this key will end.")?;
            let at = match id.as_str() {
                DEFAULT => format!("{path}/api-key"),
                id => format!("{path}/keys/{}", encoded(id)),
            };
            let answer = call.send(Method::DELETE, &at, None)?;
            call.done(&answer, &format!("revoked; {} connections were closed", answer["closed"]))
        }
    }
}

fn rotate(call: &Call<'_>, path: &str) -> Result<(), Failure> {
    let overlap = call.text("overlap").map(|span| seconds("overlap", span)).transpose()?;
    let id = find(call, path)?;
    if id == DEFAULT {
        if overlap.is_some() {
            let what = "the default key is regenerated as a whole: there is no --overlap for it";
            return Err(super::usage(what.to_owned()));
        }
        return given_out(call, &call.send(Method::POST, &format!("{path}/api-key"), None)?);
    }
    let body = json!({ "overlap_seconds": overlap.unwrap_or_default() });
    let at = format!("{path}/keys/{}/rotate", encoded(&id));
    given_out(call, &call.send(Method::POST, &at, Some(&body))?)
}

/// Tells a secret for the only time.
fn given_out(call: &Call<'_>, answer: &Value) -> Result<(), Failure> {
    let key = answer["key"].as_str().unwrap_or_default();
    let closed = &answer["closed"];
    let sentence =
        format!("{closed} connections were closed; the API key, shown this once:\n{key}");
    call.done(answer, &sentence)
}

/// The id of the key that an argument means.
fn find(call: &Call<'_>, path: &str) -> Result<String, Failure> {
    let wanted = call.needed("KEY");
    if wanted == "default" {
        return Ok(DEFAULT.to_owned());
    }
    let answer = call.get(&format!("{path}/keys"))?;
    let mut keys = answer["keys"].as_array().into_iter().flatten();
    let found = keys.find(|key| key["id"] == *wanted || key["name"] == *wanted);
    let id = found.and_then(|key| key["id"].as_str()).map(str::to_owned);
    id.ok_or_else(|| Failure::runtime(format!("there is no key {wanted:?}")))
}
