//! For how long a connection is kept without a request, for how many, and how dead peers are found.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt::{
    set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl,
};

/// How long a client's connection is kept for plain requests.
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    /// Without a request, after the first.
    pub idle_max: Duration,
    /// After so many it is closed; `None` for no limit.
    pub requests_max: Option<u32>,
}

impl KeepAlive {
    /// Whether none may follow, with this many so far.
    #[must_use]
    pub fn ends_with(&self, requests: u32) -> bool {
        self.requests_max.is_some_and(|max| requests >= max)
    }
}

/// TCP's own questions to a silent peer (RFC 9293 section 3.8.4). They find peers that vanished without
/// a word, in four questions' time; on an idle connection nothing else would.
#[derive(Clone, Copy, Debug, Default)]
pub struct Probes(Option<Duration>);

impl Probes {
    /// None at all.
    pub const NONE: Self = Self(None);
    /// Unanswered ones after which the peer is gone.
    const COUNT: u32 = 4;
    /// The shortest and the longest silence that systems know (Linux: 32767 s).
    pub const SILENCE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(9 * 60 * 60)];

    /// Once a peer was silent for so long; never if that is zero.
    #[must_use]
    pub fn after(silence: Duration) -> Self {
        Self((!silence.is_zero()).then_some(silence))
    }

    /// Has them sent on this socket; on a listener, on each that it accepts.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn watch(self, socket: impl AsFd) -> io::Result<()> {
        let Some(silence) = self.0 else { return Ok(()) };
        set_tcp_keepidle(&socket, silence)?;
        set_tcp_keepintvl(&socket, (silence / Self::COUNT).max(Duration::from_secs(1)))?;
        set_tcp_keepcnt(&socket, Self::COUNT)?;
        set_socket_keepalive(&socket, true)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use rustix::net::sockopt::{socket_keepalive, tcp_keepcnt, tcp_keepidle, tcp_keepintvl};

    use super::*;

    #[test]
    fn the_last_request_is_the_one_that_reaches_the_limit() {
        let keep_alive = KeepAlive { idle_max: Duration::ZERO, requests_max: Some(3) };
        assert_eq!(
            [1, 2, 3, 4].map(|count| keep_alive.ends_with(count)),
            [false, false, true, true]
        );
        let unlimited = KeepAlive { requests_max: None, ..keep_alive };
        assert!(!unlimited.ends_with(u32::MAX));
    }

    #[test]
    fn what_a_listener_accepts_is_asked_as_the_listener_says() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let accept = || {
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            listener.accept().unwrap().0
        };
        Probes::after(Duration::ZERO).watch(&listener).unwrap();
        assert!(!socket_keepalive(accept()).unwrap());
        for (silence, interval) in [(60, 15), (2, 1), (1, 1)] {
            Probes::after(Duration::from_secs(silence)).watch(&listener).unwrap();
            let socket = accept();
            assert!(socket_keepalive(&socket).unwrap());
            assert_eq!(tcp_keepidle(&socket).unwrap(), Duration::from_secs(silence));
            assert_eq!(tcp_keepintvl(&socket).unwrap(), Duration::from_secs(interval));
            assert_eq!(tcp_keepcnt(&socket).unwrap(), 4);
        }
        for silence in Probes::SILENCE {
            Probes::after(silence).watch(&listener).unwrap();
        }
    }
}
