//! The scripts: each is one job, behind the guard that all of them share.

use std::fmt::Write;
use std::sync::LazyLock;

use redis::Cmd;
use sha1::{Digest, Sha1};

/// A script as it goes to the server.
pub(super) struct Script {
    source: String,
    digest: String,
}

impl Script {
    fn new(parts: &[&str]) -> Self {
        let source = parts.concat();
        let mut digest = String::with_capacity(40);
        for byte in Sha1::digest(source.as_bytes()) {
            // A string takes whatever is written to it.
            let _ = write!(digest, "{byte:02x}");
        }
        Self { source, digest }
    }

    /// Runs it by its digest, which the server may not know: `NOSCRIPT`, and nothing was done.
    pub(super) fn by_digest(&self, arguments: &[&Arguments]) -> Cmd {
        command("EVALSHA", &self.digest, arguments)
    }

    /// Runs it from its source, after which the server knows the digest.
    pub(super) fn by_source(&self, arguments: &[&Arguments]) -> Cmd {
        command("EVAL", &self.source, arguments)
    }
}

fn command(name: &str, script: &str, arguments: &[&Arguments]) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(script).arg(0);
    for argument in arguments.iter().flat_map(|arguments| &arguments.0) {
        command.arg(argument.as_slice());
    }
    command
}

/// What a script is given.
#[derive(Debug, Default)]
pub(super) struct Arguments(Vec<Vec<u8>>);

impl Arguments {
    pub(super) fn text(mut self, text: &str) -> Self {
        self.0.push(text.as_bytes().to_vec());
        self
    }

    pub(super) fn bytes(mut self, bytes: Vec<u8>) -> Self {
        self.0.push(bytes);
        self
    }

    pub(super) fn number(self, number: impl std::fmt::Display) -> Self {
        self.text(&number.to_string())
    }
}

/// Behind the guard.
macro_rules! scripts {
    ($($name:ident = $($file:literal),+;)+) => {
        $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(&[include_str!("scripts/guard.lua"), $(include_str!($file)),+])
        });)+
    };
}

scripts! {
    TOUCH = "scripts/touch.lua";
    PROBE = "scripts/probe.lua";
    GET = "scripts/get.lua";
    FIND = "scripts/find.lua";
    LIST = "scripts/list.lua";
    WRITE = "scripts/write.lua";
    CONFIRM = "scripts/confirm.lua";
    FEED = "scripts/feed.lua";
    PUT_EXPIRING = "scripts/passing.lua", "scripts/put_expiring.lua";
    GET_EXPIRING = "scripts/passing.lua", "scripts/get_expiring.lua";
    TAKE_EXPIRING = "scripts/passing.lua", "scripts/take_expiring.lua";
    COUNT = "scripts/passing.lua", "scripts/count.lua";
    ACQUIRE = "scripts/passing.lua", "scripts/acquire.lua";
    RELEASE = "scripts/passing.lua", "scripts/release.lua";
    MERGE = "scripts/minutes.lua", "scripts/merge.lua";
    MERGE_ONCE = "scripts/passing.lua", "scripts/once.lua", "scripts/minutes.lua", "scripts/merge.lua";
    SERIES = "scripts/minutes.lua", "scripts/series.lua";
    CHECK_KEYS = "scripts/minutes.lua", "scripts/check.lua", "scripts/check_keys.lua";
    CHECK_IDS = "scripts/minutes.lua", "scripts/check.lua", "scripts/check_ids.lua";
    CHECK_INDEX = "scripts/minutes.lua", "scripts/check.lua", "scripts/check_index.lua";
    CHECK_SERIES = "scripts/minutes.lua", "scripts/check.lua", "scripts/check_series.lua";
    CHECK_FEED = "scripts/minutes.lua", "scripts/check.lua", "scripts/check_feed.lua";
}

pub(super) static CREATE: LazyLock<Script> =
    LazyLock::new(|| Script::new(&[include_str!("scripts/create.lua")]));
pub(super) static ADOPT: LazyLock<Script> =
    LazyLock::new(|| Script::new(&[include_str!("scripts/adopt.lua")]));
