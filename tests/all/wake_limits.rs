//! What bounds a runtime's memory and processor: control groups where the system has them to give, else
//! resource limits. The test looks at whichever holds here, and flowgate has to have said which.

use serde_json::{Value, json};

use crate::support::flowgate::{Flowgate, program};
use crate::support::own::{Own, mike};
use crate::support::profiles::MIKE_KEY;
use crate::support::registries::run;
use crate::support::replicas::with_key;
use crate::support::{wait_for, wait_until};

const MEMORY: &str = "536870912";

fn get(flowgate: &Flowgate, path: &str) -> String {
    let headers = with_key(MIKE_KEY);
    flowgate.ask(&format!(
        "GET /api/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"
    ))
}

/// Whether there are control groups, as flowgate has said at its start.
fn has_groups(flowgate: &Flowgate) -> bool {
    let said = wait_for("what holds", || {
        let is_it =
            |line: &&Value| line["message"].as_str().is_some_and(|it| it.contains(" are bounded "));
        flowgate.log().iter().find(is_it).cloned()
    });
    match said["groups"].as_str() {
        Some(_) => true,
        None => {
            assert!(!said["why"].as_str().unwrap().is_empty(), "{said}");
            assert_eq!(said["level"], "WARN", "what was asked for does not hold: {said}");
            false
        }
    }
}

#[test]
fn a_group_that_an_operator_named_has_to_be_there() {
    let own = Own::small("serves");
    let flags = own.flags(&["--registry=memory:", "--process-cgroup=/nowhere/flowgate"]);
    let (code, _, error) = run(program().arg("serve").args(flags));
    assert_eq!(code, 78, "{error}");
    assert!(error.contains("process_cgroup: /nowhere/flowgate"), "{error}");
}

#[test]
fn a_runtime_has_so_much_memory_and_no_more() {
    let own = Own::small("serves");
    let memory = format!("--process-memory-max-bytes={MEMORY}");
    let flags = own.flags(&[&memory, "--process-cpu-max-percent=50"]);
    let flowgate = Flowgate::start(&mike(true, json!({})), &flags);
    assert!(get(&flowgate, "x").starts_with("HTTP/1.1 200"));
    let pid = own.starts()[0];
    if has_groups(&flowgate) {
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let group = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
        assert!(group.contains("/runtimes/mike-"), "{groups}");
    } else {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let data = limits.lines().find(|line| line.starts_with("Max data size")).unwrap();
        assert_eq!(data.split_whitespace().filter(|word| *word == MEMORY).count(), 2, "{data}");
    }
    // Either it is ended, or what it asks for is refused to it.
    let eaten = get(&flowgate, "eat?bytes=1073741824");
    assert!(!eaten.contains("eaten"), "{eaten}");
    wait_until("it serves again", || get(&flowgate, "x").starts_with("HTTP/1.1 200"));
}
