//! Runtimes of tenants who do not trust each other: what one of them can do to the others and to
//! flowgate. Isolation takes root and what belongs to it; without it these tests have nothing to look at.

use std::net::IpAddr;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::flowgate::{Flowgate, import, program};
use crate::support::own::{Own, can_isolate, in_folder, mike, mike_and_roberto};
use crate::support::profiles::{MIKE_KEY, ROBERTO_KEY};
use crate::support::redis::Redis;
use crate::support::registries::run;
use crate::support::replicas::with_key;
use crate::support::wait_until;
use crate::support::websocket::WebSocket;

fn get(flowgate: &Flowgate, key: &str, path: &str) -> String {
    let headers = with_key(key);
    flowgate.ask(&format!(
        "GET /api/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"
    ))
}

/// What mike's runtime says to an attempt.
fn attempt(flowgate: &Flowgate, what: &str) -> Value {
    let answer = get(flowgate, MIKE_KEY, what);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    let begin = body.find(['"', '[']).unwrap();
    let end = body.rfind(['"', ']']).unwrap();
    serde_json::from_str(&body[begin..=end]).unwrap()
}

/// The machine's own addresses, beside loopback.
fn addresses() -> Vec<IpAddr> {
    let shown = Command::new("hostname").arg("-I").output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    shown.split_whitespace().map(|address| address.parse().unwrap()).collect()
}

fn port_of(flowgate: &Flowgate, username: &str) -> u16 {
    let line = flowgate.wait_for_line("it is ready", |line| {
        line["message"] == "the runtime is ready" && line["tenant"] == username
    });
    let address = line["address"].as_str().unwrap();
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[test]
fn one_reaches_no_other_nor_redis_nor_the_admin_listener() {
    if !can_isolate() {
        return;
    }
    let own = Own::isolated("serves");
    let redis = Redis::start();
    let url = redis.url();
    import(&url, &mike_and_roberto(), &[]);
    let flowgate = Flowgate::start_on(&url, &own.flags(&[]));
    for key in [MIKE_KEY, ROBERTO_KEY] {
        assert!(get(&flowgate, key, "x").starts_with("HTTP/1.1 200"));
    }
    let redis_port: u16 =
        url.rsplit_once(':').unwrap().1.split('/').next().unwrap().parse().unwrap();
    let reach =
        |host: &str, port: u16| attempt(&flowgate, &format!("reach?host={host}&port={port}"));
    assert_eq!(reach("127.0.0.1", port_of(&flowgate, "mike")), "open", "its own port");
    let [admin, data] = [flowgate.admin.port(), flowgate.data.port()];
    for port in [port_of(&flowgate, "roberto"), redis_port, admin, data] {
        assert_eq!(reach("127.0.0.1", port), "ECONNREFUSED", "{port}");
        for address in addresses() {
            assert_eq!(reach(&address.to_string(), port), "ENETUNREACH", "{address} {port}");
        }
    }
    let mut websocket = WebSocket::connect(flowgate.data, "/api/thing", &with_key(MIKE_KEY));
    websocket.send(&crate::support::runtime::text_from_client("hello"));
    assert_eq!(websocket.receive_text(), "hello");
}

#[test]
fn one_sees_neither_files_nor_processes_nor_descriptors_of_others() {
    if !can_isolate() {
        return;
    }
    let own = Own::isolated("serves");
    let flowgate = Flowgate::start(&mike_and_roberto(), &own.flags(&[]));
    for key in [MIKE_KEY, ROBERTO_KEY] {
        assert!(get(&flowgate, key, "x").starts_with("HTTP/1.1 200"));
    }
    let all = own.folder.path().join("runtimes");
    let folders = std::fs::read_dir(&all).unwrap().map(|entry| entry.unwrap().path());
    let roberto =
        folders.into_iter().find(|it| it.to_str().unwrap().contains("/roberto-")).unwrap();
    for path in [all, roberto.clone(), roberto.join("home")] {
        assert_eq!(attempt(&flowgate, &format!("read?path={}", path.display())), "EACCES");
    }
    // Whoever can read a lock can hold it.
    for file in ["lock", "running.json"] {
        for path in [own.mike().join(file), roberto.join(file)] {
            assert_eq!(attempt(&flowgate, &format!("open?path={}", path.display())), "EACCES");
        }
    }
    if std::path::Path::new("/sys/fs/cgroup").is_dir() {
        assert_eq!(attempt(&flowgate, "read?path=/sys/fs/cgroup"), json!([]));
    }
    if std::path::Path::new("/dev/mqueue").is_dir() {
        assert_eq!(attempt(&flowgate, "read?path=/dev/mqueue"), json!([]));
    }
    assert_eq!(attempt(&flowgate, "open?path=/proc/self/oom_score_adj"), "500\n");
    let numbers = attempt(&flowgate, "read?path=/proc");
    let is_number = |name: &&Value| name.as_str().unwrap().parse::<u32>().is_ok();
    let numbers = numbers.as_array().unwrap().iter().filter(is_number).count();
    assert_eq!(numbers, 2, "it and the first process");
    assert_eq!(attempt(&flowgate, &format!("signal?pid={}", flowgate.pid())), "ESRCH");
    assert_eq!(attempt(&flowgate, "signal?pid=1"), "EPERM");
    let files = attempt(&flowgate, "files");
    let files = files.as_array().unwrap().iter().map(|link| link.as_str().unwrap());
    let foreign: Vec<&str> = files
        .filter(|link| !link.starts_with("anon_inode:") && !link.starts_with("/dev/null"))
        .filter(|link| !link.starts_with("pipe:") && !link.starts_with("socket:"))
        .filter(|link| !link.starts_with("/proc/") && *link != "ENOENT")
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}

#[test]
fn one_that_starts_more_processes_than_it_may_gets_no_more_and_all_end_with_it() {
    if !can_isolate() {
        return;
    }
    let own = Own::isolated("serves");
    let mut flowgate =
        Flowgate::start(&mike(true, json!({})), &own.flags(&["--process-threads-max=64"]));
    let said = attempt(&flowgate, "breed?count=100");
    assert_eq!(said, json!(["EAGAIN", "ok"]));
    let first = own.starts();
    // Numbers within are not ours: the first process is one of its own there.
    assert_eq!(first.len(), 1);
    let home = own.mike().join("home");
    let theirs = || in_folder(&home).len();
    assert!(theirs() > 10);
    flowgate.signal("-KILL");
    flowgate.wait();
    wait_until("nothing is left of it", || theirs() == 0);
}

#[test]
fn an_uplink_gives_its_network_what_the_operator_says() {
    if !can_isolate() {
        return;
    }
    let own = Own::isolated("serves");
    let words = [
        "/usr/bin/nsenter",
        "--net={network}",
        "ip",
        "address",
        "add",
        "10.99.0.1/32",
        "dev",
        "lo",
    ];
    let words = words.map(|word| format!("--process-uplink={word}"));
    let flags: Vec<&str> = words.iter().map(String::as_str).collect();
    let flowgate = Flowgate::start(&mike(true, json!({})), &own.flags(&flags));
    let addresses = attempt(&flowgate, "addresses");
    assert!(addresses.as_array().unwrap().contains(&json!("10.99.0.1")), "{addresses}");
    let none = Own::isolated("serves");
    let flags = none.flags(&["--process-uplink=/bin/false"]);
    let flowgate = Flowgate::start(&mike(true, json!({})), &flags);
    let refused = get(&flowgate, MIKE_KEY, "x");
    assert!(refused.starts_with("HTTP/1.1 503"), "without it nothing starts: {refused}");
}

/// It runs as root: whatever looks into its home or its working folder must not find the tenant's.
#[test]
fn an_uplink_runs_where_nothing_is_a_tenants() {
    if !can_isolate() {
        return;
    }
    let own = Own::isolated("serves");
    let told = own.folder.path().join("told");
    let script = format!("pwd > '{0}'; env >> '{0}'", told.display());
    let words = ["/bin/sh", "-c", &script].map(|word| format!("--process-uplink={word}"));
    let flags: Vec<&str> = words.iter().map(String::as_str).collect();
    let flowgate = Flowgate::start(&mike(true, json!({})), &own.flags(&flags));
    assert!(get(&flowgate, MIKE_KEY, "x").starts_with("HTTP/1.1 200"));
    let told = std::fs::read_to_string(told).unwrap();
    assert_eq!(told.lines().next(), Some("/"), "{told}");
    for line in told.lines().skip(1) {
        let name = line.split('=').next().unwrap();
        assert!(["PATH", "PWD", "OLDPWD", "SHLVL", "_"].contains(&name), "{told}");
    }
    let first = attempt(&flowgate, "open?path=/proc/1/cmdline");
    assert!(!first.as_str().unwrap().contains("pwd"), "{first}");
}

#[test]
fn a_relative_uplink_is_refused() {
    let flags = ["check", "--process-users=2000000000-2000000009", "--process-uplink=./uplink"];
    let (code, _, error) = run(program().args(flags));
    assert_eq!(code, 78, "{error}");
    assert!(error.contains("absolute"), "{error}");
}

#[test]
fn an_uplink_without_users_is_told_to_be_of_no_use() {
    let flags = ["serve", "--registry", "memory:", "--process-uplink", "true"];
    let (code, _, error) = run(program().args(flags));
    assert_eq!(code, 78, "{error}");
    assert!(error.contains("process_uplink"), "{error}");
}
