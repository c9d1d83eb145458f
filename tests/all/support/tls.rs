//! Certificates made for a test, and both ends of TLS by rustls.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion,
};
use tempfile::TempDir;

use super::PATIENCE;
use super::websocket::{WebSocket, handshake, read_head};

pub type ClientStream = StreamOwned<ClientConnection, TcpStream>;
pub type ServerStream = StreamOwned<ServerConnection, TcpStream>;

/// Two files of a certificate.
#[derive(Clone, Debug)]
pub struct Files {
    pub chain: PathBuf,
    pub key: PathBuf,
}

impl Files {
    /// As the setting has it.
    pub fn pair(&self) -> String {
        format!("{}:{}", self.chain.display(), self.key.display())
    }
}

/// Somebody who signs certificates, and the folder in which they lie.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // By another name than any other's, else a certificate would seem to be forged.
        static COUNT: AtomicUsize = AtomicUsize::new(1);
        let name = format!("authority {}", COUNT.fetch_add(1, Ordering::SeqCst));
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Its own certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub fn issue(&self, file: &str, names: &[&str]) -> Files {
        self.issue_until(file, names, 2099)
    }

    /// The certificate ends with the year before `year`.
    pub fn issue_until(&self, file: &str, names: &[&str], year: i32) -> Files {
        self.sign(file, names, |params| params.not_after = date_time_ymd(year, 1, 1))
    }

    /// The certificate ends so many seconds from now.
    pub fn issue_for(&self, file: &str, names: &[&str], seconds: u64) -> Files {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let end = date_time_ymd(1970, 1, 1) + since_1970 + Duration::from_secs(seconds);
        self.sign(file, names, |params| params.not_after = end)
    }

    fn sign(
        &self,
        file: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Files {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = Files {
            chain: self.folder.path().join(format!("{file}.pem")),
            key: self.folder.path().join(format!("{file}.key")),
        };
        std::fs::write(&files.chain, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o600)).unwrap();
        files
    }

    /// What a client needs to trust it.
    pub fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

/// Does a handshake, asking for `name`.
pub fn connect(config: &Arc<ClientConfig>, address: SocketAddr, name: &str) -> ClientStream {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut session = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut socket).unwrap();
    }
    StreamOwned::new(session, socket)
}

/// Opens `path` on the bare host by TLS; it must be accepted.
pub fn open(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
    path: &str,
    headers: &str,
) -> WebSocket<ClientStream> {
    let stream = connect(config, address, "localhost");
    let websocket = WebSocket::ask(stream, handshake(path, "localhost", headers));
    assert!(websocket.head.starts_with("HTTP/1.1 101"), "{}", websocket.head);
    websocket
}

/// A runtime that speaks TLS and does as it is told. A handshake that fails is over with that.
pub struct TlsRuntime {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl TlsRuntime {
    pub fn start(
        files: &Files,
        conduct: impl Fn(WebSocket<ServerStream>) + Send + Sync + 'static,
    ) -> Self {
        let chain = CertificateDer::pem_file_iter(&files.chain).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                chain.map(Result::unwrap).collect(),
                PrivateKeyDer::from_pem_file(&files.key).unwrap(),
            )
            .unwrap();
        let (config, conduct) = (Arc::new(config), Arc::new(conduct));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            for mut socket in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (config, conduct) = (Arc::clone(&config), Arc::clone(&conduct));
                std::thread::spawn(move || {
                    socket.set_read_timeout(Some(PATIENCE)).unwrap();
                    let mut session = ServerConnection::new(config).unwrap();
                    while session.is_handshaking() {
                        if session.complete_io(&mut socket).is_err() {
                            return;
                        }
                    }
                    let mut stream = StreamOwned::new(session, socket);
                    let head = read_head(&mut stream);
                    conduct(WebSocket { socket: stream, head });
                });
            }
        });
        Self { address, stop }
    }
}

impl Drop for TlsRuntime {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}
