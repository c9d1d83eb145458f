use std::net::TcpStream;

use rustix::io::Errno;

use super::*;

#[test]
fn threads_share_an_address_and_others_do_not() {
    let listeners = bind(([127, 0, 0, 1], 0).into(), 3).unwrap();
    let address = listeners[0].local_addr().unwrap();
    assert_eq!(listeners.len(), 3);
    for listener in &listeners {
        assert_eq!(listener.local_addr().unwrap(), address);
    }
    let taken = bind(address, 3).unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AddrInUse, "another program listens there");
    drop(listeners);
    let again = bind(address, 1).unwrap();
    let _client = TcpStream::connect(address).unwrap();
    again[0].set_nonblocking(false).unwrap();
    let (socket, _) = again[0].accept().unwrap();
    assert!(socket.nodelay().unwrap(), "it is the listener's");
}

/// Whoever lists both means both, as operators of two families do.
#[tokio::test]
async fn both_families_are_listened_on_at_one_port() {
    let v4 = bind(([0, 0, 0, 0], 0).into(), 1).unwrap();
    let port = v4[0].local_addr().unwrap().port();
    let there = SocketAddr::from(([0_u16; 8], port));
    for bound in [bind(there, 1).map(drop), crate::accept::bind(there).map(drop)] {
        match bound {
            // A system without IPv6.
            Err(error) if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) => return,
            bound => bound.unwrap(),
        }
    }
}
