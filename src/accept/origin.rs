//! Reads the header by which a load balancer says whose connection it passes on, and not a byte more:
//! what follows may be TLS's.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::proxy_protocol::{Found, HEADER_BYTES_MAX, parse};

/// Who has opened the connection; `None` if that is not said. Bounded by nothing but the peer: give it
/// a deadline.
pub(super) async fn read(socket: &TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut bytes = [0; HEADER_BYTES_MAX];
    let mut end = 0;
    loop {
        let seen = socket.peek(&mut bytes[end..]).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let found = parse(&bytes[..end + seen]);
        let taken = match found {
            // All of it belongs to the header. Left where it is, it would be seen again at once.
            Found::Part => seen,
            Found::Header { length, .. } => length.saturating_sub(end),
            Found::Bad(why) => return Err(io::Error::new(io::ErrorKind::InvalidData, why)),
        };
        take(socket, &mut bytes[end..end + taken]).await?;
        end += taken;
        if let Found::Header { source, .. } = found {
            return Ok(source);
        }
    }
}

/// Takes what was seen to be there.
async fn take(socket: &TcpStream, mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        socket.readable().await?;
        match socket.try_read(bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => bytes = &mut bytes[read..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn both_ends() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        (client.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn what_is_behind_the_header_stays_in_the_socket() {
        const HEADER: &[u8] = b"PROXY TCP6 2001:db8::7 2001:db8::1 9 443\r\n";
        for cut in [0, 1, 7, 20, HEADER.len() - 1, HEADER.len()] {
            let (mut client, mut server) = both_ends().await;
            client.set_nodelay(true).unwrap();
            let write = async {
                client.write_all(&HEADER[..cut]).await.unwrap();
                // The other side may have taken the first part by now, or not.
                tokio::task::yield_now().await;
                client.write_all(&[&HEADER[cut..], b"\x16\x03\x01"].concat()).await.unwrap();
            };
            let (source, ()) = tokio::join!(read(&server), write);
            assert_eq!(source.unwrap(), Some("[2001:db8::7]:9".parse().unwrap()), "{cut}");
            let mut behind = [0; 3];
            server.read_exact(&mut behind).await.unwrap();
            assert_eq!(&behind, b"\x16\x03\x01");
        }
    }

    #[tokio::test]
    async fn an_end_within_the_header_and_another_beginning_fail() {
        for (bytes, kind) in [
            (&b"PROXY TCP4"[..], io::ErrorKind::UnexpectedEof),
            (b"", io::ErrorKind::UnexpectedEof),
            (b"\x16\x03\x01", io::ErrorKind::InvalidData),
        ] {
            let (mut client, server) = both_ends().await;
            client.write_all(bytes).await.unwrap();
            drop(client);
            assert_eq!(read(&server).await.unwrap_err().kind(), kind);
        }
    }
}
