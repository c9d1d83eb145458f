//! Runtimes in Kubernetes that run already, and an API server that goes away meanwhile, on a real one as
//! `kubernetes_provider`.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use flowgate::runtimes::contract::{Condition, RunningRuntime, RuntimeProvider};
use flowgate::runtimes::kubernetes::{Cluster, KubernetesSettings};
use flowgate::tenant::TenantId;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, block_in_place};

use crate::support::contract::answers;
use crate::support::space::{Space, kubeconfig, order, run, template};
use crate::support::wait_until;

/// A way to the API server that can be closed.
struct Gate {
    address: SocketAddr,
    to: String,
    file: NamedTempFile,
    carrying: Option<tokio::task::JoinHandle<()>>,
}

impl Gate {
    async fn new() -> Self {
        let text = std::fs::read_to_string(kubeconfig()).unwrap();
        let begin = text.find("https://").unwrap() + "https://".len();
        let is_end =
            |character: char| !character.is_ascii_alphanumeric() && !".:".contains(character);
        let length = text[begin..].find(is_end).unwrap_or(text.len() - begin);
        let to = &text[begin..begin + length];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text.replace(to, &address.to_string()).as_bytes()).unwrap();
        let to = if to.contains(':') { to.to_owned() } else { format!("{to}:443") };
        let mut gate = Self { address, to, file, carrying: None };
        gate.carry(listener);
        gate
    }

    fn carry(&mut self, listener: TcpListener) {
        let to = self.to.clone();
        self.carrying = Some(tokio::spawn(async move {
            let mut all = JoinSet::new();
            while let Ok((mut from, _)) = listener.accept().await {
                let to = to.clone();
                all.spawn(async move {
                    let mut socket = TcpStream::connect(to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut from, &mut socket).await;
                });
            }
        }));
    }

    async fn close(&mut self) {
        let carrying = self.carrying.take().unwrap();
        carrying.abort();
        let _ = carrying.await;
    }

    async fn open(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.carry(listener);
    }

    async fn replica(&self, space: &Space, name: &str) -> Cluster {
        let settings = KubernetesSettings {
            kubeconfig: Some(self.file.path().into()),
            stop_timeout: Duration::from_secs(3),
            ..space.settings()
        };
        Cluster::open(settings, name).await.unwrap().unwrap()
    }
}

fn pod(space: &Space) -> Value {
    space.only("pods")["metadata"]["uid"].clone()
}

fn fence(space: &Space) -> String {
    let annotations = &space.only("statefulsets")["metadata"]["annotations"];
    let mark = annotations["flowgate.example/order"].as_str().unwrap_or_default();
    mark.split('-').next().unwrap_or_default().to_owned()
}

#[test]
#[ignore = "needs a control plane: scripts/test-kubernetes"]
fn a_takeover_that_does_not_finish_ends_nothing() {
    let space = Space::new();
    run(async {
        space.replica("a").await.start(&order(1)).await.unwrap().leave().await;
        let was = pod(&space);
        // For this one no name leads anywhere.
        let lost = KubernetesSettings {
            cluster_domain: "nowhere.invalid".to_owned(),
            start_timeout: Duration::from_secs(3),
            ..space.settings()
        };
        let lost = Cluster::open(lost, "b").await.unwrap().unwrap();
        let fault = lost.start(&order(2)).await.unwrap_err();
        assert_eq!(
            fault.why,
            "it was not ready within 3 s: its pod is ready and its Service does not answer"
        );
        assert_eq!(space.only("statefulsets")["spec"]["replicas"], 1);
        let is_marked = async {
            while fence(&space) != "3" {
                tokio::task::yield_now().await;
            }
        };
        let given_up = order(3);
        tokio::select! {
            started = lost.start(&given_up) => panic!("{started:?}"),
            () = is_marked => {}
        }
        let other = space.replica("c").await;
        let running = other.start(&order(4)).await.unwrap();
        assert_eq!(pod(&space), was);
        assert!(block_in_place(|| answers(&running.place())));
        running.stop().await;
    });
}

#[test]
#[ignore = "needs a control plane: scripts/test-kubernetes"]
fn what_runs_is_taken_over_whatever_the_template_says_now() {
    let mut space = Space::new();
    run(async {
        space.replica("a").await.start(&order(1)).await.unwrap().leave().await;
        let was = pod(&space);
        space.template["spec"]["template"]["spec"]["restartPolicy"] = json!("Sometimes");
        let after = space.replica("b").await;
        let running = after.start(&order(2)).await.unwrap();
        assert_eq!((pod(&space), fence(&space).as_str()), (was, "2"));
        assert!(block_in_place(|| answers(&running.place())));
        running.stop().await;
        let fault = after.start(&order(2)).await.unwrap_err();
        assert_eq!(fault.why, "the cluster refuses it");
    });
}

#[test]
#[ignore = "needs a control plane: scripts/test-kubernetes"]
fn what_runs_is_served_while_the_api_server_is_away() {
    let space = Space::new();
    run(async {
        space.replica("a").await.start(&order(1)).await.unwrap().leave().await;
        let was = pod(&space);
        let mut gate = Gate::new().await;
        let behind = gate.replica(&space, "b").await;
        assert_eq!(behind.left_running().await, [TenantId(7)]);
        assert_eq!(behind.condition(&order(2)).await, Condition::Answers);
        gate.close().await;
        let mut running = behind.start(&order(2)).await.unwrap();
        assert!(block_in_place(|| answers(&running.place())));
        assert_eq!(fence(&space), "1");
        gate.open().await;
        let is_marked = async {
            while fence(&space) != "2" {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            ended = running.ended() => panic!("{ended}"),
            () = is_marked => {}
        }
        assert_eq!(pod(&space), was);
        running.stop().await;
        wait_until("it sleeps", || space.count("pods") == 0);
    });
}

#[test]
#[ignore = "needs a control plane: scripts/test-kubernetes"]
fn a_restart_that_could_not_end_the_last_pod_does_not_pass_it_off_as_the_next() {
    let space = Space::new();
    run(async {
        let mut gate = Gate::new().await;
        let provider = gate.replica(&space, "a").await;
        let running = provider.start(&order(1)).await.unwrap();
        let was = pod(&space);
        gate.close().await;
        running.stop().await;
        let fault = provider.start(&order(1)).await.unwrap_err();
        assert_eq!(fault.why, "the cluster cannot be asked");
        assert_eq!(pod(&space), was);
        gate.open().await;
        let again = provider.start(&order(1)).await.unwrap();
        assert_ne!(pod(&space), was);
        again.stop().await;
    });
}

#[test]
#[ignore = "needs a control plane: scripts/test-kubernetes"]
fn the_end_of_the_last_pod_says_nothing_of_the_next() {
    let mut space = Space::of("flowgate-test/missing");
    run(async {
        let fault = space.replica("a").await.start(&order(1)).await.unwrap_err();
        assert_eq!(fault.why, "its image cannot be pulled (ImagePullBackOff)");
        space.template = template("flowgate-test/small");
        let mended = space.replica("a").await;
        let mut running = mended.start(&order(1)).await.unwrap();
        // It crashes again and again.
        let place = running.place();
        let crash = async {
            loop {
                let _ = block_in_place(|| crash(&place.host, place.port));
                tokio::task::yield_now().await;
            }
        };
        let ended = tokio::select! {
            ended = running.ended() => ended,
            () = crash => unreachable!(),
        };
        assert_eq!(ended, "it ends again and again (CrashLoopBackOff): exit code 7");
        drop(running);
        let again = mended.start(&order(1)).await.unwrap();
        assert!(block_in_place(|| answers(&again.place())));
        again.stop().await;
    });
}

fn crash(host: &str, port: u16) -> std::io::Result<()> {
    let mut socket = std::net::TcpStream::connect((host, port))?;
    socket.write_all(b"GET /api/crash HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}
