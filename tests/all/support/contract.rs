//! The one suite of tests that every provider of runtimes passes.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};

use flowgate::runtimes::contract::{Condition, Order, RunningRuntime, RuntimeProvider};
use flowgate::runtimes::place::Place;
use tokio::task::block_in_place;

use super::wait_until;

/// Whose the runtime's life is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// flowgate's: it does not run before, and not afterwards.
    OfFlowgate,
    /// Somebody else's: it runs before, during and afterwards.
    OfOthers,
}

fn dial(place: &Place) -> std::io::Result<TcpStream> {
    let port = place.port;
    let Some((network, _)) = &place.network else {
        return TcpStream::connect((place.host.as_str(), port).to_socket_addrs()?.next().unwrap());
    };
    let host: IpAddr = place.host.parse().unwrap();
    let socket = network.dial(&SocketAddr::new(host, port))?;
    // What is written waits for the connection then.
    socket.set_nonblocking(false)?;
    Ok(socket)
}

/// Whether flows answer there.
pub fn answers(place: &Place) -> bool {
    let request = "GET /api/public/hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let ask = || {
        let mut socket = dial(place)?;
        socket.write_all(request.as_bytes())?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).map(|_| answer)
    };
    ask().is_ok_and(|answer: String| answer.starts_with("HTTP/1.1 200"))
}

/// The suite: start, address when ready, state, log tail, stop, and all of it again. Called on a runtime
/// of many threads, with the lowest fence that is given.
pub async fn keeps_the_contract<P: RuntimeProvider>(provider: &P, order: &Order, life: Life) {
    let is_ours = life == Life::OfFlowgate;
    let rest = if is_ours { Condition::Down } else { Condition::Answers };
    assert_eq!(provider.condition(order).await, rest, "before anything was asked");
    assert!(provider.log_tail(order).await.is_empty());
    for _ in 0..2 {
        let mut running = provider.start(order).await.unwrap();
        let place = running.place();
        assert!(block_in_place(|| answers(&place)), "ready means that it answers");
        assert_eq!(provider.condition(order).await, Condition::Answers);
        assert_eq!(!running.log_tail().await.is_empty(), is_ours, "the log is its owner's");
        if is_ours {
            let (tail, known) = (running.log_tail().await, provider.log_tail(order).await);
            assert!(known.ends_with(&tail), "{known:?} {tail:?}");
        }
        tokio::select! {
            biased;
            ended = running.ended() => panic!("{ended}"),
            () = std::future::ready(()) => {}
        }
        running.stop().await;
        assert_eq!(provider.condition(order).await, rest, "when stop returns");
        assert_eq!(block_in_place(|| answers(&place)), !is_ours);
        assert_eq!(!provider.log_tail(order).await.is_empty(), is_ours, "what it wrote is kept");
    }
    let left = provider.start(order).await.unwrap();
    let place = left.place();
    left.leave().await;
    let runs = provider.left_running().await.contains(&order.tenant);
    let answers_still = block_in_place(|| answers(&place));
    assert_eq!(answers_still, runs || !is_ours, "what is left runs, or is said to");
    // Somebody may own it again.
    let again = provider.start(order).await.unwrap();
    let place = again.place();
    assert!(block_in_place(|| answers(&place)));
    again.stop().await;
    if is_ours {
        wait_until("it ends", || !answers(&place));
        assert!(!provider.left_running().await.contains(&order.tenant));
    }
}
