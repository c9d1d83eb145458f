//! What every provider of runtimes has to do, on a small runtime and on real Node-RED.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use flowgate::clock::Clock;
use flowgate::runtimes::contract::{Order, RunningRuntime, RuntimeProvider, StartFault};
use flowgate::runtimes::process::groups::Bounds;
use flowgate::runtimes::process::{ProcessSettings, Processes};
use flowgate::tenant::{Provider, TenantId, Username};
use tempfile::TempDir;

use crate::support::contract::{Life, answers, keeps_the_contract};
use crate::support::node::root;
use crate::support::own::{can_isolate, in_folder, is_root, node_red, ports, runs, small};
use crate::support::{PATIENCE, wait_for, wait_until};

const HOUR: Duration = Duration::from_secs(60 * 60);

fn settings(folder: &TempDir, command: Vec<String>) -> ProcessSettings {
    let (first, last) = ports();
    ProcessSettings {
        command,
        trusted_tenants: true,
        users: None,
        uplink: Vec::new(),
        launcher: env!("CARGO_BIN_EXE_flowgate").into(),
        folder: folder.path().join("runtimes"),
        ports: first..=last,
        port_rest: HOUR,
        ready_line: String::new(),
        bounds: Bounds::default(),
        cgroup: None,
        environment: vec!["FLOWGATE_ADMIN_TOKENS".to_owned(), "CARGO_MANIFEST_DIR".to_owned()],
        data_bytes_max: Some(1 << 32),
        files_max: 512,
        threads_max: 256,
        start_timeout: PATIENCE,
        stop_timeout: PATIENCE,
    }
}

fn order() -> Order {
    Order {
        tenant: TenantId(7),
        username: Username::parse("mike").unwrap(),
        provider: Provider::Process { public_wake: false },
        probe_path: "/api/.flowgate/ready".to_owned(),
        fence: 1,
    }
}

/// The working folder of that order's runtime.
fn home(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join(format!("runtimes/mike-{}/home", TenantId(7)))
}

fn numbers(file: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

fn run<F: Future>(test: F) -> F::Output {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(test)
}

/// The suite, and what only processes do: they have ports of their own, and end with who dropped them.
async fn keeps_it(provider: &Processes) {
    keeps_the_contract(provider, &order(), Life::OfFlowgate).await;
    let first = provider.start(&order()).await.unwrap();
    let at = first.place();
    assert!(at.host.parse::<IpAddr>().unwrap().is_loopback());
    first.stop().await;
    let second = provider.start(&order()).await.unwrap();
    assert_ne!(second.place().port, at.port, "a freed port rests");
    let at = second.place();
    let outdated = Order { fence: 0, ..order() };
    let refused = provider.start(&outdated).await.unwrap_err();
    assert!(refused.why.contains("another replica has started it since"), "{refused}");
    assert!(tokio::task::block_in_place(|| answers(&at)), "who had the lease before does no harm");
    drop(second);
    wait_until("whoever drops it ends it", || !answers(&at));
}

#[test]
fn a_small_runtime_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let settings = settings(&folder, small("serves"));
        keeps_it(&Processes::open(settings, Clock::start()).unwrap()).await;
    });
}

/// Of tenants who do not trust each other.
fn isolated(folder: &TempDir, command: Vec<String>) -> ProcessSettings {
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    ProcessSettings {
        users: Some(2_000_000_000..=2_000_000_001),
        trusted_tenants: false,
        ..settings(folder, command)
    }
}

#[test]
fn isolated_ones_keep_it() {
    if !can_isolate() {
        return;
    }
    for command in [small("serves"), small("breeds")] {
        let folder = tempfile::tempdir().unwrap();
        run(async {
            let provider = Processes::open(isolated(&folder, command), Clock::start()).unwrap();
            assert!(provider.isolation().is_full());
            keeps_it(&provider).await;
        });
    }
}

#[test]
fn whoever_is_at_its_port_is_not_taken_for_it() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let provider = Processes::open(settings(&folder, small("mute")), Clock::start()).unwrap();
        let environment = home(&folder).join("environment.json");
        std::thread::spawn(move || {
            let port = wait_for("the runtime has its port", || {
                let environment = std::fs::read(&environment).ok()?;
                let environment: serde_json::Value = serde_json::from_slice(&environment).ok()?;
                environment["PORT"].as_str()?.parse::<u16>().ok()
            });
            let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
            let (mut socket, _) = listener.accept().unwrap();
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            // Until it is looked at who listens.
            let _ = socket.read_to_string(&mut String::new());
            std::thread::park();
        });
        let fault = provider.start(&order()).await.unwrap_err();
        assert!(fault.why.starts_with("somebody else listens at 127.0.0.1:"), "{fault}");
    });
}

#[test]
fn real_node_red_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let flows = folder.path().join("flows.json");
    std::fs::copy(root().join("scripts/runtimes/flows.json"), &flows).unwrap();
    run(async {
        let mut settings = settings(&folder, node_red(&flows));
        settings.ready_line = "Started flows".to_owned();
        keeps_it(&Processes::open(settings, Clock::start()).unwrap()).await;
    });
}

async fn fault(folder: &TempDir, change: impl FnOnce(&mut ProcessSettings)) -> StartFault {
    let mut settings = settings(folder, small("serves"));
    change(&mut settings);
    let provider = Processes::open(settings, Clock::start()).unwrap();
    provider.start(&order()).await.unwrap_err()
}

#[test]
fn it_says_why_one_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let died = fault(&folder, |settings| settings.command = small("dies")).await;
        assert_eq!(died.why, "it ended before it was ready: exit status: 3");
        let tail = String::from_utf8(died.log_tail).unwrap();
        assert!(tail.ends_with("\u{1b}[31mno flows\u{7}\n"), "{tail:?}");
        let missing = fault(&folder, |settings| settings.command = vec!["/nowhere/x".into()]).await;
        assert_eq!(missing.why, "it ended before it was ready: exit status: 127");
        let tail = String::from_utf8(missing.log_tail).unwrap();
        assert!(tail.contains("cannot run \"/nowhere/x\""), "{tail}");
        let nothing = fault(&folder, |settings| settings.command.clear()).await;
        assert!(nothing.why.contains("process_command"), "{nothing}");
        let mute = fault(&folder, |settings| {
            settings.command = small("mute");
            settings.start_timeout = Duration::from_secs(2);
        });
        assert_eq!(mute.await.why, "it was not ready within 2 s");
        let starts = numbers(&home(&folder).join("starts"));
        wait_until("nothing is left", || !starts.iter().any(|pid| runs(*pid)));
    });
}

#[test]
fn without_trust_nothing_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let settings = ProcessSettings { trusted_tenants: false, ..settings(&folder, small("x")) };
        assert!(Processes::open(settings, Clock::start()).is_err());
    });
}

#[test]
fn one_that_does_not_listen_is_killed_and_its_children_go_along() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let mut stubborn = settings(&folder, small("stubborn"));
        stubborn.stop_timeout = Duration::from_millis(200);
        let provider = Processes::open(stubborn, Clock::start()).unwrap();
        let running = provider.start(&order()).await.unwrap();
        let at = running.place();
        running.stop().await;
        assert!(!answers(&at));
        let breeds = settings(&folder, small("breeds"));
        let provider = Processes::open(breeds, Clock::start()).unwrap();
        provider.start(&order()).await.unwrap().stop().await;
        let child = numbers(&home(&folder).join("child"))[0];
        assert!(!runs(child), "whatever it started has ended when stop returns");
    });
}

#[test]
fn a_process_gets_limits_and_no_more_environment_than_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let provider = Processes::open(settings(&folder, small("serves")), Clock::start()).unwrap();
        let running = provider.start(&order()).await.unwrap();
        let pid = numbers(&home(&folder).join("starts"))[0];
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        for (name, limit) in [
            ("Max data size", "4294967296"),
            ("Max open files", "512"),
            ("Max core file size", "0"),
        ] {
            let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
            assert!(line.split_whitespace().any(|word| word == limit), "{line}");
        }
        assert_ne!(
            session_of(pid),
            session_of(std::process::id()),
            "no terminal of ours is its own"
        );
        let environment = std::fs::read(home(&folder).join("environment.json")).unwrap();
        let environment: serde_json::Value = serde_json::from_slice(&environment).unwrap();
        let names: Vec<&String> = environment.as_object().unwrap().keys().collect();
        let allowed = [
            "PATH",
            "LANG",
            "LC_ALL",
            "TZ",
            "HOME",
            "TMPDIR",
            "PORT",
            "RUNTIME_NAME",
            "CARGO_MANIFEST_DIR",
        ];
        assert!(names.iter().all(|name| allowed.contains(&name.as_str())), "{names:?}");
        assert_eq!(environment["RUNTIME_NAME"], "mike");
        assert!(environment["CARGO_MANIFEST_DIR"].is_string(), "what is named is handed on");
        running.stop().await;
    });
}

/// Whatever flowgate was started with, by a supervisor say.
#[test]
fn a_runtime_inherits_no_descriptor() {
    let orders = serde_json::json!({
        "parent": std::process::id(), "user": null, "is_isolated": false, "uplink": [],
        "data_bytes_max": null, "files_max": 512, "threads_max": 512,
    });
    let inherits = "exec 7</etc/hostname; exec \"$@\"";
    let output = Command::new("sh")
        .args(["-c", inherits, "sh", env!("CARGO_BIN_EXE_flowgate"), "launch-runtime"])
        .args([&orders.to_string(), "ls", "-l", "/proc/self/fd"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("0 -> "), "{said}");
    assert!(!said.contains("hostname"), "{said}");
}

fn session_of(pid: u32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().to_owned()
}

fn of(number: u128) -> Order {
    let username = Username::parse(&format!("mike{number}")).unwrap();
    Order { tenant: TenantId(number), username, ..order() }
}

/// As whom a process runs: real, effective, saved and file system user, the same of its group, and
/// further groups.
fn users_of(pid: u32) -> Vec<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let is_named = |line: &&str| ["Uid:", "Gid:", "Groups:"].iter().any(|it| line.starts_with(it));
    let lines = status.lines().filter(is_named);
    lines.flat_map(|line| line.split_whitespace().skip(1)).map(str::to_owned).collect()
}

#[test]
fn each_tenant_has_a_user_of_their_own_or_nothing_starts() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let opened = Processes::open(isolated(&folder, small("serves")), Clock::start());
        if !is_root() {
            assert!(opened.unwrap_err().to_string().contains("takes root"));
            return;
        }
        if !can_isolate() {
            assert!(opened.unwrap_err().to_string().contains("cannot be isolated"));
            return;
        }
        let provider = opened.unwrap();
        for (number, user) in [(1, "2000000000"), (2, "2000000001"), (1, "2000000000")] {
            let running = provider.start(&of(number)).await.unwrap();
            let name = format!("runtimes/mike{number}-{}/home", TenantId(number));
            let home = folder.path().join(name);
            // Numbers within are not ours, so they are known by their folder.
            let mut users: Vec<_> = in_folder(&home).into_iter().map(users_of).collect();
            users.sort();
            assert_eq!(users.last(), Some(&vec![user.to_owned(); 8]));
            let keepers = &users[..users.len() - 1];
            assert!(keepers.iter().all(|users| users[..4] == ["0"; 4]), "{keepers:?}");
            let metadata = std::fs::metadata(&home).unwrap();
            assert_eq!((metadata.uid().to_string(), metadata.mode() & 0o777), (user.into(), 0o700));
            running.stop().await;
        }
        assert!(provider.isolation().is_full());
        let third = provider.start(&of(3)).await.unwrap_err();
        assert!(third.why.contains("no number of process_users is left"), "{third}");
    });
}
