//! Dashboard and alerts: a real Prometheus scrapes and evaluates them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{basic, expressions, get, runtime};
use crate::support::admin::{READ, tokens_file};
use crate::support::exposition::{Page, ask_for};
use crate::support::flowgate::{Flowgate, import};
use crate::support::node::root;
use crate::support::profiles::{MIKE_KEY, mike_and_roberto};
use crate::support::prometheus::Prometheus;
use crate::support::redis::Redis;
use crate::support::replicas::status;
use crate::support::runtime::{Runtime, text_from_client};
use crate::support::wait_until;
use crate::support::websocket::{WebSocket, handshake};

fn dashboard() -> Value {
    let file = root().join("deploy/grafana/flowgate.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// The dashboard's queries, as Grafana would send them.
fn dashboards_queries() -> Vec<String> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries = targets.map(|target| target["expr"].as_str().unwrap());
    let queries: Vec<_> = queries
        .map(|query| query.replace("$__rate_interval", "1m").replace("$instance", ".*"))
        .collect();
    assert!(queries.len() > 40 && queries.iter().all(|query| !query.contains('$')), "{queries:?}");
    queries
}

/// What Prometheus itself adds.
const OF_PROMETHEUS: [&str; 2] = ["instance", "job"];

fn assert_known(page: &Page, expression: &str) {
    let (selectors, groups) = expressions::read(expression);
    assert!(!selectors.is_empty(), "{expression}");
    for selector in &selectors {
        let series: Vec<_> =
            page.samples.iter().filter(|(name, ..)| *name == selector.name).collect();
        assert!(!series.is_empty() || selector.name == "up", "{}: {expression}", selector.name);
        for label in selector.labels.iter().filter(|it| !OF_PROMETHEUS.contains(&it.as_str())) {
            let has_it = series.iter().all(|(_, labels, _)| labels.contains_key(label));
            assert!(has_it, "{label}: {expression}");
        }
    }
    for label in groups.iter().filter(|it| !OF_PROMETHEUS.contains(&it.as_str())) {
        let is_known = selectors.iter().any(|selector| {
            page.samples
                .iter()
                .any(|(name, labels, _)| *name == selector.name && labels.contains_key(label))
        });
        assert!(is_known, "{label}: {expression}");
    }
}

/// The example's configuration, pointed here.
fn configuration(folder: &Path, flowgate: &Flowgate) -> PathBuf {
    let deploy = root().join("deploy/prometheus");
    std::fs::copy(deploy.join("alerts.yml"), folder.join("alerts.yml")).unwrap();
    let token = folder.join("token");
    std::fs::write(&token, READ).unwrap();
    let mut text = std::fs::read_to_string(deploy.join("prometheus.example.yml")).unwrap();
    for (from, to) in [
        ("15s", "1s".to_owned()),
        ("/etc/prometheus/flowgate.token", token.display().to_string()),
        ("127.0.0.1:9180", flowgate.admin.to_string()),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, &to);
    }
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, text).unwrap();
    file
}

/// Something of everything that the dashboard shows, for the `round`th time.
fn make_traffic(flowgate: &Flowgate, live: &mut WebSocket, round: u32) {
    live.send(&text_from_client("hello"));
    assert_eq!(live.receive_text(), "hello");
    assert_eq!(status(flowgate, MIKE_KEY), 101);
    assert_eq!(status(flowgate, "a-key-that-nobody-knows-0123"), 401);
    // Somebody else each time: one who is wrong so often would have to wait.
    let from = format!("X-Forwarded-For: {}\r\n", Ipv4Addr::from_bits(0x0a00_0000 + round));
    let stranger = basic(&format!("nobody-{round}"), "wrong") + &from;
    let head = WebSocket::open(flowgate.data, handshake("/api/thing", "localhost", &stranger)).head;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    get(flowgate, "/public/mike/hello");
    ask_for(flowgate, "/admin/v1/status", "");
}

#[test]
fn dashboard_and_alerts_are_answered_by_a_real_prometheus() {
    let folder = tempfile::tempdir().unwrap();
    let (mut redis, runtime) = (Redis::start(), runtime());
    import(&redis.url(), &mike_and_roberto(runtime.address, Runtime::nowhere()), &[]);
    let tokens = tokens_file(folder.path());
    let flags = ["--admin-tokens-file", tokens.to_str().unwrap(), "--trusted-proxies", "127.0.0.1"];
    let flowgate = Flowgate::start_on(&redis.url(), &flags);
    let prometheus = Prometheus::start(&configuration(folder.path(), &flowgate));
    let mut live = WebSocket::connect(flowgate.data, "/public/mike/x", "");

    let page = Page::scrape(&flowgate, "/metrics?tenants=1", READ);
    let rules = prometheus.rules();
    assert!(rules.len() >= 20, "{rules:?}");
    let alerts: Vec<_> = rules.iter().map(|rule| rule["query"].as_str().unwrap()).collect();
    let queries = dashboards_queries();
    for expression in queries.iter().map(String::as_str).chain(alerts.iter().copied()) {
        assert_known(&page, expression);
    }
    // A dashboard's query shows something; an alert's does not, but selects something.
    let mut open: BTreeSet<String> = queries.into_iter().collect();
    for alert in &alerts {
        let (selectors, _) = expressions::read(alert);
        open.extend(selectors.into_iter().map(|selector| selector.text));
        prometheus.query(alert);
    }
    let mut round = 0;
    wait_until("every query has a result", || {
        round += 1;
        make_traffic(&flowgate, &mut live, round);
        open.retain(|query| {
            let result = prometheus.query(query);
            let is_number = |one: &Value| one["value"][1].as_str().is_some_and(|it| it != "NaN");
            !result.iter().any(is_number)
        });
        if !open.is_empty() {
            eprintln!("without a result yet: {open:?}; {:?}", prometheus.targets());
        }
        open.is_empty()
    });
    let variable = &dashboard()["templating"]["list"][1]["query"]["query"];
    assert_eq!(variable, "label_values(flowgate_build_info, instance)");
    assert_eq!(prometheus.query("flowgate_build_info").len(), 1);

    let is_raised = |name: &str| {
        let rules = prometheus.rules();
        let rule = rules.iter().find(|rule| rule["name"] == name).unwrap();
        rule["state"] != "inactive"
    };
    assert!(!is_raised("FlowgateRegistryAway") && !is_raised("FlowgateDown"));
    redis.kill();
    wait_until("the registry's absence is noticed", || is_raised("FlowgateRegistryAway"));
    let page = Page::scrape(&flowgate, "/metrics", READ);
    assert_eq!(page.value("flowgate_registry_state", &[("state", "away")]), 1.0);
    assert!(page.value("flowgate_registry_failures_total", &[("operation", "feed")]) >= 1.0);
    flowgate.kill();
    wait_until("its end is noticed", || is_raised("FlowgateDown"));
}
