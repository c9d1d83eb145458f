//! `flowgate registry copy`

use std::io::Write;

use super::super::import::runtime;
use super::super::progress;
use super::{EXIT_CONFIG, Failure, Settings, existing, lasting, made};
use crate::clock::Wall;
use crate::registry::copy::{Copied, Phase, Progress, copy};

/// As shells have it for a command that Ctrl-C ended.
const EXIT_INTERRUPTED: u8 = 130;

/// Copies the registry at `from` into the one at `to`.
pub(super) fn run(settings: &Settings, from: &str, to: &str) -> Result<(), Failure> {
    lasting(to)?;
    if from == to {
        let message = "--from and --to are the same registry".to_owned();
        return Err(Failure { exit_code: EXIT_CONFIG, message });
    }
    let runtime = runtime()?;
    let source = existing(settings, from, runtime.handle())?;
    let target = made(settings, to, runtime.handle())?;
    let mut shown = progress::Progress::start();
    let wall = Wall::system();
    let outcome = runtime.block_on(async {
        let mut tell = |Progress { phase, done, of }: Progress| shown.show(name(phase), done, of);
        tokio::select! {
            outcome = copy(&source, &target, &wall, &mut tell) => Some(outcome),
            // Without a handler, Ctrl-C ends the process, which does the copy no harm either.
            Ok(()) = tokio::signal::ctrl_c() => None,
        }
    });
    shown.clear();
    match outcome {
        Some(Ok(Copied { documents, written, numbers })) => {
            let _ = writeln!(
                std::io::stdout(),
                "{documents} documents compared, all equal; {written} written now, and {numbers} \
                 numbers about the use of keys"
            );
            Ok(())
        }
        Some(Err(error)) => Err(Failure::runtime(error.to_string())),
        None => {
            let message = "interrupted; the same command goes on where this one ended".to_owned();
            Err(Failure { exit_code: EXIT_INTERRUPTED, message })
        }
    }
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Counting => "counting",
        Phase::Copying => "copying",
        Phase::Usage => "copying the use of keys",
        Phase::Comparing => "comparing",
    }
}
