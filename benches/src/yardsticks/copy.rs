//! The obvious proxy: a tokio task per connection that runs `copy_bidirectional`.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};

use crate::fault::{During, Result};
use crate::websocket::READ_BYTES_MAX;

/// Serves in this thread until the process is ended.
pub fn serve(listen: SocketAddr, to: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await.during("listening")?;
        loop {
            let (client, _) = listener.accept().await.during("accepting")?;
            tokio::spawn(relay(client, to));
        }
    })
}

/// Whatever ends the one connection is of no interest to the others.
async fn relay(mut client: TcpStream, to: SocketAddr) {
    let Ok(mut runtime) = TcpStream::connect(to).await else { return };
    if client.set_nodelay(true).and(runtime.set_nodelay(true)).is_ok() {
        let _ = copy_bidirectional_with_sizes(
            &mut client,
            &mut runtime,
            READ_BYTES_MAX,
            READ_BYTES_MAX,
        )
        .await;
    }
}
