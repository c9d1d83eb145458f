//! The provider `kubernetes` against a real API server: scripts/test-kubernetes starts one, and runs these.

use std::time::Duration;

use flowgate::clock::UnixMillis;
use flowgate::runtimes::contract::{Condition, Due, RunningRuntime, RuntimeProvider, StartFault};
use flowgate::runtimes::kubernetes::{Cluster, KubernetesSettings};
use flowgate::tenant::TenantId;
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::task::block_in_place;

use crate::support::contract::{Life, answers, keeps_the_contract};
use crate::support::flowgate::{Flowgate, import};
use crate::support::own::mike;
use crate::support::profiles::MIKE_KEY;
use crate::support::redis::Redis;
use crate::support::runtime::text_from_client;
use crate::support::space::{DAY, Space, kubeconfig, order, run};
use crate::support::websocket::WebSocket;
use crate::support::{replicas, wait_for, wait_until};

/// Why one does not start.
async fn fault(space: &Space) -> StartFault {
    let fault = space.replica("a").await.start(&order(1)).await.unwrap_err();
    wait_until("what did not start is undone", || {
        space.count("pods") == 0 && space.only("statefulsets")["spec"]["replicas"] == 0
    });
    fault
}

#[test]
#[ignore = "needs a control plane: scripts/test-kubernetes"]
fn a_workload_keeps_the_contract() {
    let space = Space::new();
    run(async {
        keeps_the_contract(&space.replica("a").await, &order(1), Life::OfFlowgate).await;
    });
    assert_eq!(space.count("persistentvolumeclaims"), 1, "the volume outlives what used it");
}

#[test]
#[ignore = "needs a control plane: scripts/test-kubernetes"]
fn a_pod_has_no_token_and_the_labels_that_policies_go_by() {
    let space = Space::new();
    run(async {
        let provider = space.replica("a").await;
        let running = provider.start(&order(1)).await.unwrap();
        let pod = space.only("pods");
        assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
        assert!(!pod["spec"].to_string().contains("serviceaccount"), "{pod}");
        let labels = &pod["metadata"]["labels"];
        assert_eq!(labels["app.kubernetes.io/component"], "flowgate-runtime");
        assert_eq!(labels["flowgate.example/tenant"], json!(TenantId(7).to_string()));
        assert_eq!(pod["metadata"]["annotations"]["for"], "mike");
        let service = space.only("services");
        assert_eq!(service["spec"]["clusterIP"], "None");
        assert_eq!(service["metadata"]["name"].as_str(), running.place().host.split('.').next());
        running.stop().await;
        assert_eq!(space.count("pods"), 0, "when stop returns");
    });
}

#[test]
#[ignore = "needs a control plane: scripts/test-kubernetes"]
fn of_two_orders_the_later_one_stays() {
    let space = Space::new();
    run(async {
        let (one, other) = (space.replica("a").await, space.replica("b").await);
        // Both find nothing there, and neither knows of the other.
        let (late, early) = (order(9), order(8));
        let (late, early) = tokio::join!(one.start(&late), other.start(&early));
        let late = late.unwrap();
        if let Err(fault) = early {
            assert!(fault.why.contains("another replica has started it since"), "{fault}");
        }
        let mark = || space.only("statefulsets")["metadata"]["annotations"].to_string();
        assert!(mark().contains("\"9-"), "{}", mark());
        let (was, pod) = (mark(), space.only("pods")["metadata"]["uid"].clone());
        let outdated = other.start(&order(8)).await.unwrap_err();
        assert!(outdated.why.contains("another replica has started it since"), "{outdated}");
        assert_eq!((mark(), &space.only("pods")["metadata"]["uid"]), (was, &pod));
        // Whoever had it before ends nothing of whoever has it now.
        let mut taken_over = other.start(&order(10)).await.unwrap();
        assert_eq!(space.only("pods")["metadata"]["uid"], pod, "one that runs is taken over");
        late.stop().await;
        assert!(block_in_place(|| answers(&taken_over.place())));
        tokio::select! {
            biased;
            ended = taken_over.ended() => panic!("{ended}"),
            () = std::future::ready(()) => {}
        }
        taken_over.stop().await;
    });
}

#[test]
#[ignore = "needs a control plane: scripts/test-kubernetes"]
fn one_that_is_left_runs_on_with_another_template_waiting() {
    let mut space = Space::new();
    run(async {
        let before = space.replica("a").await;
        let left = before.start(&order(1)).await.unwrap();
        let pod = space.only("pods");
        left.leave().await;
        let spec = &mut space.template["spec"];
        spec["template"]["metadata"]["labels"]["version"] = json!("2");
        // Nobody can change that of a StatefulSet that is there.
        spec["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = json!("2Mi");
        let after = space.replica("b").await;
        assert_eq!(after.left_running().await, [TenantId(7)]);
        let owned = after.start(&order(2)).await.unwrap();
        assert_eq!(space.only("pods")["metadata"]["uid"], pod["metadata"]["uid"]);
        owned.stop().await;
        let anew = after.start(&order(2)).await.unwrap();
        assert_eq!(space.only("pods")["metadata"]["labels"]["version"], "2");
        anew.stop().await;
    });
}

#[test]
#[ignore = "needs a control plane: scripts/test-kubernetes"]
fn a_pod_that_is_removed_comes_back_and_one_that_is_scaled_down_is_told() {
    let space = Space::new();
    run(async {
        let provider = space.replica("a").await;
        let mut running = provider.start(&order(1)).await.unwrap();
        let uid = || space.get("pods")["items"][0]["metadata"]["uid"].clone();
        let was = uid();
        let back = async {
            space.kubectl(&["delete", "pods", "--all"], "").unwrap();
            while uid() == was || provider.condition(&order(1)).await != Condition::Answers {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            ended = running.ended() => panic!("{ended}"),
            () = back => {}
        }
        let name = space.only("statefulsets")["metadata"]["name"].as_str().unwrap().to_owned();
        space.kubectl(&["scale", "statefulset", &name, "--replicas=0"], "").unwrap();
        assert_eq!(running.ended().await, "somebody has scaled it down");
        assert!(provider.left_running().await.is_empty());
        let mut anew = provider.start(&order(1)).await.unwrap();
        space.kubectl(&["delete", "statefulset", &name, "--wait=false"], "").unwrap();
        assert_eq!(anew.ended().await, "its StatefulSet was removed");
    });
}

#[test]
#[ignore = "needs a control plane: scripts/test-kubernetes"]
fn it_says_why_one_does_not_start() {
    run(async {
        let missing = fault(&Space::of("flowgate-test/missing")).await;
        assert_eq!(missing.why, "its image cannot be pulled (ImagePullBackOff)");
        let crashes = fault(&Space::of("flowgate-test/crashes")).await;
        assert_eq!(crashes.why, "it ends again and again (CrashLoopBackOff): exit code 3");
        assert_eq!(String::from_utf8(crashes.log_tail).unwrap(), "no flows here\n");
        let full = Space::new();
        full.make(&json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "none" },
            "spec": { "hard": { "pods": "0" } },
        }));
        wait_until("the quota holds", || {
            full.only("resourcequotas")["status"]["hard"]["pods"] == "0"
        });
        assert_eq!(fault(&full).await.why, "a quota of the cluster is used up");
        let mut huge = Space::new();
        huge.template["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] =
            json!("100000");
        let mut settings = huge.settings();
        settings.start_timeout = Duration::from_secs(15);
        let provider = Cluster::open(settings, "a").await.unwrap().unwrap();
        let fault = provider.start(&order(1)).await.unwrap_err();
        assert_eq!(
            fault.why,
            "it was not ready within 15 s: no node of the cluster has room for it"
        );
        let mut wrong = Space::new();
        wrong.template["spec"]["template"]["spec"]["restartPolicy"] = json!("Sometimes");
        let fault = wrong.replica("a").await.start(&order(1)).await.unwrap_err();
        assert_eq!(fault.why, "the cluster refuses it");
    });
}

#[test]
#[ignore = "needs a control plane: scripts/test-kubernetes"]
fn a_start_that_is_given_up_is_undone() {
    let mut space = Space::new();
    // It listens, and is never ready.
    let container = &mut space.template["spec"]["template"]["spec"]["containers"][0];
    container["readinessProbe"]["tcpSocket"]["port"] = json!(1);
    run(async {
        let provider = space.replica("a").await;
        let order = order(1);
        let has_pod = async {
            while space.count("pods") == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            started = provider.start(&order) => panic!("{started:?}"),
            () = has_pod => {}
        }
        wait_until("nothing of it runs", || {
            space.count("pods") == 0 && space.only("statefulsets")["spec"]["replicas"] == 0
        });
        assert!(provider.left_running().await.is_empty());
    });
}

#[test]
#[ignore = "needs a control plane: scripts/test-kubernetes"]
fn one_replica_looks_after_what_is_left_of_tenants_who_are_gone() {
    let space = Space::new();
    let now = UnixMillis(1_000_000_000_000);
    run(async {
        let (one, other) = (space.replica("a").await, space.replica("b").await);
        let running = one.start(&order(3)).await.unwrap();
        assert_eq!(one.kept().await, [TenantId(7)]);
        assert!(other.kept().await.is_empty(), "it falls to one of them");
        assert!(!one.needs_settling(TenantId(7), Due::Stays));
        // Of an earlier lease: nothing happens.
        one.settle(TenantId(7), Due::Goes, 2, now).await;
        assert_eq!(space.only("statefulsets")["spec"]["replicas"], 1);
        running.leave().await;
        one.settle(TenantId(7), Due::Goes, 4, now).await;
        let gone = "flowgate.example/gone-since";
        let since =
            |space: &Space| space.only("statefulsets")["metadata"]["annotations"][gone].clone();
        assert_eq!(since(&space), "1000000000");
        assert_eq!(space.only("statefulsets")["spec"]["replicas"], 1, "once may be a mistake");
        one.settle(TenantId(7), Due::Goes, 4, now).await;
        wait_until("it is asleep", || space.count("pods") == 0);
        one.settle(TenantId(7), Due::Stays, 5, now).await;
        assert!(since(&space).is_null(), "the tenant is there again");
        one.settle(TenantId(7), Due::Goes, 6, now).await;
        one.settle(TenantId(7), Due::Goes, 6, now.plus(6 * DAY)).await;
        assert_eq!(since(&space), "1000000000", "not yet");
        one.settle(TenantId(7), Due::Goes, 6, now.plus(7 * DAY)).await;
        wait_until("all but the volume is gone", || {
            space.count("statefulsets") == 0 && space.count("services") == 0
        });
        assert_eq!(space.count("persistentvolumeclaims"), 1);
        wait_for("the watch has seen it", || {
            (!one.needs_settling(TenantId(7), Due::Goes)).then_some(())
        });
    });
}

#[test]
#[ignore = "needs a control plane: scripts/test-kubernetes"]
fn an_api_server_that_is_not_there_is_told() {
    let space = Space::new();
    let file = NamedTempFile::new().unwrap();
    let text = std::fs::read_to_string(kubeconfig()).unwrap();
    let lines = text.lines().map(|line| match line.find("https://") {
        Some(at) => {
            let end = line[at..].find('"').map_or(line.len(), |end| at + end);
            format!("{}https://127.0.0.1:1{}", &line[..at], &line[end..])
        }
        None => line.to_owned(),
    });
    std::fs::write(file.path(), lines.collect::<Vec<_>>().join("\n")).unwrap();
    run(async {
        let settings =
            KubernetesSettings { kubeconfig: Some(file.path().into()), ..space.settings() };
        let provider = Cluster::open(settings, "a").await.unwrap().unwrap();
        let fault = provider.start(&order(1)).await.unwrap_err();
        assert_eq!(fault.why, "the cluster cannot be asked");
    });
}

#[test]
#[ignore = "needs a control plane: scripts/test-kubernetes"]
fn connections_outlive_the_replica_that_has_started_their_runtime() {
    let space = Space::new();
    let redis = Redis::start();
    let url = redis.url();
    let mut profiles = mike(true, json!({ "sleep_after_seconds": 2 }));
    profiles["tenants"][0]["instance"]["provider"] = json!("kubernetes");
    import(&url, &profiles, &[]);
    let flags = space.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let start = || Flowgate::start_on(&url, &flags);
    let call =
        |at: &Flowgate| WebSocket::connect(at.data, "/api/thing", &replicas::with_key(MIKE_KEY));
    let echo = |socket: &mut WebSocket| {
        socket.send(&text_from_client("there"));
        assert_eq!(socket.receive_text(), "there");
    };
    let owns = |at: &Flowgate| at.log().iter().any(|it| it["message"] == "the runtime is ready");
    let (first, mut second) = (start(), start());
    let mut at_first = call(&first);
    echo(&mut at_first);
    let mut at_second = call(&second);
    wait_until("the first one says that it owns it", || owns(&first));
    assert!(!owns(&second));
    let pod = space.only("pods")["metadata"]["uid"].clone();
    first.kill();
    wait_until("the other takes it over", || {
        echo(&mut at_second);
        owns(&second)
    });
    let third = start();
    let mut at_third = call(&third);
    drop(at_second);
    second.signal("-TERM");
    wait_until("the third takes it over", || {
        echo(&mut at_third);
        owns(&third)
    });
    assert!(second.wait().success());
    echo(&mut at_third);
    assert_eq!(space.only("pods")["metadata"]["uid"], pod, "all the time it was the same");
    assert_eq!(at_third.receive_close().0, 1012);
    wait_until("it sleeps when nobody uses it", || space.count("pods") == 0);
    echo(&mut call(&third));
    assert_ne!(space.only("pods")["metadata"]["uid"], pod);
}
