//! An API server that says what it is told to: a real one forgets no version when it is asked to.

use std::sync::Arc;

use kube::Config;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::super::api::EVENT_BYTES_MAX;
use super::*;

const TENANT: TenantId = TenantId(7);
const LIST: &str = "?labelSelector=flowgate%2Eexample%2Fgroup%3Dblue&limit=250";

fn set(replicas: u64, version: &str) -> Value {
    json!({
        "metadata": {
            "labels": { "flowgate.example/tenant": TENANT.to_string() }, "resourceVersion": version,
        },
        "spec": { "replicas": replicas },
    })
}

fn list(version: &str, items: &Value) -> String {
    json!({ "metadata": { "resourceVersion": version }, "items": items }).to_string()
}

fn event(kind: &str, object: &Value) -> String {
    json!({ "type": kind, "object": object }).to_string() + "\n"
}

/// What is asked next, and where the answer goes.
struct Asked {
    path: String,
    socket: TcpStream,
}

impl Asked {
    /// The whole answer; a watch has ended then.
    async fn answer(mut self, status: u16, body: &str) {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} so\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        self.socket.write_all(head.as_bytes()).await.unwrap();
        // Who has read enough closes.
        let _ = self.socket.write_all(body.as_bytes()).await;
    }
}

/// Questions about StatefulSets; there are no pods, and nothing is told of them.
async fn server() -> (Arc<Api>, mpsc::Receiver<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (asked, questions) = mpsc::channel(10);
    tokio::spawn(async move {
        let mut silent = Vec::new();
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap().to_owned();
            let question = Asked { path, socket };
            match (question.path.contains("/pods?"), question.path.contains("watch=true")) {
                (true, false) => question.answer(200, &list("1", &json!([]))).await,
                (true, true) => silent.push(question),
                _ => asked.send(question).await.unwrap(),
            }
        }
    });
    (Arc::new(Api::of(Config::new(uri)).unwrap()), questions)
}

/// The next question, which has to be this one.
async fn asked(questions: &mut mpsc::Receiver<Asked>, wanted: &str) -> Asked {
    let question = questions.recv().await.unwrap();
    let wanted = format!("/apis/apps/v1/namespaces/default/statefulsets{wanted}");
    assert!(question.path.starts_with(&wanted), "{} {wanted}", question.path);
    question
}

async fn watched_from(questions: &mut mpsc::Receiver<Asked>, version: &str) -> Asked {
    let question = asked(questions, "?watch=true").await;
    let end = format!("&resourceVersion={version}");
    assert!(question.path.ends_with(&end), "{} {version}", question.path);
    question
}

#[tokio::test]
async fn what_broke_off_is_resumed_and_what_is_too_old_is_listed_anew() {
    let (api, mut questions) = server().await;
    let watched = Arc::new(Watched::new());
    let watching = tokio::spawn(Arc::clone(&watched).run(api, "blue".to_owned()));
    let mut seen = watched.subscribe(TENANT);
    let mut is_up = async || {
        seen.changed().await.unwrap();
        seen.borrow_and_update().set.as_ref().map(|set| set.is_up)
    };
    // Two pages; the second one goes on from the first.
    let page = json!({ "metadata": { "continue": "a/b" }, "items": [] }).to_string();
    asked(&mut questions, LIST).await.answer(200, &page).await;
    let more = asked(&mut questions, &format!("{LIST}&continue=a%2Fb")).await;
    more.answer(200, &list("10", &json!([set(0, "9")]))).await;
    assert_eq!(is_up().await, Some(false));
    assert!(watched.is_known().await);
    let told = event("MODIFIED", &set(1, "11")) + &event("BOOKMARK", &set(0, "15"));
    // The last line is cut off: it comes again.
    let cut = &event("MODIFIED", &set(0, "16"))[..30];
    watched_from(&mut questions, "10").await.answer(200, &(told + cut)).await;
    assert_eq!(is_up().await, Some(true));
    watched_from(&mut questions, "15").await.answer(500, "{}").await;
    let gone = event("ERROR", &json!({ "kind": "Status", "code": 410, "message": "too old" }));
    watched_from(&mut questions, "15").await.answer(200, &gone).await;
    asked(&mut questions, LIST).await.answer(200, &list("20", &json!([set(0, "19")]))).await;
    assert_eq!(is_up().await, Some(false));
    watched_from(&mut questions, "20").await.answer(410, "{}").await;
    asked(&mut questions, LIST).await.answer(200, &list("30", &json!([]))).await;
    assert_eq!(is_up().await, None, "what is not among them is gone");
    let again = event("ADDED", &set(1, "31")) + &event("DELETED", &set(1, "32"));
    watched_from(&mut questions, "30").await.answer(200, &again).await;
    watched_from(&mut questions, "32").await.answer(200, "").await;
    assert_eq!(watched.seen(TENANT), Seen::default());
    watching.abort();
}

#[tokio::test]
async fn an_event_that_is_too_long_is_not_taken() {
    let (api, mut questions) = server().await;
    let watched = Arc::new(Watched::new());
    let watching = tokio::spawn(Arc::clone(&watched).run(api, "blue".to_owned()));
    asked(&mut questions, LIST).await.answer(200, &list("10", &json!([]))).await;
    let mut long = set(1, "11");
    long["metadata"]["annotations"]["long"] = json!("x".repeat(2 * EVENT_BYTES_MAX));
    watched_from(&mut questions, "10").await.answer(200, &event("ADDED", &long)).await;
    watched_from(&mut questions, "10").await.answer(200, "").await;
    assert_eq!(watched.seen(TENANT), Seen::default());
    watching.abort();
}

#[tokio::test]
async fn what_nobody_looks_at_and_is_not_there_is_forgotten() {
    let watched = Watched::new();
    watched.take(Kind::StatefulSet, &set(1, "1"));
    watched.take(Kind::Pod, &set(1, "1"));
    assert_eq!(watched.sets().len(), 1);
    let looking = watched.subscribe(TENANT);
    watched.lose(Kind::StatefulSet, &set(1, "2"));
    watched.lose(Kind::Pod, &set(1, "2"));
    assert_eq!((watched.sets().len(), watched.by_tenant.len()), (0, 1));
    drop(looking);
    watched.forget(Kind::Pod, TENANT);
    assert_eq!(watched.by_tenant.len(), 0);
}
