//! This test program once more, as another process that does one thing.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Names the registry file to a process that is started here.
const FILE: &str = "FLOWGATE_TEST_REGISTRY_FILE";
/// In front of what it has to say, since the test framework writes, too.
const SAYS: &str = "says: ";

/// Starts the test of this name and nothing else, on that file.
pub(super) fn start(test: &str, file: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(FILE, file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The file that this process is to work on; without one, it was not started here.
pub(super) fn file() -> Option<String> {
    std::env::var(FILE).ok()
}

/// Tells the process that started this one.
pub(super) fn say(what: &str) {
    use std::io::Write;
    // The stop at its end tells a whole line from one that was cut off.
    std::io::stdout().write_all(format!("\n{SAYS}{what}.\n").as_bytes()).unwrap();
}

/// What a started process says. A last line that was cut off is left out.
pub(super) struct Said(Lines<BufReader<ChildStdout>>);

impl Said {
    pub(super) fn by(child: &mut Child) -> Self {
        Self(BufReader::new(child.stdout.take().unwrap()).lines())
    }
}

impl Iterator for Said {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.0.by_ref().map_while(Result::ok).find_map(|line| {
            let said = line.strip_prefix(SAYS)?.strip_suffix('.')?;
            Some(said.to_owned())
        })
    }
}
