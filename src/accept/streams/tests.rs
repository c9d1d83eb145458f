use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::COOKIE;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Frame;
use hyper::client::conn::http2 as client;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::*;
use crate::keepalive::KeepAlive;
use crate::networks::Networks;
use crate::permits::NoPlace;
use crate::tls::Stream;

const LONG: Duration = Duration::from_secs(60);
/// For requests at once.
const PLACES: usize = 1000;
const SHORT: Duration = Duration::from_millis(200);

type Sender = client::SendRequest<Empty<Bytes>>;

fn peer(address: std::net::SocketAddr, permits: &Permits) -> Peer {
    let permit = Arc::new(permits.take_beside(address.ip()).unwrap());
    Peer { address, over_tls: true, permit, no_place: None }
}

fn settings(header_timeout: Duration, write_stall_max: Duration) -> AcceptSettings {
    AcceptSettings {
        connections_max: 1,
        connections_per_address_max: 0,
        header_timeout,
        write_stall_max,
        header_bytes_max: 8192,
        headers_max: 100,
        keep_alive: KeepAlive { idle_max: header_timeout, requests_max: None },
        proxy_protocol_from: Networks::default(),
    }
}

/// Both ends of a connection, whose server end does `handler`; the tasks of server and client.
async fn connect<H, F, B>(
    patience: (Duration, Duration),
    window_bytes: u32,
    drain: watch::Receiver<bool>,
    handler: H,
) -> (Sender, JoinHandle<()>)
where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let permits = Arc::new(Permits::for_operators(PLACES));
    connect_with(permits, patience, window_bytes, drain, handler).await
}

async fn connect_with<H, F, B>(
    permits: Arc<Permits>,
    (header_timeout, write_stall_max): (Duration, Duration),
    window_bytes: u32,
    drain: watch::Receiver<bool>,
    handler: H,
) -> (Sender, JoinHandle<()>)
where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap());
    let (dialled, accepted) = tokio::join!(dialled, listener.accept());
    let (socket, address) = accepted.unwrap();
    let (peer, settings) = (peer(address, &permits), settings(header_timeout, write_stall_max));
    let stream = Rewound::from(Stream::Plain(socket));
    let server = tokio::spawn(converse(stream, peer, permits, settings, drain, handler));
    let (sender, connection) = client::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window_bytes)
        .handshake(TokioIo::new(dialled.unwrap()))
        .await
        .unwrap();
    tokio::spawn(connection);
    (sender, server)
}

/// An answer without end.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[7; 1024])))))
    }
}

fn ask() -> Request<Empty<Bytes>> {
    Request::get("https://localhost/thing").body(Empty::new()).unwrap()
}

fn ok(body: &'static [u8]) -> Response<Full<Bytes>> {
    Response::new(Full::new(Bytes::from_static(body)))
}

#[test]
fn a_request_looks_as_it_would_by_http_1() {
    let request = Request::get("https://mike.flows.localhost:8443/api/x?y=1")
        .version(Version::HTTP_2)
        .header(COOKIE, "a=1")
        .header(COOKIE, "b=2; c=3")
        .body(())
        .unwrap();
    let request = as_http_1(request);
    assert_eq!(request.version(), Version::HTTP_11);
    assert_eq!(request.headers()[HOST], "mike.flows.localhost:8443");
    let cookies: Vec<_> = request.headers().get_all(COOKIE).iter().collect();
    assert_eq!(cookies, ["a=1; b=2; c=3"]);
    // Another Host than the authority is left for whoever refuses it.
    let request = Request::get("https://a/").header(HOST, "b").body(()).unwrap();
    assert_eq!(as_http_1(request).headers()[HOST], "b");
    let mut none = HeaderMap::new();
    join_cookies(&mut none);
    assert!(none.is_empty());
}

#[tokio::test]
async fn many_requests_run_at_once_and_a_drain_lets_them_finish() {
    let (drain, drained) = watch::channel(false);
    let go = Arc::new(Semaphore::new(0));
    let (began, mut begun) = mpsc::channel(10);
    let gate = Arc::clone(&go);
    let handler = move |_, _| {
        let (gate, began) = (Arc::clone(&gate), began.clone());
        async move {
            began.send(()).await.unwrap();
            gate.acquire().await.unwrap().forget();
            ok(b"done")
        }
    };
    let (sender, server) = connect((LONG, LONG), 65_535, drained, handler).await;
    let mut answers = Vec::new();
    for _ in 0..10 {
        let mut sender = sender.clone();
        answers.push(tokio::spawn(async move {
            let response = sender.send_request(ask()).await.unwrap();
            response.into_body().collect().await.unwrap().to_bytes()
        }));
    }
    for _ in 0..10 {
        begun.recv().await.unwrap();
    }
    drain.send_replace(true);
    go.add_permits(10);
    for answer in answers {
        assert_eq!(answer.await.unwrap(), "done");
    }
    server.await.unwrap();
}

/// Ten at once take ten places; who has none is known to whoever answers.
#[tokio::test]
async fn each_request_at_once_takes_a_place() {
    let (_drain, drained) = watch::channel(false);
    let go = Arc::new(Semaphore::new(0));
    let (began, mut begun) = mpsc::channel(PLACES);
    let gate = Arc::clone(&go);
    let handler = move |_, peer: Peer| {
        let (gate, began) = (Arc::clone(&gate), began.clone());
        async move {
            began.send(peer.no_place).await.unwrap();
            gate.acquire().await.unwrap().forget();
            ok(b"done")
        }
    };
    let permits = Arc::new(Permits::for_operators(10));
    let (sender, _server) =
        connect_with(Arc::clone(&permits), (LONG, LONG), 65_535, drained, handler).await;
    for round in 0..3 {
        let answers: Vec<_> = (0..11)
            .map(|_| {
                let mut sender = sender.clone();
                tokio::spawn(async move {
                    let response = sender.send_request(ask()).await.unwrap();
                    response.into_body().collect().await.unwrap().to_bytes()
                })
            })
            .collect();
        let mut without = Vec::new();
        for _ in 0..11 {
            without.extend(begun.recv().await.unwrap());
        }
        assert_eq!(without, [NoPlace::All], "round {round}");
        assert_eq!(permits.available(), 0);
        go.add_permits(11);
        for answer in answers {
            assert_eq!(answer.await.unwrap(), "done");
        }
        // The client may have read the end before the server has let go of it.
        while permits.available() < 9 {
            tokio::task::yield_now().await;
        }
        assert_eq!(permits.available(), 9, "the connection keeps its own");
    }
}

#[tokio::test]
async fn a_connection_without_requests_is_told_to_go() {
    let (_drain, drained) = watch::channel(false);
    let (mut sender, server) =
        connect((SHORT, SHORT), 65_535, drained, |_, _| async { ok(b"done") }).await;
    let response = sender.send_request(ask()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body().collect().await.unwrap();
    server.await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_even_begin_is_cut_without_the_time_for_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, address) = listener.accept().await.unwrap();
    let (_drain, drained) = watch::channel(false);
    let handler = |_, _| async { ok(b"nobody asks") };
    let stream = Rewound::from(Stream::Plain(socket));
    let permits = Arc::new(Permits::for_operators(PLACES));
    let (peer, settings) = (peer(address, &permits), settings(SHORT, Duration::MAX));
    converse(stream, peer, permits, settings, drained, handler).await;
    drop(silent);
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_an_answer_is_cut() {
    let (_drain, drained) = watch::channel(false);
    let handler = |_, _| async { Response::new(Endless) };
    let (mut sender, server) = connect((LONG, SHORT), 1024, drained, handler).await;
    let response = sender.send_request(ask()).await.unwrap();
    // Its body is held, and not read.
    server.await.unwrap();
    assert!(response.into_body().collect().await.is_err());
}

#[tokio::test]
async fn a_client_that_takes_back_what_it_asks_is_cut() {
    let (_drain, drained) = watch::channel(false);
    let began = Arc::new(Notify::new());
    let begun = Arc::clone(&began);
    let handler = move |_, _| {
        let begun = Arc::clone(&begun);
        async move {
            begun.notify_one();
            std::future::pending::<Response<Full<Bytes>>>().await
        }
    };
    let (mut sender, server) = connect((LONG, LONG), 65_535, drained, handler).await;
    let mut taken_back = 0;
    while sender.ready().await.is_ok() {
        let mut asking = Box::pin(sender.send_request(ask()));
        tokio::select! {
            _ = &mut asking => break,
            () = began.notified() => taken_back += 1,
        }
        assert!(taken_back < 10_000, "nothing bounds it");
    }
    server.await.unwrap();
    assert!(taken_back > 100, "{taken_back}");
}
