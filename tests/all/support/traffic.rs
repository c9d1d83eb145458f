//! Live connections that talk all the time and notice every message that is lost, doubled or changed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use super::runtime::text_from_client;
use super::wait_until;
use super::websocket::WebSocket;

/// Some connections to an echoing runtime, each with one message on its way.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    echoed: Vec<Arc<AtomicU64>>,
    talkers: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Begins to talk over each of these handshakes' connections.
    pub fn start(handshakes: &[(SocketAddr, &str, String)]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut traffic = Self { stop, echoed: Vec::new(), talkers: Vec::new() };
        for (address, path, headers) in handshakes {
            let mut websocket = WebSocket::connect(*address, path, headers);
            let echoed = Arc::new(AtomicU64::new(0));
            let (stop, count) = (Arc::clone(&traffic.stop), Arc::clone(&echoed));
            traffic.echoed.push(echoed);
            traffic.talkers.push(std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let message = format!("message {}", count.load(Ordering::SeqCst));
                    websocket.send(&text_from_client(&message));
                    assert_eq!(websocket.receive_text(), message);
                    count.fetch_add(1, Ordering::SeqCst);
                }
            }));
        }
        traffic.goes_on("at the beginning");
        traffic
    }

    /// Waits until each connection has brought some more messages.
    pub fn goes_on(&self, when: &str) {
        const MORE: u64 = 20;
        let counts = || self.echoed.iter().map(|count| count.load(Ordering::SeqCst));
        let before: Vec<u64> = counts().collect();
        wait_until(&format!("messages are echoed {when}"), || {
            assert!(!self.talkers.iter().any(JoinHandle::is_finished), "a talker failed {when}");
            counts().zip(&before).all(|(now, before)| now >= before + MORE)
        });
    }

    /// Ends; every message must have come back as it was.
    pub fn finish(mut self) {
        self.goes_on("until the end");
        self.stop.store(true, Ordering::SeqCst);
        for talker in self.talkers.drain(..) {
            talker.join().expect("nothing is lost");
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}
