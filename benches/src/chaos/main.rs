//! `flowgate-chaos`: real processes are killed, stopped, cut off and starved while clients, an operator
//! and somebody who tries credentials go on, and a judge knows what each of them should see. See
//! `scripts/chaos` and `docs/reliability.md`.

mod accounts;
mod breaking;
mod chaos;
mod client;
mod dice;
mod facts;
mod finale;
mod frames;
mod gauges;
mod http;
mod incidents;
mod judge;
mod link;
mod messages;
mod operator;
mod plan;
mod prober;
mod program;
mod prove;
mod recovery;
mod report;
mod runtime;
mod soak;
mod stage;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};
use flowgate_bench::fault::{During, Fault, Result, fault};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::report::progress;
use crate::stage::Settings;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            progress(&format!("flowgate-chaos: {why}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let matches = program().get_matches();
    allow_files()?;
    let threads =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match matches.subcommand() {
        Some(("runtime", matches)) => {
            let listen = value(matches, "listen")?;
            let listen = listen.parse().during("the address")?;
            let name = value(matches, "name")?;
            threads.block_on(runtime::serve(listen, name)).map(|()| true)
        }
        // Spawned, since processes end with the thread that has started them.
        Some(("run", matches)) => {
            let settings = settings(matches)?;
            finish(threads.block_on(threads.spawn(chaos::run(settings))))
        }
        Some(("prove", matches)) => {
            let settings = settings(matches)?;
            finish(threads.block_on(threads.spawn(prove::run(settings))))
        }
        Some(("soak", matches)) => {
            let settings = settings(matches)?;
            finish(threads.block_on(threads.spawn(soak::run(settings))))
        }
        _ => fault("no such command"),
    }
}

fn finish(outcome: std::result::Result<Result<bool>, tokio::task::JoinError>) -> Result<bool> {
    outcome.map_err(|error| Fault(error.to_string()))?
}

fn program() -> Command {
    let text = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).help(help).required(true)
    };
    let number =
        |name: &'static str, help: &'static str| text(name, help).value_parser(value_parser!(u64));
    let scene = |name: &'static str, about: &'static str| {
        Command::new(name)
            .about(about)
            .arg(text("flowgate", "flowgate's program").value_parser(value_parser!(PathBuf)))
            .arg(text("folder", "For files and logs").value_parser(value_parser!(PathBuf)))
            .arg(number("seconds", "How long"))
            .arg(number("connections", "Connections at once"))
            .arg(number("seed", "What chance follows from"))
    };
    Command::new("flowgate-chaos")
        .about("Breaks things and checks what flowgate promises; scripts/chaos starts it")
        .subcommand_required(true)
        .subcommand(scene("run", "Everything is broken, and nothing may be lost"))
        .subcommand(scene(
            "prove",
            "Nothing is broken but what passes and what is known, and the judge must notice",
        ))
        .subcommand(scene("soak", "Connections come and go, keys change, and nothing may grow"))
        .subcommand(
            Command::new("runtime")
                .about("The runtime")
                .arg(text("listen", "Address"))
                .arg(text("name", "What it says of itself")),
        )
}

fn value(matches: &ArgMatches, name: &str) -> Result<String> {
    matches.get_one(name).cloned().ok_or_else(|| Fault(format!("--{name} is missing")))
}

fn settings(matches: &ArgMatches) -> Result<Settings> {
    let number = |name: &str| matches.get_one::<u64>(name).copied().unwrap_or_default();
    let path = |name: &str| {
        let path = matches.get_one::<PathBuf>(name);
        path.ok_or_else(|| Fault(format!("--{name} is missing")))?.canonicalize().during(name)
    };
    Ok(Settings {
        flowgate: path("flowgate")?,
        folder: path("folder")?,
        time: Duration::from_secs(number("seconds")),
        connections: number("connections") as usize,
        seed: number("seed"),
    })
}

/// As many files as may be: each connection needs five here, with all links.
fn allow_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .during("allowing files")
}
