//! Whether a runtime answers.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::own_network::Network;

/// How long an answer is waited for, each time.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Whether something that speaks HTTP answers there, whatever it says.
pub(super) async fn answers(address: SocketAddr, network: Option<&Network>, path: &str) -> bool {
    matches!(timeout(ANSWER_MAX, ask(address, network, path)).await, Ok(Ok(true)))
}

async fn ask(address: SocketAddr, network: Option<&Network>, path: &str) -> io::Result<bool> {
    const BEGINNING: &[u8] = b"HTTP/1.";
    let socket = match network {
        Some(network) => {
            TcpSocket::from_std_stream(network.socket(&address)?).connect(address).await?
        }
        None => TcpStream::connect(address).await?,
    };
    let request = format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    socket.writable().await?;
    // A new socket has room for that.
    let written = socket.try_write(request.as_bytes())?;
    let mut read = [0; BEGINNING.len()];
    let mut length = 0;
    while written == request.len() && length < read.len() {
        socket.readable().await?;
        match socket.try_read(&mut read[length..]) {
            Ok(0) => return Ok(false),
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read == BEGINNING)
}
