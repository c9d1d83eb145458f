//! What operators see and close on all replicas of one Redis.

use serde_json::{Value, json};

use crate::support::admin::{ADMIN, READ, call, command, json, ok, run, tokens_file};
use crate::support::flowgate::Flowgate;
use crate::support::profiles::{MIKE_KEY, ROBERTO_KEY};
use crate::support::redis::Redis;
use crate::support::replicas::{Runtimes, assert_alive, open};
use crate::support::wait_until;

/// Two flowgates that know each other, whose operators have tokens.
fn two(redis: &Redis) -> ([Flowgate; 2], tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let tokens = tokens_file(folder.path());
    let flags = ["--admin-tokens-file", tokens.to_str().unwrap()];
    let replicas = [0, 1].map(|_| Flowgate::start_on(&redis.url(), &flags));
    for replica in &replicas {
        wait_until("they know each other", || {
            let said = replicas_of(replica);
            said.len() == 2 && said.iter().all(|one| one["pid"] != 0)
        });
    }
    (replicas, folder)
}

fn get(flowgate: &Flowgate, path: &str) -> Value {
    let (status, _, said) = call(flowgate, READ, &format!("GET {path}"), "", &Value::Null);
    assert_eq!(status, 200, "{said}");
    said
}

fn replicas_of(flowgate: &Flowgate) -> Vec<Value> {
    get(flowgate, "/admin/v1/replicas")["replicas"].as_array().unwrap().clone()
}

/// Ids of what runs for mike, as a replica lists them once it lists so many.
fn mikes(flowgate: &Flowgate, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    wait_until("all is listed", || {
        let page = get(flowgate, "/admin/v1/tenants/mike/connections");
        let connections = page["connections"].as_array().unwrap().iter();
        ids = connections.map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        ids.len() == count && page["total"] == json!(count) && page["incomplete"] == json!([])
    });
    ids
}

/// Closes something, and again as long as a replica does not answer in time on a busy machine: the
/// Close frames say what was closed.
fn closes(flowgate: &Flowgate, line: &str, wanted: &Value) {
    wait_until("all replicas have answered", || {
        let (status, _, said) = call(flowgate, ADMIN, line, "", wanted);
        match status {
            200 => said["replicas"].is_null() || said["incomplete"] == json!([]),
            404 => true,
            _ => {
                assert_eq!((status, &said["code"]), (503, &json!("replica_silent")));
                false
            }
        }
    });
}

#[test]
fn operators_see_and_close_what_runs_on_any_replica() {
    let redis = Redis::start();
    let _runtimes = Runtimes::in_registry(&redis.url());
    let ([here, there], _folder) = two(&redis);
    let mut sockets = [&here, &there, &there].map(|one| open(one, MIKE_KEY));
    let mut robertos = open(&there, ROBERTO_KEY);

    let said = replicas_of(&here);
    let of = |flowgate: &Flowgate| said.iter().find(|one| one["pid"] == flowgate.pid()).unwrap();
    assert_eq!((&of(&here)["this"], &of(&there)["this"]), (&json!(true), &json!(false)));
    assert_eq!(of(&there)["listen"], json!([there.data.to_string()]));
    let listed = mikes(&here, 3);
    assert_eq!(mikes(&there, 3), listed);

    // One of the other's: only by its tenant.
    let prefix = of(&there)["id"].as_str().unwrap();
    let theirs: Vec<_> = listed.iter().filter(|id| id.starts_with(prefix)).collect();
    let line = format!("DELETE /admin/v1/connections/{}", theirs[0]);
    let (status, _, said) = call(&here, ADMIN, &line, "", &Value::Null);
    assert_eq!((status, &said["code"]), (404, &json!("missing")));
    let line = format!("DELETE /admin/v1/tenants/mike/connections/{}", theirs[0]);
    let (status, _, said) = call(&here, READ, &line, "", &Value::Null);
    assert_eq!((status, &said["code"]), (403, &json!("wrong_role")));
    closes(&here, &line, &Value::Null);
    // A replica's are listed by age.
    assert_eq!(sockets[1].receive_close(), (1008, "closed by an operator".to_owned()));
    let audit = get(&there, "/admin/v1/audit");
    assert_eq!(audit["entries"][0]["object"], format!("connection/{}", theirs[0]), "{audit}");

    assert_eq!(mikes(&there, 2).len(), 2);
    let wanted = json!({ "tenant": "mike", "path": "/api" });
    closes(&here, "POST /admin/v1/connections/close", &wanted);
    for place in [0, 2] {
        let close = sockets[place].receive_close();
        assert_eq!(close, (1008, "closed by an operator".to_owned()));
    }
    assert_alive(&mut robertos);
}

#[test]
fn commands_reach_all_replicas() {
    let redis = Redis::start();
    let _runtimes = Runtimes::in_registry(&redis.url());
    let ([here, there], _folder) = two(&redis);
    let said = json(&here, &["server", "replicas"]);
    assert_eq!(said.as_array().unwrap().len(), 2, "{said}");
    assert_eq!(ok(&mut command(&here, &["server", "replicas"])).lines().count(), 3);
    let mut first = open(&there, MIKE_KEY);
    let id = &mikes(&here, 1)[0];
    let list = json(&here, &["connections", "list", "--tenant", "mike", "--key", "default"]);
    assert_eq!((list.as_array().unwrap().len(), &list[0]["id"]), (1, &json!(id)));
    let close = ["connections", "close", id];
    let (code, _, error) = run(&mut command(&here, &close));
    assert!(code == 1 && error.contains("404 missing"), "{error}");
    wait_until("it is closed", || {
        let (_, said, error) = run(command(&here, &close).args(["--tenant", "mike"]));
        said == "1 connections were closed\n" || !error.contains("503 replica_silent")
    });
    assert_eq!(first.receive_close().0, 1008);

    let mut second = open(&there, MIKE_KEY);
    mikes(&here, 1);
    let said = ok(&mut command(&here, &["connections", "close", "--path", "/api"]));
    assert_eq!(said, "0 connections were closed on this replica\n");
    assert_alive(&mut second);
    wait_until("all are closed", || {
        run(&mut command(&here, &["connections", "close", "--tenant", "mike"])).0 == 0
    });
    assert_eq!(second.receive_close().0, 1008);

    // What a stopped process would have said stays unknown, and so it is said.
    there.signal("-STOP");
    wait_until("all its threads stand", || {
        let threads = std::fs::read_dir(format!("/proc/{}/task", there.pid())).unwrap();
        threads
            .map(|thread| thread.unwrap().path().join("stat"))
            .all(|stat| std::fs::read_to_string(stat).is_ok_and(|stat| stat.contains(") T ")))
    });
    let (code, _, error) = run(&mut command(&here, &["connections", "list", "--tenant", "mike"]));
    let name = format!("(pid {}): ", there.pid());
    assert!(code == 0 && error.contains("not all is known") && error.contains(&name), "{error}");
    let close = ["connections", "close", "--tenant", "mike"];
    let (code, out, error) = run(&mut command(&here, &close));
    assert!(code == 1 && out.starts_with("0 connections") && error.contains(&name), "{error}");
}

#[test]
fn without_redis_nothing_is_closed() {
    let mut redis = Redis::start();
    let _runtimes = Runtimes::in_registry(&redis.url());
    let ([here, there], _folder) = two(&redis);
    let mut sockets = [&here, &there].map(|one| open(one, MIKE_KEY));
    let listed = mikes(&here, 2);
    redis.kill();
    let line = "GET /admin/v1/replicas";
    let (status, _, said) = call(&here, READ, line, "", &Value::Null);
    assert_eq!((status, &said["code"]), (503, &json!("registry_away")));
    for id in &listed {
        let line = format!("DELETE /admin/v1/tenants/mike/connections/{id}");
        let (status, _, said) = call(&here, ADMIN, &line, "", &Value::Null);
        assert_eq!((status, &said["code"]), (503, &json!("registry_away")));
    }
    let line = "POST /admin/v1/connections/close";
    let (status, _, said) = call(&here, ADMIN, line, "", &json!({ "tenant": "mike" }));
    assert_eq!((status, &said["code"]), (503, &json!("registry_away")));
    // What is here is seen all the same, and that there may be more.
    let page = get(&here, "/admin/v1/tenants/mike/connections");
    assert_eq!(page["total"], 1, "{page}");
    assert_ne!(page["incomplete"], json!([]));
    sockets.iter_mut().for_each(assert_alive);
}
