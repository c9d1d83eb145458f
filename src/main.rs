//! The `flowgate` program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    flowgate::commands::run()
}
