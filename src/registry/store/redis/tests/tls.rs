//! TLS, with an authority and certificates of the tests' own.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = named("authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// OpenSSL takes a certificate for self-signed whose subject is its issuer.
fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A certificate and its key, as files.
fn certify(authority: &Authority, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let key = KeyPair::generate().unwrap();
    let certificate = named(name).signed_by(&key, authority).unwrap();
    let files = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
    std::fs::write(&files.0, certificate.pem()).unwrap();
    std::fs::write(&files.1, key.serialize_pem()).unwrap();
    files
}

async fn refusal(url: &str, options: &Options) -> String {
    let error = Store::open_with(url, options).await.unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

#[tokio::test]
async fn both_sides_show_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority();
    let ca_file = folder.path().join("ca.crt");
    std::fs::write(&ca_file, authority.pem()).unwrap();
    let (certificate, key) = certify(&authority, folder.path(), "localhost");
    let (client_certificate, client_key) = certify(&authority, folder.path(), "client");
    let port = testing::free_port();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let tls_port = port.to_string();
    let server = Server::start(&[
        "--tls-port",
        &tls_port,
        "--tls-cert-file",
        &text(&certificate),
        "--tls-key-file",
        &text(&key),
        "--tls-ca-cert-file",
        &text(&ca_file),
        "--tls-auth-clients",
        "yes",
    ]);
    let url = format!("rediss://localhost:{port}");
    let ours = Options {
        ca_file: Some(ca_file.clone()),
        client_cert_file: Some(client_certificate.clone()),
        client_key_file: Some(client_key.clone()),
        ..testing::options()
    };
    let store = Store::open_with(&url, &ours).await.unwrap();
    store.write(vec![put("1", "text")]).await.unwrap();
    assert_eq!(body(&store, "1").await.unwrap(), "text");
    assert_eq!(open(&server.socket_url()).await.id(), store.id());

    let line = refusal(&url, &Options { ca_file: None, ..ours.clone() }).await;
    assert!(line.contains("TLS: ") && line.contains("UnknownIssuer"), "{line}");
    let by_address = format!("rediss://127.0.0.1:{port}");
    let line = refusal(&by_address, &ours).await;
    assert!(line.contains("not valid for name"), "{line}");
    let nobody = Options { client_cert_file: None, client_key_file: None, ..ours.clone() };
    refusal(&url, &nobody).await;
    for wrong in [
        Options { client_key_file: None, ..ours.clone() },
        Options { client_key_file: Some(client_certificate), ..ours.clone() },
        Options { ca_file: Some(client_key), ..ours.clone() },
        Options { ca_file: Some(folder.path().join("nothing")), ..ours.clone() },
    ] {
        let error = Store::open_with(&url, &wrong).await.unwrap_err();
        assert!(matches!(error, StoreError::Invalid(_)), "{error:?}");
    }
    // Plain text is not for a port that speaks TLS.
    let plain = format!("redis://localhost:{port}");
    let quick = Options { command_timeout: Duration::from_secs(3), ..testing::options() };
    refusal(&plain, &quick).await;
}
