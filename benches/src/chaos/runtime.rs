//! The runtime behind flowgate: says who it is and whom flowgate has named, then echoes.

use std::net::SocketAddr;

use flowgate_bench::fault::{During, Result};
use flowgate_bench::websocket::{BINARY, CLOSE, PING, PONG, accept, header_value};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::frames::{Broken, Reader, send};

/// What a runtime answers to a request, and says first on a connection.
pub fn greeting(runtime: &str, username: &str) -> String {
    format!("{runtime} for {username}")
}

/// Serves until the process is ended.
pub async fn serve(listen: SocketAddr, name: String) -> Result<()> {
    let listener = TcpListener::bind(listen).await.during("listening")?;
    serve_on(&listener, &name).await;
    Ok(())
}

/// The same on a socket that listens already.
pub async fn serve_on(listener: &TcpListener, name: &str) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let name = name.to_owned();
        // Whoever breaks off is no concern of the others.
        tokio::spawn(async move { converse(stream, &name).await });
    }
}

async fn converse(stream: TcpStream, name: &str) -> std::result::Result<(), Broken> {
    let torn = |error: std::io::Error| Broken::Torn(error.to_string());
    stream.set_nodelay(true).map_err(torn)?;
    let (from, mut to) = stream.into_split();
    let mut reader = Reader::new(from);
    loop {
        let head = reader.head().await?;
        let username = header_value(&head, "x-auth-user").unwrap_or_default();
        let greeting = greeting(name, username);
        if let Some(key) = header_value(&head, "sec-websocket-key") {
            to.write_all(switching(key).as_bytes()).await.map_err(torn)?;
            send(&mut to, BINARY, greeting.as_bytes()).await.map_err(torn)?;
            break;
        }
        let answer =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{greeting}", greeting.len());
        to.write_all(answer.as_bytes()).await.map_err(torn)?;
    }
    loop {
        let frame = reader.frame().await?;
        let opcode = if frame.opcode() == PING { PONG } else { frame.opcode() };
        send(&mut to, opcode, &frame.payload).await.map_err(torn)?;
        if opcode == CLOSE {
            return Ok(());
        }
    }
}

fn switching(key: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept(key)
    )
}
