//! `flowgate registry adopt`

use std::io::{BufRead, IsTerminal, Read, Write};

use super::super::EXIT_USAGE;
use super::super::import::{cannot_open, runtime};
use super::{Failure, Settings, existing};
use crate::registry::store::redacted;

/// What has to be typed.
const YES: &str = "adopt";
const TYPED_BYTES_MAX: u64 = 100;

/// Accepts the registry of the settings as it is, once somebody has said so.
pub(super) fn run(settings: &Settings, is_sure: bool) -> Result<(), Failure> {
    let runtime = runtime()?;
    let store = existing(settings, &settings.registry, runtime.handle())?;
    // In a file there is nothing to ask about: the store will say so.
    if store.is_shared() {
        let revision = runtime.block_on(store.last_revision());
        let revision = revision.map_err(|error| cannot_open(&error))?;
        let (id, place) = (store.id(), redacted(&settings.registry));
        let _ = writeln!(
            std::io::stdout(),
            "registry {id:032x} at {place}, revision {revision}\nServers that have seen newer \
             revisions of it will take it as it is now. Keys and passwords\nthat were replaced since \
             then work again, and tenants who were created since are gone."
        );
        if !is_sure {
            ask()?;
        }
    }
    let revision = runtime.block_on(store.adopt()).map_err(|error| cannot_open(&error))?;
    let _ = writeln!(std::io::stdout(), "adopted; it goes on from revision {revision}");
    Ok(())
}

fn ask() -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        let message = "nobody can be asked here: say --yes".to_owned();
        return Err(Failure { exit_code: EXIT_USAGE, message });
    }
    let mut out = std::io::stdout();
    let _ = write!(out, "Type {YES:?} to go on: ").and_then(|()| out.flush());
    match is_yes(&mut std::io::stdin().lock()) {
        true => Ok(()),
        false => Err(Failure::runtime("not adopted; nothing was changed".to_owned())),
    }
}

fn is_yes(input: &mut dyn BufRead) -> bool {
    let mut typed = String::new();
    let read = input.take(TYPED_BYTES_MAX).read_line(&mut typed);
    read.is_ok() && typed.trim() == YES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_word_counts() {
        for (typed, expected) in [
            ("adopt\n", true),
            (" adopt \r\n", true),
            ("adopt", true),
            ("", false),
            ("\n", false),
            ("y\nadopt\n", false),
            ("ADOPT\n", false),
            ("adopted\n", false),
        ] {
            assert_eq!(is_yes(&mut typed.as_bytes()), expected, "{typed:?}");
        }
        assert!(!is_yes(&mut std::io::BufReader::new(std::io::repeat(b'a'))));
    }
}
