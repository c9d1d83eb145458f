//! `flowgate runtime …`

use std::thread::sleep;
use std::time::Duration;

use clap::Command;
use http::Method;
use serde_json::{Value, json};

use super::print::{self, Column};
use super::{Call, flag, name_arg, option, tenant_path};
use crate::commands::Failure;

const RUNTIMES: &[Column] = &[
    ("TENANT", "/tenant"),
    ("STATE", "/state"),
    ("SLEEPS IN S", "/sleeps_in_seconds"),
    ("ALWAYS ON", "/always_on"),
    ("FAILURES", "/failures"),
    ("WHY", "/why"),
    ("AWAKE BECAUSE", "/awake_because"),
];
const ALL: &str = "/admin/v1/runtimes/restart";
/// Between two looks at a restart of all.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) fn command() -> Command {
    let tenant = || name_arg("TENANT", "Whose runtime");
    Command::new("runtime").about("Runtimes that a running server owns").subcommands([
        Command::new("list").about("List them, with their states on all replicas").arg(option(
            "state",
            "STATE",
            "Only asleep, starting, ready, failing or stopping",
        )),
        Command::new("show").about("How one is, and what keeps it awake").arg(tenant()),
        Command::new("start")
            .about("Start one that does not run; earlier failures are forgotten")
            .arg(tenant()),
        Command::new("stop").about("End one; its next caller wakes it again").arg(tenant()),
        Command::new("restart").about("End one and start it again").arg(tenant()),
        Command::new("log").about("The end of what one wrote").arg(tenant()),
        Command::new("restart-all")
            .about("Restart all that run, a few at a time, and say how far it is")
            .arg(option("at-once", "N", "So many at a time; 1 if nothing is said"))
            .arg(option("pause", "SPAN", "Rest after each, as in 10s"))
            .arg(option("failures-max", "N", "Halt once more than so many stay down [default: 0]"))
            .arg(flag("no-wait", "Do not wait for the end"))
            .arg(flag("yes", "Do not ask")),
        Command::new("progress").about("How far the last restart of all is"),
        Command::new("halt").about("Halt a restart of all after those that are under way"),
    ])
}

pub(super) fn run(verb: &str, call: &Call<'_>) -> Result<(), Failure> {
    let path = |what: &str| format!("{}/runtime{what}", tenant_path(&call.needed("TENANT")));
    match verb {
        "list" => {
            let query = [("state", call.text("state").map(str::to_owned))];
            call.list(RUNTIMES, &call.client.list("/admin/v1/runtimes", &query, "runtimes", None)?)
        }
        "show" => members(call, &call.get(&path(""))?),
        "log" => {
            let answer = call.get(&path("/log"))?;
            call.done(&answer, answer["log_tail"].as_str().unwrap_or_default())
        }
        "restart-all" => restart_all(call),
        "progress" => members(call, &call.get(ALL)?),
        "halt" => {
            let answer = call.send(Method::DELETE, ALL, None)?;
            call.done(&answer, "no further runtime is restarted")
        }
        verb => {
            let answer = call.send(Method::POST, &path(&format!("/{verb}")), None)?;
            let (tenant, state) = (&answer["tenant"], &answer["state"]);
            let [tenant, state] = [tenant, state].map(|it| it.as_str().unwrap_or_default());
            call.done(&answer, &format!("{tenant}: {verb} was asked for; it is {state}"))
        }
    }
}

fn members(call: &Call<'_>, answer: &Value) -> Result<(), Failure> {
    if call.is_json() {
        return print::json(answer);
    }
    let members = answer.as_object().into_iter().flatten();
    let rows: Vec<Value> =
        members.map(|(name, value)| json!({ "name": name, "value": value })).collect();
    print::table(&[("NAME", "/name"), ("VALUE", "/value")], &rows)
}

fn restart_all(call: &Call<'_>) -> Result<(), Failure> {
    let pause = call.text("pause").map(|text| super::seconds("pause", text)).transpose()?;
    let pace = json!({
        "at_once": call.number("at-once")?.unwrap_or(1),
        "pause_seconds": pause.unwrap_or_default(),
        "failures_max": call.number("failures-max")?.unwrap_or_default(),
    });
    call.confirm("All runtimes that run will be restarted.")?;
    let mut progress = call.send(Method::POST, ALL, Some(&pace))?;
    if call.is_set("no-wait") {
        return call.done(&progress, &told(&progress));
    }
    let mut last = String::new();
    while progress["stage"] == "running" {
        let line = told(&progress);
        if line != last && !call.is_json() {
            print::line(&line)?;
        }
        last = line;
        sleep(LOOK_EVERY);
        progress = call.get(ALL)?;
    }
    call.done(&progress, &told(&progress))?;
    match progress["stage"] == "done" {
        true => Ok(()),
        false => Err(Failure::runtime(format!("not all were restarted: {}", why(&progress)))),
    }
}

fn told(progress: &Value) -> String {
    let number = |name: &str| progress[name].as_u64().unwrap_or_default();
    let [total, restarted] = ["total", "restarted"].map(number);
    let [skipped, failed] = ["skipped", "failed"].map(number);
    let stage = progress["stage"].as_str().unwrap_or_default();
    format!("{stage}: {restarted} of {total} restarted, {skipped} skipped, {failed} failed")
}

fn why(progress: &Value) -> String {
    let failures = progress["failures"].as_array().into_iter().flatten();
    let lines: Vec<String> = failures
        .map(|one| {
            let [tenant, why] =
                ["tenant", "why"].map(|name| one[name].as_str().unwrap_or_default());
            format!("{tenant}: {why}")
        })
        .collect();
    match lines.is_empty() {
        true => format!("it was {}", progress["stage"].as_str().unwrap_or_default()),
        false => lines.join("; "),
    }
}
