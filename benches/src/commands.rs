//! The command line.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::bench::{self, Options, progress};
use crate::cases::ALL as CASES;
use crate::cases::isolation::{self, Disturbance};
use crate::cases::revocation::{self, Plan};
use crate::fault::{Fault, Result, fault};
use crate::process::LOAD_CORE;
use crate::report::{page, table};
use crate::results::{self, Results};
use crate::rivals::{ALL as RIVALS, Tools};
use crate::{echo, machine, rivals, yardsticks};

/// The exit code when there was no time for everything: EX_TEMPFAIL of sysexits.h.
const INCOMPLETE: u8 = 75;

/// Runs the command of the process's arguments.
pub fn run() -> Result<ExitCode> {
    let matches = program().get_matches();
    let Some((command, matches)) = matches.subcommand() else { return fault("no command") };
    match command {
        "run" => return measure(matches),
        "report" => report(matches)?,
        "list" => list(),
        "echo" => echo::serve(address(matches, "listen")?)?,
        "floor" => yardsticks::floor::serve(address(matches, "listen")?, address(matches, "to")?)?,
        "copy" => yardsticks::copy::serve(address(matches, "listen")?, address(matches, "to")?)?,
        "disturb" => disturb(matches)?,
        "revocation" => revoke(matches)?,
        _ => return fault("no such command"),
    }
    Ok(ExitCode::SUCCESS)
}

fn program() -> Command {
    let text = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help);
    let required = |name: &'static str, help: &'static str| text(name, help).required(true);
    let relay = |name: &'static str, about: &'static str| {
        Command::new(name)
            .about(about)
            .arg(required("listen", "Address"))
            .arg(required("to", "The runtime"))
    };
    let run = Command::new("run")
        .about("Measure")
        .arg(text("quick", "Only see that everything works").action(ArgAction::SetTrue))
        .arg(text("rounds", "How often each is measured").value_parser(value_parser!(usize)))
        .arg(
            text("cases", "Cases, with commas between")
                .value_delimiter(',')
                .action(ArgAction::Append),
        )
        .arg(
            text("targets", "Targets, with commas between")
                .value_delimiter(',')
                .action(ArgAction::Append),
        )
        .arg(required("flowgate", "flowgate's program").value_parser(value_parser!(PathBuf)))
        .arg(required("cache", "Where rivals are installed").value_parser(value_parser!(PathBuf)))
        .arg(
            required("folder", "For the run's files, in a folder of its own")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            required("results", "Where the results go, as JSON")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(text("resume", "Go on from the results that are there").action(ArgAction::SetTrue))
        .arg(
            text("seconds", "Begin no round that would not be over by then")
                .value_parser(value_parser!(u64)),
        );
    let report = Command::new("report")
        .about("Print tables of results; with --page, write them and charts into a page")
        .arg(required("results", "The results").value_parser(value_parser!(PathBuf)))
        .arg(text("page", "A Markdown page").value_parser(value_parser!(PathBuf)))
        .arg(text("charts", "A folder for charts").value_parser(value_parser!(PathBuf)));
    let disturb = Command::new("disturb")
        .about("Load a target for the case isolation")
        .arg(Arg::new("what").required(true).value_parser(Disturbance::ALL.map(Disturbance::name)))
        .arg(required("address", "Its address"))
        .arg(required("target", "Its name"))
        .arg(required("certificate", "Its certificate").value_parser(value_parser!(PathBuf)));
    let revocation = Command::new("revocation")
        .about("Regenerate a key and measure how long its connections live on, through one replica or several")
        .arg(required("targets", "Addresses of replicas, with commas between").value_delimiter(',').action(ArgAction::Append))
        .arg(text("connections", "How many, in turn through all").default_value("3000").value_parser(value_parser!(usize)))
        .arg(text("path", "Of the handshakes").default_value("/api/data"))
        .arg(required("key", "The tenant's default API key; it will not work afterwards"))
        .arg(required("login", "The tenant's username:password"))
        .arg(text("load", "Send 5,000 messages a second meanwhile").action(ArgAction::SetTrue));
    Command::new("flowgate-bench")
        .about("Measures flowgate and other proxies; scripts/bench starts it")
        .subcommand_required(true)
        .subcommands([run, report, disturb, revocation])
        .subcommand(Command::new("list").about("Tell which cases and targets there are"))
        .subcommand(Command::new("echo").about("The runtime").arg(required("listen", "Address")))
        .subcommand(relay("floor", "A proxy that does nothing but receive and send"))
        .subcommand(relay("copy", "A proxy of tokio's copy_bidirectional"))
}

fn value<'a>(matches: &'a ArgMatches, name: &str) -> Result<&'a String> {
    matches.get_one(name).ok_or_else(|| Fault(format!("--{name} is missing")))
}

fn path(matches: &ArgMatches, name: &str) -> Result<PathBuf> {
    matches.get_one(name).cloned().ok_or_else(|| Fault(format!("--{name} is missing")))
}

fn parse_address(text: &str) -> Result<SocketAddr> {
    text.parse().map_err(|_| Fault(format!("{text} is no address")))
}

fn address(matches: &ArgMatches, name: &str) -> Result<SocketAddr> {
    parse_address(value(matches, name)?)
}

fn list_of(matches: &ArgMatches, name: &str) -> Vec<String> {
    matches.get_many(name).into_iter().flatten().cloned().collect()
}

/// Only what is asked for goes to standard output.
fn print(text: &str) {
    // Who reads no more has read enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn measure(matches: &ArgMatches) -> Result<ExitCode> {
    if machine::cores() < 2 {
        return fault("two cores are needed: one for the proxy, one for the load");
    }
    machine::pin_to(LOAD_CORE)?;
    let options = Options {
        quick: matches.get_flag("quick"),
        rounds: matches.get_one("rounds").copied(),
        cases: list_of(matches, "cases"),
        targets: list_of(matches, "targets"),
        folder: path(matches, "folder")?,
        results: path(matches, "results")?,
        resumes: matches.get_flag("resume"),
        time_max: matches.get_one("seconds").copied().map(Duration::from_secs),
        tools: Tools {
            flowgate: path(matches, "flowgate")?,
            own: std::env::current_exe()?,
            cache: path(matches, "cache")?,
        },
    };
    let (results, is_complete) = bench::run(options)?;
    print(&table::all(&results));
    Ok(conclude(&results, is_complete))
}

fn conclude(results: &Results, is_complete: bool) -> ExitCode {
    for line in &results.skipped {
        progress(&format!("skipped: {line}"));
    }
    for line in &results.faults {
        progress(&format!("failed: {line}"));
    }
    progress(&format!("{} figures in {:.0} s", results.readings.len(), results.seconds));
    if !is_complete {
        progress("The time is over, but there is more to measure: go on with --resume.");
        return ExitCode::from(INCOMPLETE);
    }
    match results.faults.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn report(matches: &ArgMatches) -> Result<()> {
    let results = results::load(&path(matches, "results")?)?;
    match matches.get_one::<PathBuf>("page") {
        Some(page) => page::write(&results, page, &path(matches, "charts")?),
        None => {
            print(&table::all(&results));
            Ok(())
        }
    }
}

fn list() {
    let cases = CASES.iter().map(|case| format!("case {:12} {}\n", case.name, case.about));
    let targets = RIVALS.iter().map(|rival| format!("target {}\n", rival.name()));
    print(&cases.chain(targets).collect::<String>());
}

fn disturb(matches: &ArgMatches) -> Result<()> {
    let find = |name: &String| Disturbance::ALL.into_iter().find(|it| it.name() == name);
    let disturbance =
        find(value(matches, "what")?).ok_or_else(|| Fault("no such disturbance".to_owned()))?;
    let target = value(matches, "target")?;
    let rival = RIVALS.into_iter().find(|rival| rival.name() == target);
    let rival = rival.ok_or_else(|| Fault(format!("no target {target}")))?;
    let (address, certificate) = (address(matches, "address")?, path(matches, "certificate")?);
    isolation::disturb(disturbance, rival, address, &certificate, |operations, time| {
        print(&format!("{operations} {}\n", time.as_secs_f64()));
    })
}

fn revoke(matches: &ArgMatches) -> Result<()> {
    let targets: Result<Vec<_>> =
        list_of(matches, "targets").iter().map(|text| parse_address(text)).collect();
    let plan = Plan {
        targets: targets?,
        connections: matches.get_one("connections").copied().unwrap_or(3000),
        path: value(matches, "path")?.clone(),
        key: value(matches, "key")?.clone(),
        login: rivals::basic_of(value(matches, "login")?),
        is_loaded: matches.get_flag("load"),
    };
    let outcome = revocation::measure(&plan)?;
    let quantile = |share| outcome.latency.quantile_us(share).unwrap_or_default() / 1000.0;
    let line = serde_json::json!({
        "connections": plan.connections,
        "targets": plan.targets.len(),
        "under_load": plan.is_loaded,
        "answer_ms": outcome.answer.as_secs_f64() * 1000.0,
        "p50_ms": quantile(0.5),
        "p99_ms": quantile(0.99),
        "last_ms": outcome.last.as_secs_f64() * 1000.0,
    });
    print(&format!("{line}\n"));
    Ok(())
}
