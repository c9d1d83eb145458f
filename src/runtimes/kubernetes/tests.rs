//! What can be told without a cluster.

use std::time::Duration;

use serde_json::{Value, json};

use super::api::Api;
use super::names::{Mark, TENANT, name, pod_name};
use super::seen::{Pod, Seen, Set};
use super::start::newest_since;
use super::template::Template;
use super::{KubernetesSettings, Label, LabelPair, objects};
use crate::runtimes::contract::Order;
use crate::tenant::{Provider, TenantId, Username};

const TEMPLATE: &str = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: mine, namespace: kube-system, uid: x, labels: { team: flows } }
spec:
  replicas: 7
  serviceName: other
  selector: { matchLabels: { app: all } }
  persistentVolumeClaimRetentionPolicy: { whenScaled: Delete }
  template:
    metadata:
      labels: { app: node-red, app.kubernetes.io/component: trusted, flowgate.example/tenant: "0" }
      annotations: { for: "{username} is {tenant}" }
    spec:
      automountServiceAccountToken: true
      containers:
        - name: node-red
          image: nodered/node-red
          args: ["--title", "{name} $(sleep 1) {username}"]
          ports: [{ containerPort: 1880 }]
  volumeClaimTemplates:
    - metadata: { name: data }
      spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }
---
apiVersion: v1
kind: Service
metadata: { annotations: { note: "for {username}" } }
spec: { type: LoadBalancer, clusterIP: 10.0.0.1, ports: [{ port: 80 }] }
"#;

fn settings() -> KubernetesSettings {
    let minute = Duration::from_secs(60);
    KubernetesSettings {
        template: None,
        namespace: None,
        group: "blue".parse().unwrap(),
        labels: vec!["app.kubernetes.io/component=flowgate-runtime".parse().unwrap()],
        cluster_domain: "cluster.local".to_owned(),
        kubeconfig: None,
        ready_line: String::new(),
        start_timeout: minute,
        stop_timeout: minute,
        remove_after: minute,
    }
}

fn order(number: u128) -> Order {
    Order {
        tenant: TenantId(number),
        username: Username::parse("mike").unwrap(),
        provider: Provider::Kubernetes { public_wake: false },
        probe_path: "/.flowgate/ready".to_owned(),
        fence: 1,
    }
}

const MARK: Mark = Mark { fence: 3, nonce: 0xab };

fn applied(there: Option<&Value>) -> Value {
    let template = Template::parse(TEMPLATE).unwrap();
    objects::stateful_set(&template, &settings(), (&order(7), MARK), there)
}

#[test]
fn what_flowgate_relies_on_is_so_whatever_the_template_says() {
    let set = applied(None);
    let id = TenantId(7).to_string();
    let expected = [
        ("/metadata/name", json!(name(TenantId(7)))),
        ("/metadata/namespace", Value::Null),
        ("/metadata/uid", Value::Null),
        ("/metadata/labels/team", json!("flows")),
        ("/metadata/labels/flowgate.example~1group", json!("blue")),
        ("/metadata/annotations/flowgate.example~1order", json!("3-00000000000000ab")),
        ("/spec/replicas", json!(1)),
        ("/spec/serviceName", json!(name(TenantId(7)))),
        ("/spec/selector", json!({ "matchLabels": { TENANT: id } })),
        ("/spec/updateStrategy", json!({ "type": "OnDelete" })),
        (
            "/spec/persistentVolumeClaimRetentionPolicy",
            json!({ "whenScaled": "Retain", "whenDeleted": "Retain" }),
        ),
        ("/spec/template/metadata/labels/app", json!("node-red")),
        ("/spec/template/metadata/labels/app.kubernetes.io~1component", json!("flowgate-runtime")),
        ("/spec/template/metadata/labels/flowgate.example~1tenant", json!(id)),
        ("/spec/template/metadata/annotations/for", json!(format!("mike is {id}"))),
        ("/spec/template/spec/automountServiceAccountToken", json!(false)),
        ("/spec/template/spec/enableServiceLinks", json!(false)),
        (
            "/spec/template/spec/containers/0/args/1",
            json!(format!("{} $(sleep 1) mike", name(TenantId(7)))),
        ),
        ("/spec/volumeClaimTemplates/0/metadata/labels", json!({ TENANT: id })),
    ];
    for (place, value) in expected {
        assert_eq!(set.pointer(place).unwrap_or(&Value::Null), &value, "{place}");
    }
    let template = Template::parse(TEMPLATE).unwrap();
    let service = objects::service(&template, &settings(), &order(7), "some-uid");
    assert_eq!(service["metadata"]["annotations"]["note"], "for mike");
    assert_eq!(service["metadata"]["ownerReferences"][0]["uid"], "some-uid");
    assert_eq!(
        (&service["spec"]["clusterIP"], &service["spec"]["selector"]),
        (&json!("None"), &json!({ TENANT: id }))
    );
    assert_eq!(service["spec"]["type"], "ClusterIP");
    assert_eq!(service["spec"]["ports"][0]["port"], 1880);
}

#[test]
fn what_cannot_be_changed_stays_as_it_is() {
    let claims = json!([{ "metadata": { "name": "old" } }]);
    let there = json!({
        "spec": { "volumeClaimTemplates": claims, "podManagementPolicy": "Parallel", "replicas": 0 },
    });
    let set = applied(Some(&there));
    assert_eq!(set["spec"]["volumeClaimTemplates"], claims);
    assert_eq!(set["spec"]["podManagementPolicy"], "Parallel");
    assert_eq!(set["spec"]["replicas"], 1);
    assert!(applied(Some(&json!({ "spec": {} })))["spec"]["volumeClaimTemplates"].is_null());
}

#[test]
fn names_are_labels_of_host_names_and_each_tenants_own() {
    let ids = [0, 1, 0x10, u128::MAX, u128::MAX - 1];
    let names: std::collections::HashSet<String> =
        ids.into_iter().map(|id| name(TenantId(id))).collect();
    assert_eq!(names.len(), ids.len());
    for name in names {
        // What the controller makes of it for its revisions.
        assert!(format!("{name}-5f7b8c9d4f").parse::<Label>().is_ok(), "{name}");
        assert!(name.starts_with(|first: char| first.is_ascii_lowercase()));
    }
    assert_eq!(pod_name(TenantId(1)), format!("{}-0", name(TenantId(1))));
    assert_eq!(Mark::parse(&MARK.to_string()), Some(MARK));
    assert_eq!(Mark::parse("3"), None);
}

#[test]
fn a_template_that_is_of_no_use_is_told() {
    assert_eq!(Template::parse(TEMPLATE).unwrap().port, 1880);
    let json = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "spec": { "template": { "spec": { "containers": [
            { "name": "a", "image": "b", "ports": [{ "containerPort": 80 }] },
        ] } } },
    });
    assert_eq!(Template::parse(&json.to_string()).unwrap().port, 80);
    for (from, to, told) in [
        ("kind: StatefulSet", "kind: [", "is neither YAML nor JSON"),
        ("kind: StatefulSet", "kind: Deployment", "has a apps/v1 Deployment"),
        ("kind: Service", "kind: Secret", "has a v1 Secret"),
        ("apiVersion: v1\nkind: Service", "apiVersion: apps/v1\nkind: StatefulSet", "a second"),
        ("containerPort: 1880", "containerPort: 0", "containers[0].ports[0].containerPort"),
        ("containerPort: 1880", "containerPort: 65536", "containers[0].ports[0].containerPort"),
        ("image: nodered/node-red", "image: 7", "containers[0].image is missing"),
        ("containers:", "others:", "containers is missing"),
        ("name: node-red", "name: a&follow=true", "containers[0].name must be"),
        ("labels: { team: flows }", "labels: [team]", "metadata.labels is no mapping"),
        ("metadata: { name: data }", "metadata: data", "metadata is no mapping"),
        ("automountServiceAccountToken", "hostNetwork", "hostNetwork is true"),
        ("replicas: 7", "ordinals: { start: 1 }", "spec.ordinals is set"),
        ("containerPort: 1880", "hostPort: 80, containerPort: 1880", "has a hostPort"),
        ("{ whenScaled: Delete }", "Delete", "RetentionPolicy is no mapping"),
        (
            "automountServiceAccountToken: true",
            "volumes: [{ projected: { sources: [{ serviceAccountToken: { path: token } }] } }]",
            "has a service account's token",
        ),
    ] {
        let text = TEMPLATE.replacen(from, to, 1);
        assert_ne!(text, TEMPLATE, "{from}");
        let fault = Template::parse(&text).unwrap_err();
        assert!(fault.contains(told), "{from} -> {to}: {fault}");
    }
    assert!(Template::parse("").unwrap_err().contains("no apps/v1 StatefulSet"));
    let missing = KubernetesSettings { template: Some("/nonexistent".into()), ..settings() };
    assert!(missing.check().unwrap_err().starts_with("kubernetes_template: /nonexistent: No such"));
}

#[test]
fn labels_are_what_an_api_server_takes() {
    for good in ["a=b", "a.example/b_c=D.e", "a="] {
        assert!(good.parse::<LabelPair>().is_ok(), "{good}");
    }
    for bad in ["", "a", "=b", "a=b c", "a/=b", "/a=b", "-a=b", "a=-b", "a/b/c=d"] {
        assert!(bad.parse::<LabelPair>().is_err(), "{bad}");
    }
    for bad in ["", "A", "a_b", "-a", "a-", "a.b", &"a".repeat(64)] {
        assert!(bad.parse::<Label>().is_err(), "{bad}");
    }
}

/// How a pod of that status is, of a runtime that was started.
fn told(status: Value) -> Result<bool, String> {
    let set = Set { is_up: true, order: Some(MARK), gone_since: None };
    let pod = Pod::of(&json!({ "metadata": {}, "status": status }));
    Seen { set: Some(set), pod: Some(pod) }.is_ready(&[MARK])
}

fn waiting(reason: &str, ended: Value) -> Value {
    json!({
        "containerStatuses": [
            { "state": { "waiting": { "reason": reason } }, "lastState": { "terminated": ended } },
        ],
    })
}

#[test]
fn it_is_told_why_a_pod_does_not_become_ready() {
    let ready = json!([{ "type": "Ready", "status": "True" }]);
    assert_eq!(told(json!({ "conditions": ready })), Ok(true));
    for passing in [
        json!({}),
        json!({ "conditions": [{ "type": "PodScheduled", "status": "False" }] }),
        waiting("ContainerCreating", Value::Null),
        waiting("ErrImagePull", Value::Null),
        json!({ "phase": "Failed", "reason": "Evicted" }),
    ] {
        assert_eq!(told(passing.clone()), Ok(false), "{passing}");
    }
    let again = "it ends again and again (CrashLoopBackOff)";
    for (status, why) in [
        (waiting("ImagePullBackOff", Value::Null), "its image cannot be pulled (ImagePullBackOff)"),
        (waiting("CrashLoopBackOff", json!({ "exitCode": 3 })), &format!("{again}: exit code 3")),
        (
            waiting("CrashLoopBackOff", json!({ "exitCode": 137, "reason": "OOMKilled" })),
            &format!("{again}: it took more memory than it may"),
        ),
        (
            waiting("CreateContainerConfigError", Value::Null),
            "its container cannot be started (CreateContainerConfigError)",
        ),
    ] {
        assert_eq!(told(status), Err(why.to_owned()));
    }
    let other = Mark { nonce: 0, ..MARK };
    let up = Set { is_up: true, order: Some(MARK), gone_since: None };
    let seen = |set| Seen { set, pod: None };
    assert_eq!(seen(Some(up.clone())).is_ready(&[MARK]), Ok(false));
    for (set, told) in [
        (None, "removed"),
        (Some(Set { is_up: false, ..up.clone() }), "scaled it down"),
        (Some(Set { order: Some(other), ..up }), "another replica"),
    ] {
        assert!(seen(set).is_ready(&[MARK]).unwrap_err().contains(told));
    }
}

#[test]
fn what_is_wrong_with_a_pod_that_goes_is_over() {
    let status = waiting("CrashLoopBackOff", json!({ "exitCode": 3 }));
    let going =
        json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" }, "status": status });
    let pod = Pod::of(&going);
    assert!(pod.is_going && !pod.is_ready && !pod.is_hopeless(), "{pod:?}");
    assert!(Pod::of(&json!({ "status": status })).is_hopeless());
}

#[test]
fn only_what_was_said_since_a_start_began_says_why_it_fails() {
    let old = json!({ "lastTimestamp": "2026-01-01T10:00:00Z", "message": "old" });
    let new =
        json!({ "lastTimestamp": null, "eventTime": "2026-01-01T10:30:00.5Z", "message": "new" });
    let again = json!({
        "lastTimestamp": "2026-01-01T10:00:00Z", "message": "again",
        "series": { "lastObservedTime": "2026-01-01T10:31:00.000000Z" },
    });
    let since = "2026-01-01T10:30:00Z";
    for (items, told) in [
        (vec![], None),
        (vec![&old], None),
        (vec![&new, &old], Some("new")),
        (vec![&again, &new], Some("again")),
    ] {
        assert_eq!(newest_since(&json!({ "items": items }), since), told);
    }
}

#[test]
fn it_is_told_how_long_a_pod_has_run() {
    let running = |at: &str| {
        let container = json!({ "state": { "running": { "startedAt": at } } });
        Pod::of(&json!({ "status": { "containerStatuses": [container] } }))
    };
    let minute = Duration::from_secs(60);
    assert!(running("2026-01-01T10:00:00Z").has_run_for(minute));
    assert!(!running("2999-01-01T10:00:00Z").has_run_for(minute));
    assert!(!Pod::of(&json!({})).has_run_for(minute));
}

#[tokio::test]
async fn a_kubeconfig_is_not_shown_and_runs_nothing() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let told = async |text: &str| {
        std::fs::write(file.path(), text).unwrap();
        let kubeconfig = Some(file.path().into());
        Api::new(&KubernetesSettings { kubeconfig, ..settings() }).await.unwrap_err()
    };
    let wrong =
        told("users:\n  - name: a\n    user:\n      token: geheim\n      tokenFile: [\n").await;
    assert!(wrong.ends_with(": is no kubeconfig"), "{wrong}");
    let user = "users: [{ name: a, user: { exec: { command: \"true\" } } }]";
    let runs = told(user).await;
    assert!(runs.contains("programs that give credentials are not run"), "{runs}");
}

/// Whoever calls it is led to a pod that stays, or nowhere.
#[test]
fn it_is_where_its_pod_is_and_nowhere_without() {
    let pod = |more: Value| {
        let mut pod = json!({ "metadata": {}, "status": { "podIP": "10.1.2.3" } });
        pod["metadata"]["deletionTimestamp"] = more;
        Seen { pod: Some(Pod::of(&pod)), set: None }
    };
    assert_eq!(pod(Value::Null).address(), Some("10.1.2.3".parse().unwrap()));
    assert_eq!(pod(json!("2026-01-01T00:00:00Z")).address(), None, "it goes");
    assert_eq!(Seen::default().address(), None);
}
