//! The `flowgate` program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1).filter_map(|argument| argument.into_string().ok());
    let arguments: Vec<String> = arguments.collect();
    match flowgate::runtimes::process::launch::launch(&arguments) {
        Some(exit_code) => exit_code.into(),
        None => flowgate::commands::run(),
    }
}
