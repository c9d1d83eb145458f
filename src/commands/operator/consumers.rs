//! `flowgate consumer …`

use clap::Command;
use http::Method;
use serde_json::{Value, json};

use super::print::{self, Column};
use super::{Call, encoded, flag, name_arg, option, path_of, secret_from_stdin, usage};
use crate::commands::Failure;

const LINE: &[Column] = &[
    ("USERNAME", "/username"),
    ("ID", "/id"),
    ("CREDENTIALS", "/credentials"),
    ("REVISION", "/revision"),
];
const CREDENTIAL: &[Column] = &[
    ("ID", "/id"),
    ("KIND", "/kind"),
    ("LAST FOUR", "/last_four"),
    ("KEY", "/key"),
    ("ALGORITHM", "/algorithm"),
    ("CREATED", "/created"),
];
const CONSUMERS: &str = "/admin/v1/consumers";

pub(super) fn command() -> Command {
    let name = || name_arg("CONSUMER", "The name");
    Command::new("consumer").about("Consumers of an operator's published APIs").subcommands([
        Command::new("add").about("Create a consumer").arg(name()),
        Command::new("list").about("List consumers"),
        Command::new("show").about("Show a consumer's credentials").arg(name()),
        Command::new("key")
            .about("Give a consumer a key, and print it once if it was made")
            .arg(name())
            .arg(flag("import", "Read the key from standard input in place of making one")),
        Command::new("password")
            .about("Give a consumer a password, read from standard input")
            .arg(name()),
        Command::new("jwt")
            .about("Say how a consumer's tokens are verified")
            .arg(name())
            .arg(option("key", "TEXT", "The value of the tokens' claim \"key\"").required(true))
            .arg(
                option(
                    "algorithm",
                    "NAME",
                    "HS256, HS384, HS512, RS256, …, PS256, …, ES256, ES384 or EdDSA",
                )
                .required(true),
            )
            .arg(option(
                "public-key",
                "FILE",
                "The public key in PEM; without it an HS secret is read from standard input",
            )),
        Command::new("revoke")
            .about("Take a credential away, and end what rests on it")
            .arg(name())
            .arg(name_arg("CREDENTIAL", "Its id"))
            .arg(flag("yes", "Do not ask")),
        Command::new("remove")
            .about("Remove a consumer, and end what rests on their credentials")
            .arg(name())
            .arg(flag("yes", "Do not ask")),
    ])
}

pub(super) fn run(verb: &str, call: &Call<'_>) -> Result<(), Failure> {
    let username = call.needed("CONSUMER");
    let path = format!("{CONSUMERS}/{}", encoded(&username));
    match verb {
        "add" => {
            let answer = call.send(Method::PUT, &path, None)?;
            call.done(&answer, &format!("{username} is there"))
        }
        "list" => list(call),
        "show" => {
            let answer = call.get(&path)?;
            match call.is_json() {
                true => print::json(&answer),
                false => print::table(CREDENTIAL, members(&answer, "credentials")),
            }
        }
        "key" => add_key(call, &path),
        "password" => {
            let password = secret_from_stdin("The consumer's password")?;
            let body = json!({ "password": password.expose() });
            let answer = call.send(Method::PUT, &format!("{path}/basic"), Some(&body))?;
            call.done(&answer, &format!("set; {} connections were closed", answer["closed"]))
        }
        "jwt" => set_jwt(call, &path),
        "revoke" => {
            call.confirm("What rests on this credential will end.")?;
            let at = format!("{path}/credentials/{}", encoded(&call.needed("CREDENTIAL")));
            let answer = call.send(Method::DELETE, &at, None)?;
            call.done(&answer, &format!("revoked; {} connections were closed", answer["closed"]))
        }
        _ => {
            call.confirm("What rests on this consumer's credentials will end.")?;
            let answer = call.send(Method::DELETE, &path, None)?;
            call.done(&answer, &format!("removed; {} connections were closed", answer["closed"]))
        }
    }
}

fn members<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn list(call: &Call<'_>) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let mut after = String::new();
    loop {
        let page = call.get(&format!("{CONSUMERS}?limit=1000{after}"))?;
        for consumer in members(&page, "consumers") {
            let mut row = consumer.clone();
            if !call.is_json() {
                row["credentials"] = json!(members(consumer, "credentials").len());
            }
            rows.push(row);
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={}", encoded(next)),
            None => return call.list(LINE, &rows),
        }
    }
}

fn add_key(call: &Call<'_>, path: &str) -> Result<(), Failure> {
    let body = match call.is_set("import") {
        true => json!({ "key": secret_from_stdin("The consumer's key")?.expose() }),
        false => json!({}),
    };
    let answer = call.send(Method::POST, &format!("{path}/keys"), Some(&body))?;
    let id = answer["id"].as_str().unwrap_or_default();
    match answer["key"].as_str() {
        Some(key) => call.done(&answer, &format!("the key {id}, shown this once:\n{key}")),
        None => call.done(&answer, &format!("the key {id} was taken over")),
    }
}

fn set_jwt(call: &Call<'_>, path: &str) -> Result<(), Failure> {
    let algorithm = call.needed("algorithm");
    let mut body = json!({ "key": call.needed("key"), "algorithm": algorithm });
    match (algorithm.starts_with("HS"), path_of(call, "public-key")) {
        (true, None) => {
            body["secret"] = json!(secret_from_stdin("The secret of the tokens")?.expose());
        }
        (false, Some(file)) => {
            let told = |error| Failure::runtime(format!("{}: {error}", file.display()));
            body["public_key"] = json!(std::fs::read_to_string(&file).map_err(told)?);
        }
        (true, Some(_)) => return Err(usage("HS algorithms have no --public-key".to_owned())),
        (false, None) => return Err(usage("this algorithm needs --public-key".to_owned())),
    }
    let answer = call.send(Method::PUT, &format!("{path}/jwt"), Some(&body))?;
    call.done(&answer, &format!("set; {} connections were closed", answer["closed"]))
}
