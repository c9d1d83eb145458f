//! `flowgate registry …` on a real Redis.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use flowgate::registry::store::Store;
use serde_json::json;

use crate::support::flowgate::{Flowgate, program};
use crate::support::profiles::{MIKE_KEY, mike_and_roberto};
use crate::support::redis::Redis;
use crate::support::registries::{Place, check, copy, export, many, put, registry, run};
use crate::support::replicas::status;
use crate::support::runtime::Runtime;
use crate::support::wait_until;

const TENANTS: usize = 3000;

fn by_name(url: &str) -> Vec<String> {
    let (code, out, error) = export(url);
    assert_eq!(code, 0, "{error}");
    let profiles: serde_json::Value = serde_json::from_str(&out).unwrap();
    let tenants = profiles["tenants"].as_array().unwrap();
    let mut tenants: Vec<String> = tenants.iter().map(ToString::to_string).collect();
    tenants.sort();
    tenants
}

#[test]
fn a_registry_is_made_once_and_never_over_something_else() {
    let redis = Redis::start();
    let url = redis.url();
    let (code, _, error) = check(&url);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("flowgate registry create"), "{error}");
    assert_eq!(redis.command(&["DBSIZE"]), ":0\r\n", "what is looked at is not made");
    let (code, out, error) = registry(&["create", "--registry", &url]);
    assert_eq!(code, 0, "{error}");
    assert!(out.ends_with(&format!("made at {url}\n")), "{out}");
    let before = redis.command(&["HGETALL", "flowgate:meta"]);
    let (code, _, error) = registry(&["create", "--registry", &url]);
    assert_eq!(code, 1);
    assert!(error.contains("exists already"), "{error}");
    assert_eq!(redis.command(&["HGETALL", "flowgate:meta"]), before);
    assert_eq!(check(&url), (0, "0 documents checked, nothing found\n".into(), String::new()));

    redis.command(&["SET", "other:key", "of another program"]);
    for command in ["create", "copy"] {
        let other = format!("{url}?prefix=other:");
        let arguments = match command {
            "create" => vec!["create", "--registry", &other],
            _ => vec!["copy", "--from", &url, "--to", &other],
        };
        let (code, _, error) = registry(&arguments);
        assert_eq!(code, 1, "{error}");
        assert!(error.contains("other:key"), "{error}");
    }
    assert_eq!(redis.command(&["GET", "other:key"]), "$18\r\nof another program\r\n");
}

#[test]
fn a_file_moves_to_redis_and_back() {
    let runtime = Runtime::echo();
    let (place, redis) = (Place::new(), Redis::start());
    let from = place.filled("a.redb", &mike_and_roberto(runtime.address, runtime.address));
    let (code, out, error) = copy(&from, &redis.url());
    assert_eq!(code, 0, "{error}");
    assert!(out.starts_with("2 documents compared, all equal; 2 written now"), "{out}");
    assert_eq!(
        check(&redis.url()),
        (0, "2 documents checked, nothing found\n".into(), String::new())
    );
    let served = Flowgate::start_on(&redis.url(), &[]);
    assert_eq!(status(&served, MIKE_KEY), 101);
    served.kill();
    let back = place.url("b.redb");
    assert_eq!(copy(&redis.url(), &back).0, 0);
    assert_eq!(export(&back), export(&from));
    // The same registry by another name is not a second one.
    let again = format!("{}/0", redis.url());
    let (code, _, error) = copy(&redis.url(), &again);
    assert_eq!(code, 1);
    assert!(error.contains("are the same registry"), "{error}");
}

/// Starts a copy and waits until some of the documents are there.
fn begun_copy(redis: &Redis, from: &str) -> Child {
    let mut copying = program();
    copying.args(["registry", "copy", "--from", from, "--to", &redis.url()]);
    let copying = copying.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let written = || redis.command(&["ZCARD", "flowgate:ids:tenant"]);
    let before = written();
    wait_until("the copy gets on", || written() != before);
    copying
}

fn end(copying: Child) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = copying.wait_with_output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_copy_to_redis_goes_on_after_both_were_killed() {
    let (place, mut redis) = (Place::new(), Redis::start());
    let from = place.filled("a.redb", &many(TENANTS));
    let mut copying = begun_copy(&redis, &from);
    copying.kill().unwrap();
    assert_eq!(end(copying).0, None, "it came to its end before it was killed");
    for command in [["export", "-"], ["import", "profiles.example.json"]] {
        let (code, _, error) = run(program().args(command).args(["--registry", &redis.url()]));
        assert_eq!(code, 1);
        assert!(error.contains("unfinished copy"), "{error}");
    }
    // Another source is not mixed with it.
    let other = place.filled("other.redb", &many(1));
    let (code, _, error) = copy(&other, &redis.url());
    assert_eq!(code, 1);
    assert!(error.contains("a copy of another registry"), "{error}");

    let copying = begun_copy(&redis, &from);
    redis.kill();
    let (code, error) = end(copying);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("the same command goes on"), "{error}");
    redis.restart();
    let (code, out, error) = copy(&from, &redis.url());
    assert_eq!(code, 0, "{error}");
    assert!(!out.contains(&format!(" {TENANTS} written")), "some were there already: {out}");
    assert_eq!(by_name(&redis.url()), by_name(&from));
    assert_eq!(check(&redis.url()).0, 0);
}

#[test]
fn a_source_in_use_is_told_and_copied_once_it_rests() {
    let (place, redis) = (Place::new(), Redis::start());
    place.import(&redis.url(), &many(TENANTS));
    let to = place.url("b.redb");
    let is_used = AtomicBool::new(true);
    let is_written = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let store = Store::open(&redis.url()).await.unwrap();
                while is_used.load(Ordering::Relaxed) {
                    store.write(vec![put("plan", "busy", &json!({}))]).await.unwrap();
                    is_written.store(true, Ordering::Relaxed);
                }
            });
        });
        wait_until("it is in use", || is_written.load(Ordering::Relaxed));
        let (code, _, error) = copy(&redis.url(), &to);
        is_used.store(false, Ordering::Relaxed);
        assert_eq!(code, 1);
        assert!(error.contains("the source is in use"), "{error}");
    });
    assert_eq!(copy(&redis.url(), &to).0, 0);
    assert_eq!(export(&to), export(&redis.url()));
}

#[test]
fn a_broken_registry_is_told_and_mended_by_a_copy() {
    let (place, redis) = (Place::new(), Redis::start());
    let nowhere = Runtime::nowhere();
    place.import(&redis.url(), &mike_and_roberto(nowhere, nowhere));
    assert_eq!(redis.command(&["HDEL", "flowgate:index:tenant", "username:mike"]), ":1\r\n");
    let (code, out, error) = check(&redis.url());
    assert_eq!(code, 1, "{out}{error}");
    assert!(out.contains("the store: ") && out.contains("username:mike"), "{out}");
    let mended = place.url("mended.redb");
    assert_eq!(copy(&redis.url(), &mended).0, 0);
    assert_eq!(check(&mended).0, 0);
    assert_eq!(by_name(&mended), by_name(&redis.url()));
}

/// On a terminal of its own, with this typed.
fn adopt_on_a_terminal(url: &str, typed: &str) -> (Option<i32>, String) {
    let program = program();
    let path = program.get_program().to_str().unwrap();
    let command = format!("{path} registry adopt --registry {url}");
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--command", &command, "/dev/null"]);
    // Without the caller's settings, as the program itself.
    for (name, value) in program.get_envs() {
        assert_eq!(value, None, "only removed ones");
        terminal.env_remove(name);
    }
    let mut terminal =
        terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script is installed");
    terminal.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let Output { status, stdout, .. } = terminal.wait_with_output().unwrap();
    (status.code(), String::from_utf8_lossy(&stdout).into_owned())
}

#[test]
fn a_registry_is_adopted_when_somebody_says_so() {
    let (place, redis) = (Place::new(), Redis::start());
    let url = redis.url();
    place.import(&url, &many(2));
    let revision = || redis.command(&["HGET", "flowgate:meta", "revision"]);
    let before = revision();
    let (code, out, error) =
        run(program().args(["registry", "adopt", "--registry", &url]).stdin(Stdio::null()));
    assert_eq!(code, 64, "{error}");
    assert!(out.contains("revision 2") && error.contains("--yes"), "{out}{error}");
    let (code, said) = adopt_on_a_terminal(&url, "yes\n");
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(revision(), before);
    let (code, said) = adopt_on_a_terminal(&url, "adopt\n");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("work again"), "{said}");
    assert_eq!(revision(), "$7\r\n1000002\r\n");
    let (code, out, error) = registry(&["adopt", "--yes", "--registry", &url]);
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("2000002"), "{out}");
    assert_eq!(check(&url).0, 0);
    let file = place.filled("a.redb", &many(1));
    let (code, _, error) = registry(&["adopt", "--yes", "--registry", &file]);
    assert_eq!(code, 78);
    assert!(error.contains("only in Redis"), "{error}");
}
