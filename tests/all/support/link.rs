//! A network cable to pull: relays TCP until it is told not to.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const WHOLE: u8 = 0;
/// What is sent vanishes without a word.
const SILENT: u8 = 1;
/// Connections are reset, and new ones as well.
const CUT: u8 = 2;

/// Listens until it is dropped.
pub struct Link {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: AtomicU8,
    is_over: AtomicBool,
    sockets: Mutex<Vec<TcpStream>>,
}

impl Link {
    /// A link to `target`.
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            state: AtomicU8::new(WHOLE),
            is_over: AtomicBool::new(false),
            sockets: Mutex::default(),
        });
        let at_work = Arc::clone(&shared);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if at_work.is_over.load(Ordering::SeqCst) {
                    return;
                }
                if at_work.state.load(Ordering::SeqCst) == CUT {
                    continue;
                }
                let Ok(far) = TcpStream::connect(target) else { continue };
                join(&at_work, &near, &far);
                join(&at_work, &far, &near);
            }
        });
        Self { address, shared }
    }

    /// Everything that is sent from now on is lost, and nobody is told.
    pub fn silence(&self) {
        self.shared.state.store(SILENT, Ordering::SeqCst);
    }

    /// Ends all connections and refuses new ones.
    pub fn cut(&self) {
        self.shared.state.store(CUT, Ordering::SeqCst);
        self.end_all();
    }

    /// Works again. What was lost stays lost, so connections of before end.
    pub fn heal(&self) {
        self.end_all();
        self.shared.state.store(WHOLE, Ordering::SeqCst);
    }

    fn end_all(&self) {
        for socket in self.shared.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.end_all();
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

/// Carries one direction on a thread of its own.
fn join(shared: &Arc<Shared>, from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    shared.sockets.lock().unwrap().push(from.try_clone().unwrap());
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        let mut bytes = [0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut bytes) {
            if shared.state.load(Ordering::SeqCst) == WHOLE
                && to.write_all(&bytes[..length]).is_err()
            {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
