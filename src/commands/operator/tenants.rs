//! `flowgate tenant …`

use clap::{ArgAction, Command};
use http::Method;
use serde_json::{Value, json};

use super::print::{self, Column};
use super::{
    Call, Expecting, flag, name_arg, option, path_of, secret_from_stdin, tenant_path, usage,
};
use crate::commands::Failure;

const LINE: &[Column] = &[
    ("USERNAME", "/username"),
    ("PLAN", "/plan"),
    ("KEYS", "/keys"),
    ("LIVE", "/live"),
    ("DISABLED", "/disabled"),
    ("REVISION", "/revision"),
];
const MEMBERS: &[Column] = &[
    ("username", "/username"),
    ("id", "/id"),
    ("revision", "/revision"),
    ("plan", "/settings/plan"),
    ("address", "/settings/instance/address"),
    ("provider", "/settings/instance/provider"),
    ("node_root", "/settings/instance/node_root"),
    ("admin_root", "/settings/instance/admin_root"),
    ("allowed_origins", "/settings/allowed_origins"),
    ("disabled", "/settings/disabled"),
    ("password", "/password"),
    ("default key, last four", "/api_key/last_four"),
    ("live", "/live"),
];

pub(super) fn command() -> Command {
    let username = || name_arg("TENANT", "The username");
    let add = with_settings(Command::new("add").about("Create a tenant").arg(username()))
        .arg(flag("api-key", "Make a default API key, and print it once"))
        .arg(flag("password", "Read a password from standard input"))
        .arg(flag("disabled", "Disabled until 'tenant enable'"));
    let set =
        with_settings(Command::new("set").about("Change a tenant's settings").arg(username()))
            .arg(flag("password", "Read a new password from standard input"));
    let list = Command::new("list")
        .about("List tenants")
        .arg(option("prefix", "TEXT", "Only usernames that begin so"))
        .arg(option("plan", "NAME", "Only tenants with this plan"))
        .arg(flag("disabled", "Only disabled ones"));
    let remove = Command::new("remove")
        .about("Remove a tenant and end all that runs for them")
        .arg(username())
        .arg(flag("yes", "Do not ask"));
    Command::new("tenant").about("Tenants of a running server").subcommands([
        add,
        list,
        Command::new("show").about("Show a tenant").arg(username()),
        set,
        Command::new("disable")
            .about("Answer a tenant's requests as if they did not exist, and end what runs")
            .arg(username()),
        Command::new("enable").about("Take a disabled tenant back").arg(username()),
        remove,
    ])
}

fn with_settings(command: Command) -> Command {
    command
        .arg(
            option(
                "address",
                "URL",
                "The runtime, as in http://10.1.0.17:1880; may be repeated for further nodes of it",
            )
            .action(ArgAction::Append),
        )
        .arg(
            option(
                "provider",
                "NAME",
                "In place of an address: flowgate runs the runtime itself, as a 'process' or in \
                 'kubernetes', wakes it and puts it to sleep",
            )
            .value_parser(["process", "kubernetes"])
            .conflicts_with("address"),
        )
        .arg(
            flag("public-wake", "Whoever calls it without a credential wakes it, too")
                .conflicts_with("address"),
        )
        .arg(option("node-root", "PATH", "Node-RED's httpNodeRoot"))
        .arg(
            option("admin-root", "PATH", "Node-RED's httpAdminRoot")
                .conflicts_with("no-admin-root"),
        )
        .arg(flag("no-admin-root", "The runtime has no editor and no admin API"))
        .arg(option("plan", "NAME", "The plan").conflicts_with("no-plan"))
        .arg(flag("no-plan", "No plan: no limits"))
        .arg(
            option(
                "origin",
                "ORIGIN",
                "An origin whose pages may use the password; may be repeated",
            )
            .action(ArgAction::Append)
            .conflicts_with("no-origins"),
        )
        .arg(flag("no-origins", "No origins but flowgate's own"))
        .arg(option(
            "settings",
            "FILE",
            "A JSON file with the settings, as 'tenant show --json' has them",
        ))
}

pub(super) fn run(verb: &str, call: &Call<'_>) -> Result<(), Failure> {
    match verb {
        "add" => add(call),
        "list" => list(call),
        "show" => show(call),
        "set" => set(call),
        "remove" => remove(call),
        verb => disable(call, verb == "disable"),
    }
}

/// Puts where a runtime is, or who runs it, into settings; what they said of that before goes.
fn place(call: &Call<'_>, settings: &mut Value) {
    let addresses = call.texts("address");
    let chosen: Option<(_, _, &[&str])> = match (call.text("provider"), addresses.as_deref()) {
        (Some(name), _) => {
            Some(("provider", json!(name), &["address", "addresses", "probe", "tls"]))
        }
        (None, Some([one])) => {
            Some(("address", json!(one), &["provider", "public_wake", "addresses", "probe"]))
        }
        (None, Some(several)) => {
            Some(("addresses", json!(several), &["provider", "public_wake", "address"]))
        }
        (None, None) => None,
    };
    if let Some((member, value, gone)) = chosen {
        let instance = &mut settings["instance"];
        instance[member] = value;
        if let Some(members) = instance.as_object_mut() {
            members.retain(|member, _| !gone.contains(&member.as_str()));
        }
    }
    if call.is_set("public-wake") {
        settings["instance"]["public_wake"] = json!(true);
    }
}

/// Puts what the arguments say into settings.
fn apply(call: &Call<'_>, settings: &mut Value) -> Result<(), Failure> {
    if let Some(path) = path_of(call, "settings") {
        let fault = |what: String| Failure::runtime(format!("{}: {what}", path.display()));
        let text = std::fs::read_to_string(&path).map_err(|error| fault(error.to_string()))?;
        *settings = serde_json::from_str(&text).map_err(|error| fault(error.to_string()))?;
    }
    if !settings.is_object() {
        return Err(usage("the settings must be a JSON object".to_owned()));
    }
    place(call, settings);
    let roots = [("node-root", "node_root"), ("admin-root", "admin_root")];
    for (name, member) in roots {
        if let Some(text) = call.text(name) {
            settings["instance"][member] = json!(text);
        }
    }
    if call.is_set("no-admin-root") {
        settings["instance"]["admin_root"] = Value::Null;
    }
    if let Some(plan) = call.text("plan") {
        settings["plan"] = json!(plan);
    }
    if let Some(origins) = call.texts("origin") {
        settings["allowed_origins"] = json!(origins);
    }
    let taken = [("no-plan", "plan"), ("no-origins", "allowed_origins")];
    for (_, member) in taken.iter().filter(|(name, _)| call.is_set(name)) {
        settings.as_object_mut().and_then(|members| members.remove(*member));
    }
    if call.is_set("password") {
        settings["password"] = json!(secret_from_stdin("password")?.expose());
    }
    Ok(())
}

fn add(call: &Call<'_>) -> Result<(), Failure> {
    let username = call.needed("TENANT");
    let mut settings = json!({});
    apply(call, &mut settings)?;
    let has = |member: &str| settings["instance"].get(member).is_some();
    if !["provider", "address", "addresses"].into_iter().any(has) {
        return Err(usage("--address or --provider is needed".to_owned()));
    }
    if settings.pointer("/instance/admin_root").is_none() {
        return Err(usage("--admin-root or --no-admin-root is needed".to_owned()));
    }
    if call.is_set("disabled") {
        settings["disabled"] = json!(true);
    }
    let path = tenant_path(&username);
    let made = call.client.ask(Method::PUT, &path, Expecting::Absent, Some(&settings))?.body;
    if !call.is_set("api-key") {
        return call.done(&made, &format!("{username} was created"));
    }
    let made = call.send(Method::POST, &format!("{path}/api-key"), None)?;
    let key = made["key"].as_str().unwrap_or_default();
    call.done(&made, &format!("{username} was created; the API key, shown this once:\n{key}"))
}

fn list(call: &Call<'_>) -> Result<(), Failure> {
    let text = |name: &str| call.text(name).map(str::to_owned);
    let query = [
        ("prefix", text("prefix")),
        ("plan", text("plan")),
        ("disabled", call.is_set("disabled").then(|| "true".to_owned())),
    ];
    let mut tenants = call.client.list("/admin/v1/tenants", &query, "tenants", None)?;
    tenants.sort_by(|one, other| one["username"].as_str().cmp(&other["username"].as_str()));
    call.list(LINE, &tenants)
}

fn show(call: &Call<'_>) -> Result<(), Failure> {
    let tenant = call.get(&tenant_path(&call.needed("TENANT")))?;
    if call.is_json() {
        return print::json(&tenant);
    }
    print::members(MEMBERS, &tenant)?;
    let keys = tenant["keys"].as_array().cloned().unwrap_or_default();
    match keys.is_empty() {
        true => Ok(()),
        false => {
            print::line("")?;
            print::table(super::keys::COLUMNS, &keys)
        }
    }
}

fn set(call: &Call<'_>) -> Result<(), Failure> {
    let username = call.needed("TENANT");
    let path = tenant_path(&username);
    let present = call.client.ask(Method::GET, &path, Expecting::Anything, None)?;
    let mut settings = present.body["settings"].clone();
    apply(call, &mut settings)?;
    let tag = present.tag.unwrap_or_default();
    let changed = call.client.ask(Method::PUT, &path, Expecting::Tag(&tag), Some(&settings))?.body;
    let closed = &changed["closed"];
    call.done(&changed, &format!("{username} was changed; {closed} connections were closed"))
}

fn disable(call: &Call<'_>, disabled: bool) -> Result<(), Failure> {
    let username = call.needed("TENANT");
    let path = format!("{}/disabled", tenant_path(&username));
    let changed = call.send(Method::PUT, &path, Some(&json!({ "disabled": disabled })))?;
    let done = match disabled {
        true => format!("{username} is disabled; {} connections were closed", changed["closed"]),
        false => format!("{username} is enabled"),
    };
    call.done(&changed, &done)
}

fn remove(call: &Call<'_>) -> Result<(), Failure> {
    let username = call.needed("TENANT");
    call.confirm(&format!("{username} will be gone, with keys and password."))?;
    let path = tenant_path(&username);
    let removed = call.client.ask(Method::DELETE, &path, Expecting::Tag("*"), None)?.body;
    let closed = &removed["closed"];
    call.done(&removed, &format!("{username} was removed; {closed} connections were closed"))
}
