//! Where secrets come from and what is kept of them.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::admin::{ADMIN, call, tokens_file};
use crate::support::flowgate::{Flowgate, program};
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, mike};
use crate::support::runtime::Runtime;
use crate::support::session::Session;
use crate::support::tls::Authority;
use crate::support::wait_until;

const MIKE: (&str, &str) = ("mike", MIKE_PASSWORD);
const PASSWORD: &str = "hidden-password-of-the-registry";
const CONFIG: i32 = 78;
/// Who may do nothing here; any number that is nobody's will do.
const NOBODY: u32 = 65_534;

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn value(cookie: &str) -> String {
    cookie.split_once('=').unwrap().1.to_owned()
}

/// Whoever gets hold of the registry's file, or of the log, gets in nowhere.
#[test]
fn the_registry_and_the_log_hold_nothing_that_opens_anything() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = tokens_file(folder.path());
    let flags = ["--admin-tokens-file", tokens.to_str().unwrap()];
    let flowgate = Flowgate::start(&mike(Runtime::nowhere()), &flags);
    let session = Session::begin(flowgate.data, "mike", MIKE_PASSWORD);
    let on_host = session.on_host("mike");
    let (code, cookie_of_code) = session.code("mike");
    let code = code.split_once("code=").unwrap().1.to_owned();
    let made = |path: &str, body: Value, field: &str| -> String {
        let (status, said) = flowgate.profile(MIKE, "POST", path, &body);
        assert!(status < 300, "{status} {said}");
        said[field].as_str().unwrap().to_owned()
    };
    let ticket = made("/tickets", json!({ "path": "/api/thing" }), "ticket");
    let named = made("/keys", json!({ "name": "pump" }), "key");
    let key = made("/api-key", Value::Null, "api_key");
    assert_eq!(call(&flowgate, ADMIN, "GET /admin/v1/status", "", &Value::Null).0, 200);
    let secrets = [
        MIKE_PASSWORD.to_owned(),
        MIKE_KEY.to_owned(),
        ADMIN.to_owned(),
        value(&session.cookie),
        value(&on_host),
        value(&cookie_of_code),
        code,
        ticket,
        named,
        key,
    ];
    let log = flowgate.log_by_now();
    let registry = flowgate.registry();
    let file = std::fs::read(registry.strip_prefix("file:").unwrap()).unwrap();
    assert!(contains(&file, "mike") && contains(&file, "pump"), "it can be read like this");
    for secret in secrets {
        assert!(secret.len() >= MIKE_PASSWORD.len(), "{secret:?}");
        assert!(!contains(&file, &secret), "{secret} is in the registry");
        assert!(!log.contains(&secret), "{secret} is in the log");
    }
}

fn at_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// How `check` ends, which refuses what `serve` would, and all that it says.
fn check(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[test]
fn no_file_with_a_secret_may_be_everybodys() {
    let folder = tempfile::tempdir().unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let file = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        at_mode(&path, 0o600);
        path
    };
    let tokens = tokens_file(folder.path());
    let authority = Authority::new();
    let pair = authority.issue("front", &["localhost"]).pair();
    let (_, key) = pair.split_once(':').expect(&pair);
    let key_text = std::fs::read_to_string(key).unwrap();
    let password = file("password", PASSWORD);
    let configuration =
        file("flowgate.toml", &format!("registry = \"redis://user:{PASSWORD}@127.0.0.1:1\"\n"));
    let flag = |name: &str, value: &str| vec![name.to_owned(), value.to_owned()];
    let memory = flag("--registry", "memory:");
    let redis = flag("--registry", "redis://127.0.0.1:1");
    let tls = flag("--tls-listen", "127.0.0.1:0");
    let cases: [(&Path, &str, Vec<String>); 4] = [
        (&tokens, ADMIN, [&memory[..], &flag("--admin-tokens-file", &text(&tokens))].concat()),
        (&password, PASSWORD, [redis, flag("--registry-password-file", &text(&password))].concat()),
        (
            Path::new(key),
            key_text.lines().nth(1).unwrap(),
            [memory, tls, flag("--tls-certificates", &pair.clone())].concat(),
        ),
        (&configuration, PASSWORD, flag("--config", &text(&configuration))),
    ];
    for (path, secret, flags) in cases {
        // Private keys are their owner's alone.
        for mode in [0o644, 0o602, 0o600] {
            at_mode(path, mode);
            let (code, said) = check(program().arg("check").args(&flags));
            assert!(!said.contains(secret), "{said}");
            if mode == 0o600 || (mode == 0o602 && path == configuration) {
                assert_eq!(code, 0, "{said}");
            } else {
                assert_eq!(code, CONFIG, "{said}");
                assert!(said.contains("chmod") && said.contains(&text(path)), "{said}");
            }
        }
    }
}

/// The tokens and the password for Redis may come from the environment, which nobody else can read.
#[test]
fn secrets_in_the_environment_count_and_are_not_told() {
    let variables = [("FLOWGATE_ADMIN_TOKENS", format!("ada admin {ADMIN}"))];
    let flowgate = Flowgate::start_with_variables(&mike(Runtime::nowhere()), &variables, &[]);
    let (status, _, said) = call(&flowgate, ADMIN, "GET /admin/v1/configuration", "", &Value::Null);
    assert_eq!(status, 200, "{said}");
    assert!(!said.to_string().contains(ADMIN));
    assert!(!flowgate.log_by_now().contains(ADMIN));
    let command = std::fs::read(format!("/proc/{}/cmdline", flowgate.pid())).unwrap();
    assert!(!contains(&command, ADMIN));
    for (host, expected) in [("127.0.0.1:1", 0), ("127.0.0.1:x", CONFIG)] {
        let url = format!("redis://user:{PASSWORD}@{host}");
        let (code, said) = check(program().arg("check").env("FLOWGATE_REGISTRY", url));
        assert_eq!(code, expected, "{said}");
        assert!(!said.contains(PASSWORD), "{said}");
    }
}

/// The program as a user starts it, without the tests' own flags; not as root, whom nothing is kept
/// from.
#[test]
fn there_are_no_core_dumps_and_nobody_looks_in() {
    let folder = tempfile::tempdir().unwrap();
    at_mode(folder.path(), 0o777);
    let copy = folder.path().join("flowgate");
    std::fs::copy(program().get_program(), &copy).unwrap();
    at_mode(&copy, 0o755);
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    for is_debuggable in [false, true] {
        let mut command = Command::new(&copy);
        command.env_clear().args(["serve", "--listen", "127.0.0.1:0"]);
        command.args(["--admin-listen", "127.0.0.1:0", "--registry", "memory:"]);
        command.args(["--debuggable", if is_debuggable { "true" } else { "false" }]);
        if is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut child = command.current_dir(folder.path()).stderr(log).spawn().unwrap();
        wait_until("it serves", || {
            let said = std::fs::read_to_string(folder.path().join("log")).unwrap();
            assert!(child.try_wait().unwrap().is_none(), "{said}");
            said.contains("\"ready\"") || said.contains(" ready ")
        });
        let of = |file: &str| format!("/proc/{}/{file}", child.id());
        // What of a process is root's nobody but root may look into (proc(5), prctl(2)).
        let owner = std::fs::metadata(of("environ")).unwrap().uid();
        assert_eq!(owner == 0, !is_debuggable, "owned by {owner}");
        let limits = std::fs::read_to_string(of("limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        let words: Vec<&str> = core.split_whitespace().collect();
        // Whether there is one with a debugger's leave is the system's business.
        let may_dump = is_debuggable || !words[4..6].iter().all(|limit| ["0", "1"].contains(limit));
        assert_eq!(may_dump, is_debuggable, "{core}");
        let signal = if is_debuggable { "-KILL" } else { "-ABRT" };
        let id = child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        let status = child.wait().unwrap();
        assert!(status.signal().is_some() && !status.core_dumped());
    }
}
