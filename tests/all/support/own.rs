//! Runtimes that flowgate owns: the settings for them, and what is left in their folders.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::admin::tokens_file;
use super::flowgate::{Flowgate, import};
use super::node::{folder, root};
use super::profiles::{MIKE_KEY, MIKE_PASSWORD, ROBERTO_KEY};
use super::redis::Redis;
use super::replicas::MIKE;
use super::wait_for;

const TRUST: &str = "--trusted-tenants=true";

/// A folder for runtimes, and the flags for a flowgate that runs them there.
pub struct Own {
    pub folder: TempDir,
    flags: Vec<String>,
}

/// The command of the small runtime, which does what `conduct` says.
pub fn small(conduct: &str) -> Vec<String> {
    let script = root().join("tests/all/runtimes/small.cjs");
    let ws = self::folder().join("node_modules/ws");
    ["node", script.to_str().unwrap(), conduct, ws.to_str().unwrap()].map(str::to_owned).to_vec()
}

/// The command of a real Node-RED. Its flows are where [`Own::node_red`] has put them.
pub fn node_red(flows: &Path) -> Vec<String> {
    let program = self::folder().join("node_modules/node-red/red.js");
    let settings = root().join("scripts/runtimes/settings.js");
    [
        "node",
        program.to_str().unwrap(),
        "--settings",
        settings.to_str().unwrap(),
        "--userDir",
        "{folder}",
        "--port",
        "{port}",
        flows.to_str().unwrap(),
    ]
    .map(str::to_owned)
    .to_vec()
}

/// A hundred ports that nobody has at present; tests that run at once have others, most likely, and
/// ports on which somebody listens are passed over.
pub fn ports() -> (u16, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let first = listener.local_addr().unwrap().port().min(u16::MAX - 100);
    (first, first + 99)
}

impl Own {
    pub fn new(command: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (first, last) = ports();
        let mut flags: Vec<String> =
            command.iter().flat_map(|word| [format!("--process-command={word}")]).collect();
        flags.extend([
            format!("--process-folder={}", folder.path().join("runtimes").display()),
            format!("--process-ports={first}-{last}"),
            TRUST.to_owned(),
        ]);
        Self { folder, flags }
    }

    /// Of tenants who do not trust each other; takes root.
    pub fn isolated(conduct: &str) -> Self {
        let mut own = Self::small(conduct);
        // Each tenant's user has to pass.
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(own.folder.path(), mode).unwrap();
        own.flags.retain(|flag| flag != TRUST);
        own.flags.push("--process-users=2000000000-2000000099".to_owned());
        own
    }

    pub fn small(conduct: &str) -> Self {
        Self::new(&small(conduct))
    }

    /// Small runtimes whose program is broken by [`Own::break_it`].
    pub fn breakable() -> Self {
        let mut command = small("serves");
        let mut own = Self::new(&[]);
        let script = own.folder.path().join("small.cjs");
        std::fs::copy(&command[1], &script).unwrap();
        command[1] = script.to_str().unwrap().to_owned();
        own.flags.extend(command.iter().map(|word| format!("--process-command={word}")));
        own
    }

    /// From now on nothing starts.
    pub fn break_it(&self) {
        std::fs::write(self.folder.path().join("small.cjs"), "process.exit(3);").unwrap();
    }

    /// Real Node-RED with the settings and flows of `scripts/runtimes`, and another setting.
    pub fn node_red_with(setting: &str) -> Self {
        let mut own = Self::node_red();
        let settings = root().join("scripts/runtimes/settings.js");
        let file = own.folder.path().join("settings.js");
        let text = format!("module.exports = {{ ...require({settings:?}), {setting} }};");
        std::fs::write(&file, text).unwrap();
        let moved =
            |flag: &String| flag.replace(settings.to_str().unwrap(), file.to_str().unwrap());
        own.flags = own.flags.iter().map(moved).collect();
        own
    }

    /// Real Node-RED with the flows of `scripts/runtimes`.
    pub fn node_red() -> Self {
        let flows = tempfile::tempdir().unwrap();
        let file = flows.path().join("flows.json");
        std::fs::copy(root().join("scripts/runtimes/flows.json"), &file).unwrap();
        let mut own = Self::new(&node_red(&file));
        own.flags.push("--process-ready-line=Started flows".to_owned());
        // Many are started at once on a machine that tests.
        own.flags.push("--process-start-timeout=5m".to_owned());
        // The flows live as long as the runtimes do.
        let kept = own.folder.path().join("flows.json");
        std::fs::rename(&file, &kept).unwrap();
        let moved = |flag: &String| flag.replace(file.to_str().unwrap(), kept.to_str().unwrap());
        own.flags = own.flags.iter().map(moved).collect();
        own
    }

    /// The flags, with some more.
    pub fn flags<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        self.flags.iter().map(String::as_str).chain(more.iter().copied()).collect()
    }

    /// mike's folder, once it is there.
    pub fn mike(&self) -> PathBuf {
        self.folder_of("mike")
    }

    /// A tenant's folder, once it is there.
    pub fn folder_of(&self, username: &str) -> PathBuf {
        let prefix = format!("{username}-");
        wait_for("the runtime's folder", || {
            let mut entries = std::fs::read_dir(self.folder.path().join("runtimes")).ok()?;
            entries.find_map(|entry| {
                let entry = entry.unwrap();
                entry.file_name().to_str()?.starts_with(&prefix).then(|| entry.path())
            })
        })
    }

    /// The processes of every start of the small runtime so far.
    pub fn starts(&self) -> Vec<u32> {
        let starts = std::fs::read_to_string(self.mike().join("home/starts")).unwrap_or_default();
        starts.lines().map(|pid| pid.parse().unwrap()).collect()
    }
}

/// mike's small runtime, and two replicas that share it and their registry.
pub struct Two {
    pub own: Own,
    pub redis: Redis,
    pub replicas: [Flowgate; 2],
}

impl Two {
    pub fn start() -> Self {
        let own = Own::small("serves");
        let redis = Redis::start();
        let url = redis.url();
        import(&url, &mike(true, json!({})), &[]);
        let tokens = format!("--admin-tokens-file={}", tokens_file(own.folder.path()).display());
        let flags = own.flags(&["--wake-timeout=3m", &tokens]);
        let replicas = [Flowgate::start_on(&url, &flags), Flowgate::start_on(&url, &flags)];
        Self { own, redis, replicas }
    }
}

/// Whether a process runs: one that has ended and is not reaped does not.
pub fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// A request without a body, on the bare host.
pub fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")
}

/// How mike's runtime is, as he is told.
pub fn runtime(flowgate: &Flowgate) -> Value {
    let (status, said) = flowgate.profile(MIKE, "GET", "/runtime", &Value::Null);
    assert_eq!(status, 200, "{said}");
    said
}

/// The processes that run in a folder.
pub fn in_folder(folder: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_there = |pid: &u32| {
        runs(*pid) && std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|it| it == folder)
    };
    pids.filter(is_there).collect()
}

/// Whether runtimes can be isolated here: that takes root, with all that belongs to it.
pub fn can_isolate() -> bool {
    static CAN: LazyLock<bool> = LazyLock::new(|| {
        let unshare = ["--net", "--pid", "--ipc", "--mount", "--fork", "true"];
        is_root() && Command::new("unshare").args(unshare).status().is_ok_and(|it| it.success())
    });
    *CAN
}

/// Whether we are root.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// mike and roberto, whose runtimes flowgate owns.
pub fn mike_and_roberto() -> Value {
    let mut both = mike(true, json!({}));
    let mut roberto = both["tenants"][0].clone();
    roberto["username"] = json!("roberto");
    roberto["api_key"] = json!(ROBERTO_KEY);
    both["tenants"].as_array_mut().unwrap().push(roberto);
    both
}

/// mike, whose runtime flowgate owns, with a plan.
pub fn mike(public_wake: bool, plan: Value) -> Value {
    json!({
        "plans": { "tested": plan },
        "tenants": [{
            "username": "mike",
            "password_hash": bcrypt::hash(MIKE_PASSWORD, 4).unwrap(),
            "api_key": MIKE_KEY,
            "plan": "tested",
            "instance": {
                "provider": "process",
                "public_wake": public_wake,
                "node_root": "/api",
                "admin_root": "/red",
            },
        }],
    })
}
