//! `flowgate-bench`: measures flowgate and other proxies. See `scripts/bench`.
//!
//! The proxy has core 0 for itself, with one worker. The generator (this process) and the echo runtime
//! have core 1. The first figure is the CPU time that the proxy's processes have had per operation, as
//! the scheduler counts it; how many operations that makes per second comes second, since it depends
//! on the generator, too. Rounds go over all targets in turn, so that whatever the machine does
//! meanwhile is done to all of them.

mod bench;
mod cases;
mod commands;
mod echo;
mod histogram;
mod load;
mod process;
mod report;
mod results;
mod rivals;
mod tenants;
mod tls;
mod yardsticks;

use std::io::Write;
use std::process::ExitCode;

use flowgate_bench::{clock, fault, machine, ports, websocket};

fn main() -> ExitCode {
    match commands::run() {
        Ok(code) => code,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "flowgate-bench: {why}");
            ExitCode::FAILURE
        }
    }
}
