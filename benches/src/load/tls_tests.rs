//! The generator by TLS, through a proxy that is nothing but tokio-rustls.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::churn::Churn;
use super::fleet::{Fleet, Traffic};
use super::tests::{drive, requests, start};
use super::{Entrance, Load, PATIENCE};
use crate::echo;
use crate::tls::{Certificate, Handshakes, Speech};
use crate::websocket::{Message, handshake};

struct Files {
    folder: PathBuf,
    certificate: Certificate,
}

impl Files {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("bench-{name}-{}", std::process::id()));
        let certificate = Certificate::make(&folder).unwrap();
        Self { folder, certificate }
    }

    fn entrance(&self, address: SocketAddr, handshakes: Handshakes) -> Entrance {
        let tls = Some(Speech::with(&self.certificate.chain, handshakes).unwrap());
        Entrance { address, tls }
    }

    /// A proxy with this certificate before a runtime.
    fn serve(&self, knows_tickets: bool) -> SocketAddr {
        let chain = CertificateDer::from_pem_file(&self.certificate.chain).unwrap();
        let key = PrivateKeyDer::from_pem_file(&self.certificate.key).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .unwrap();
        match knows_tickets {
            true => config.ticketer = Ticketer::new().unwrap(),
            false => config.session_storage = Arc::new(NoServerSessionStorage {}),
        }
        let runtime = start(echo::serve);
        start(move |listen| {
            let threads = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
            threads.block_on(relay(listen, runtime, TlsAcceptor::from(Arc::new(config))))
        })
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn relay(listen: SocketAddr, to: SocketAddr, tls: TlsAcceptor) -> crate::fault::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (client, _) = listener.accept().await?;
        let tls = tls.clone();
        tokio::spawn(async move {
            let Ok(mut client) = tls.accept(client).await else { return };
            let mut runtime = TcpStream::connect(to).await.unwrap();
            let _ = copy_bidirectional(&mut client, &mut runtime).await;
        });
    }
}

#[test]
fn every_message_comes_back_by_tls() {
    let files = Files::new("messages");
    let entrance = files.entrance(files.serve(true), Handshakes::Full);
    let mut fleet = Fleet::open(entrance, requests(20)).unwrap();
    for (bytes, in_flight) in [(0, 1), (64, 50), (4096, 3), (1 << 20, 2)] {
        let message = Rc::new(Message::new(bytes, in_flight));
        fleet.begin(Traffic { message, in_flight, active: 20, per_second: None }).unwrap();
        assert!(drive(&mut fleet).latency.quantile_us(0.5).is_some());
        fleet.finish().unwrap();
    }
}

fn churn(entrance: Entrance) -> Churn {
    let next = |request: &mut Vec<u8>| request.extend(handshake("bench.test", "/data", ""));
    Churn::begin(entrance, 8, Box::new(next)).unwrap()
}

/// More than one of each client, so that some could have been resumed.
const OPERATIONS: u64 = 100;

#[test]
fn handshakes_are_full_or_resumed_as_is_wanted() {
    let files = Files::new("handshakes");
    let address = files.serve(true);
    for handshakes in [Handshakes::Full, Handshakes::Resumed] {
        let mut churn = churn(files.entrance(address, handshakes));
        let mut operations = 0;
        while operations < OPERATIONS {
            operations += drive(&mut churn).operations;
        }
    }
}

#[test]
fn a_session_that_is_not_resumed_is_noticed() {
    let files = Files::new("tickets");
    let mut churn = churn(files.entrance(files.serve(false), Handshakes::Resumed));
    let outcome = churn.drive(PATIENCE).err().unwrap();
    assert_eq!(outcome.0, "a TLS session was not resumed");
}

#[test]
fn another_certificate_is_noticed() {
    let (files, others) = (Files::new("ours"), Files::new("theirs"));
    let entrance = files.entrance(others.serve(true), Handshakes::Full);
    let outcome = Fleet::open(entrance, requests(1)).err().unwrap();
    assert!(outcome.0.contains("another certificate than ours"), "{}", outcome.0);
}
