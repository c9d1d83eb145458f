//! What this process is called, in the registry and by the system.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::system::uname;

use super::TlsListener;
use crate::clock::Wall;
use crate::registry::replicas::About;

/// What other replicas are told of this one.
pub(super) fn about(plain: Option<&Vec<TcpListener>>, with_tls: &[TlsListener]) -> About {
    let plain = plain.into_iter().flatten().filter_map(|listener| listener.local_addr().ok());
    let with_tls = with_tls.iter().filter_map(|(listener, _)| listener.local_addr().ok());
    let addresses = plain.chain(with_tls);
    About {
        host: uname().nodename().to_string_lossy().into_owned(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        since_unix_ms: Wall::system().now().0,
        listen: addresses.map(|address| address.to_string()).collect(),
    }
}

/// Where this process listens: nothing is dialled there.
pub(super) fn own_addresses(
    admin: &tokio::net::TcpListener,
    plain: &[Vec<TcpListener>],
    with_tls: &[TlsListener],
) -> Vec<SocketAddr> {
    // Each front thread listens at the same addresses.
    let plain = plain.first().into_iter().flatten().map(TcpListener::local_addr);
    let with_tls = with_tls.iter().map(|(listener, _)| listener.local_addr());
    plain.chain(with_tls).chain([admin.local_addr()]).filter_map(Result::ok).collect()
}

/// Names for the threads of the handshake plane's runtime: the first are its workers, which stay; those
/// that block come and go.
pub(super) fn thread_names(workers: usize) -> impl Fn() -> String + Send + Sync + 'static {
    let next = AtomicUsize::new(0);
    move || match next.fetch_add(1, Ordering::Relaxed) {
        number if number < workers => format!("handshakes-{number}"),
        _ => "blocking".to_owned(),
    }
}
