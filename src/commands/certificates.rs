//! The certificates of all listeners: loaded before anything listens, and kept fresh, as are the
//! operators' tokens.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;

use super::{EXIT_CONFIG, Failure};
use crate::admin::tokens::TokensInUse;
use crate::clock::Wall;
use crate::config::Settings;
use crate::tls::certificates::{CertificateFiles, Certificates, LOOK_EVERY};
use crate::tls::runtimes::authorities;
use crate::tls::server::{Acceptor, Asks};

/// What listeners present, by plane; none for a plane that speaks no TLS.
pub(super) struct InUse {
    data: Option<Arc<Certificates>>,
    admin: Option<Arc<Certificates>>,
    http_2: bool,
    /// Whose certificates operators' clients have to have.
    admin_client_authorities: Option<RootCertStore>,
}

impl InUse {
    /// Reads and checks them, and logs their names and ends.
    pub(super) fn load(settings: &Settings) -> Result<Self, Failure> {
        let load = |files: &[CertificateFiles]| match files {
            [] => Ok(None),
            files => match Certificates::load(files.to_vec(), Wall::system()) {
                Ok(certificates) => Ok(Some(Arc::new(certificates))),
                Err(fault) => Err(Failure { exit_code: EXIT_CONFIG, message: fault.to_string() }),
            },
        };
        let data = load(&settings.tls_certificates)?;
        if data.is_none() && !settings.tls_listen.is_empty() {
            let message = "tls_listen: needs tls_certificates".to_owned();
            return Err(Failure { exit_code: EXIT_CONFIG, message });
        }
        let admin = load(&settings.admin_tls_certificates)?;
        let admin_client_authorities = match &settings.admin_client_ca_file {
            // Otherwise nobody would be asked for one.
            Some(_) if admin.is_none() => {
                let message = "admin_client_ca_file: needs admin_tls_certificates".to_owned();
                return Err(Failure { exit_code: EXIT_CONFIG, message });
            }
            Some(path) => Some(read_authorities(path)?),
            None => None,
        };
        Ok(Self { data, admin, http_2: settings.http_2, admin_client_authorities })
    }

    /// The acceptors of the planes that speak TLS: for data, for operators.
    pub(super) fn acceptors(&self) -> Result<[Option<Acceptor>; 2], Failure> {
        let acceptor = |certificates: &Option<Arc<Certificates>>, asks: Asks| {
            let made = certificates.clone().map(|them| Acceptor::new(them, asks)).transpose();
            made.map_err(|error| Failure::runtime(format!("cannot speak TLS: {error}")))
        };
        let client_authorities = self.admin_client_authorities.clone();
        Ok([
            acceptor(&self.data, Asks { http_2: self.http_2, ..Asks::default() })?,
            acceptor(&self.admin, Asks { http_2: false, client_authorities })?,
        ])
    }

    /// Reads them again when their files change, or on SIGHUP whether they have or not; the tokens,
    /// too. Without any file there is nothing to do, and SIGHUP keeps its usual effect.
    pub(super) async fn keep_fresh(self, tokens: Arc<TokensInUse>) {
        let all: Vec<_> = self.data.into_iter().chain(self.admin).collect();
        if all.is_empty() && !tokens.may_change() {
            return;
        }
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(error) => {
                return tracing::error!(%error, "certificates and tokens are not kept fresh");
            }
        };
        let mut tick = tokio::time::interval(LOOK_EVERY);
        loop {
            let is_asked = tokio::select! {
                _ = tick.tick() => false,
                _ = hangup.recv() => true,
            };
            let (all, tokens) = (all.clone(), Arc::clone(&tokens));
            let read = spawn_blocking(move || match is_asked {
                true => {
                    all.iter().for_each(|certificates| certificates.reload());
                    tokens.reload();
                }
                false => {
                    all.iter().for_each(|certificates| certificates.look());
                    tokens.look();
                }
            });
            if let Err(error) = read.await {
                tracing::error!(%error, "certificates and tokens not looked at");
            }
        }
    }
}

fn read_authorities(path: &Path) -> Result<RootCertStore, Failure> {
    let read = std::fs::read_to_string(path).map_err(|error| error.to_string());
    read.and_then(|pem| authorities(&pem)).map_err(|what| Failure {
        exit_code: EXIT_CONFIG,
        message: format!("admin_client_ca_file: {}: {what}", path.display()),
    })
}
