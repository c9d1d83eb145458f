//! A namespace of a cluster, for runtimes.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use flowgate::runtimes::contract::Order;
use flowgate::runtimes::kubernetes::{Cluster, KubernetesSettings};
use flowgate::tenant::{Provider, TenantId, Username};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PATIENCE, wait_until};

pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const SMALL: &str = "flowgate-test/small";

/// A namespace of its own, in the cluster that the environment names.
pub struct Space {
    name: String,
    folder: TempDir,
    pub template: Value,
}

impl Space {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let id = TenantId::random().unwrap().to_string();
        let space = Self { name: format!("test-{}", &id[..12]), folder, template: template(SMALL) };
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {
                "name": space.name, "labels": { "pod-security.kubernetes.io/enforce": "restricted" },
            },
        });
        space.make(&namespace);
        // No pod is made without it.
        wait_until("the namespace has its account", || space.count("serviceaccounts") > 0);
        space
    }

    pub fn of(image: &str) -> Self {
        let mut space = Self::new();
        space.template = template(image);
        space
    }

    pub fn kubectl(&self, words: &[&str], input: &str) -> Result<String, String> {
        let folder = std::env::var("FLOWGATE_CONTROL_PLANE").expect("where kubectl is");
        let mut command = Command::new(format!("{folder}/kubectl"));
        command.args(["--kubeconfig", &kubeconfig(), "--namespace", &self.name]).args(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = |bytes| String::from_utf8(bytes).unwrap();
        match output.status.success() {
            true => Ok(said(output.stdout)),
            false => Err(said(output.stderr)),
        }
    }

    pub fn make(&self, object: &Value) {
        self.kubectl(&["create", "-f", "-"], &object.to_string()).unwrap();
    }

    pub fn get(&self, what: &str) -> Value {
        let all = self.kubectl(&["get", what, "-o", "json"], "").unwrap();
        serde_json::from_str(&all).unwrap()
    }

    /// The only one of a kind.
    pub fn only(&self, kind: &str) -> Value {
        let mut all = self.get(kind);
        let all = all["items"].as_array_mut().unwrap();
        assert_eq!(all.len(), 1, "{kind}: {all:?}");
        all.remove(0)
    }

    pub fn count(&self, kind: &str) -> usize {
        self.get(kind)["items"].as_array().unwrap().len()
    }

    pub fn settings(&self) -> KubernetesSettings {
        let file = self.folder.path().join("template.yaml");
        std::fs::write(&file, self.template.to_string()).unwrap();
        KubernetesSettings {
            template: Some(file),
            namespace: Some(self.name.parse().unwrap()),
            group: "tested".parse().unwrap(),
            labels: vec!["app.kubernetes.io/component=flowgate-runtime".parse().unwrap()],
            cluster_domain: "cluster.local".to_owned(),
            kubeconfig: Some(kubeconfig().into()),
            ready_line: "listening".to_owned(),
            start_timeout: PATIENCE,
            stop_timeout: PATIENCE,
            remove_after: 7 * DAY,
        }
    }

    /// The same settings for the whole program.
    pub fn flags(&self) -> Vec<String> {
        let settings = self.settings();
        vec![
            format!("--kubernetes-template={}", settings.template.unwrap().display()),
            format!("--kubernetes-namespace={}", self.name),
            "--kubernetes-group=tested".to_owned(),
            format!("--kubernetes-kubeconfig={}", kubeconfig()),
            format!("--kubernetes-ready-line={}", settings.ready_line),
            "--kubernetes-start-timeout=3m".to_owned(),
            "--wake-timeout=3m".to_owned(),
        ]
    }

    pub async fn replica(&self, name: &str) -> Cluster {
        Cluster::open(self.settings(), name).await.unwrap().unwrap()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.kubectl(&["delete", "namespace", &self.name, "--wait=false"], "");
    }
}

pub fn kubeconfig() -> String {
    std::env::var("FLOWGATE_KUBECONFIG").expect("how the API server is reached")
}

pub fn template(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "spec": {
            "template": {
                "metadata": { "annotations": { "for": "{username}" } },
                "spec": {
                    "automountServiceAccountToken": true,
                    "terminationGracePeriodSeconds": 1,
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000,
                        "seccompProfile": { "type": "RuntimeDefault" },
                    },
                    "containers": [{
                        "name": "runtime",
                        "image": image,
                        "ports": [{ "containerPort": 1880 }],
                        "env": [{ "name": "RUNTIME_NAME", "value": "{username}" }],
                        "readinessProbe": { "tcpSocket": { "port": 1880 }, "periodSeconds": 1 },
                        "securityContext": {
                            "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
                        },
                        "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                    }],
                },
            },
            "volumeClaimTemplates": [{
                "metadata": { "name": "data" },
                "spec": {
                    "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Mi" } },
                },
            }],
        },
    })
}

pub fn order(fence: u64) -> Order {
    Order {
        tenant: TenantId(7),
        username: Username::parse("mike").unwrap(),
        provider: Provider::Kubernetes { public_wake: false },
        probe_path: "/api/.flowgate/ready".to_owned(),
        fence,
    }
}

pub fn run<F: Future>(test: F) -> F::Output {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(test)
}
