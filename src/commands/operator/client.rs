//! The admin API's client: one request, one connection.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HOST, IF_MATCH, IF_NONE_MATCH};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::usage;
use crate::commands::Failure;
use crate::config::Settings;
use crate::secret::{self, Secret};
use crate::tls::Stream;
use crate::tls::certificates::CertificateFiles;
use crate::tls::operators::{ToServer, told};

/// The server cannot be reached, as in sysexits.h.
const EXIT_UNAVAILABLE: u8 = 69;
/// The token is missing or may not do this, as in sysexits.h.
pub const EXIT_NO_PERMISSION: u8 = 77;
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// An import hashes passwords.
const ANSWER_MAX: Duration = Duration::from_secs(300);
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What may stand in a segment or a value as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A server's admin API.
#[derive(Debug)]
pub struct Client {
    host: String,
    address: String,
    /// How TLS is spoken, where it is.
    tls: Option<ToServer>,
    /// Sent with each request, where there is one.
    token: Option<Secret>,
    runtime: tokio::runtime::Runtime,
}

/// The files that arguments name.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// Whose word for the server's certificate counts.
    pub ca: Option<&'a Path>,
    /// What is shown to the server, as `CERT:KEY`.
    pub certificate: Option<&'a str>,
    /// The admin token.
    pub token: Option<&'a Path>,
}

/// What a request expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expecting<'a> {
    /// Nothing.
    Anything,
    /// That there is none yet.
    Absent,
    /// This revision.
    Tag(&'a str),
}

/// What came back.
#[derive(Debug)]
pub struct Came {
    /// The revision's tag.
    pub tag: Option<String>,
    /// The answer.
    pub body: Value,
}

/// A text as a path's segment or a query's value.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

impl Client {
    /// The client that arguments, environment and settings name.
    ///
    /// # Errors
    /// No URL that can be used, no authorities in their file, or no token.
    pub fn new(settings: &Settings, url: Option<&str>, files: Files<'_>) -> Result<Self, Failure> {
        let token = match files.token {
            Some(path) => read_token(path).map_err(usage)?,
            None => settings.client.token.clone().ok_or_else(|| Failure {
                exit_code: EXIT_NO_PERMISSION,
                message: "an admin token is needed: FLOWGATE_ADMIN_TOKEN or --token-file"
                    .to_owned(),
            })?,
        };
        Ok(Self { token: Some(token), ..Self::without_token(settings, url, files)? })
    }

    /// The same for what is told to everybody.
    ///
    /// # Errors
    /// No URL that can be used, or no authorities in their file.
    pub fn without_token(
        settings: &Settings,
        url: Option<&str>,
        Files { ca, certificate, token: _ }: Files<'_>,
    ) -> Result<Self, Failure> {
        let url = url.map(str::to_owned).or_else(|| settings.client.url.clone());
        let url = url.unwrap_or_else(|| own_url(settings));
        let uri: Uri = url.parse().map_err(|_| usage(format!("{url:?} is no URL")))?;
        let (host, default_port) = (uri.host().unwrap_or_default(), port_of(&uri));
        let has_user = uri.authority().is_some_and(|it| it.as_str().contains('@'));
        let (Some(default_port), "" | "/", None, false) =
            (default_port, uri.path(), uri.query(), has_user)
        else {
            return Err(usage(format!(
                "{url:?} must be like http://127.0.0.1:9180 or https://ops.example.org:9180"
            )));
        };
        let ca_file = ca.or(settings.client.ca_file.as_deref());
        let certificate = certificate.map(str::parse).transpose();
        let certificate = certificate.map_err(|why| usage(format!("--certificate: {why}")))?;
        let certificate = certificate.or_else(|| settings.client.certificate.clone());
        let tls = match uri.scheme_str() {
            Some("https") => Some(tls(host, ca_file, certificate.as_ref()).map_err(usage)?),
            _ => None,
        };
        Ok(Self {
            host: uri.authority().map(ToString::to_string).unwrap_or_default(),
            address: format!("{host}:{}", uri.port_u16().unwrap_or(default_port)),
            tls,
            token: None,
            runtime: crate::commands::import::runtime()?,
        })
    }

    /// The server, as it was named.
    pub fn server(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.host)
    }

    /// Waits for what is asked with [`Client::asked`].
    pub fn block_on<T>(&self, asking: impl Future<Output = T>) -> T {
        self.runtime.block_on(asking)
    }

    /// Asks, and fails with what a refusal says.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub fn ask(
        &self,
        method: Method,
        path: &str,
        expecting: Expecting<'_>,
        body: Option<&Value>,
    ) -> Result<Came, Failure> {
        self.block_on(self.asked(method, path, expecting, body))
    }

    /// The same for many at once. Cancel safe as far as this side goes: the server may have done it.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub async fn asked(
        &self,
        method: Method,
        path: &str,
        expecting: Expecting<'_>,
        body: Option<&Value>,
    ) -> Result<Came, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
            .header(ACCEPT, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        request = match expecting {
            Expecting::Anything => request,
            Expecting::Absent => request.header(IF_NONE_MATCH, "*"),
            Expecting::Tag(tag) => request.header(IF_MATCH, tag),
        };
        let body = match body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        let request = request.body(Full::new(body));
        let request = request.map_err(|error| Failure::runtime(error.to_string()))?;
        let (status, came) = self.answer(request, ANSWER_MAX).await?;
        match status {
            200..300 => Ok(came),
            _ => Err(refused(status, &came.body)),
        }
    }

    /// The status and the body of a plain GET, whatever the status is.
    ///
    /// # Errors
    /// The server cannot be reached, or does not answer in time.
    pub fn look(&self, path: &str, answer_max: Duration) -> Result<(u16, Value), Failure> {
        let request = Request::get(path).header(HOST, &self.host).body(Full::default());
        let request = request.map_err(|error| Failure::runtime(error.to_string()))?;
        let (status, came) = self.block_on(self.answer(request, answer_max))?;
        Ok((status, came.body))
    }

    async fn answer(
        &self,
        request: Request<Full<Bytes>>,
        answer_max: Duration,
    ) -> Result<(u16, Came), Failure> {
        let answer = timeout(answer_max, self.exchange(request)).await;
        let answer = answer.map_err(|_| self.unreachable("no answer in time"))?;
        answer.map_err(|why| self.unreachable(&why))
    }

    /// What it is to the user that the server does not answer.
    pub fn unreachable(&self, why: &str) -> Failure {
        let message = format!("cannot ask {}: {why}", self.server());
        Failure { exit_code: EXIT_UNAVAILABLE, message }
    }

    async fn connect(&self) -> Result<Stream, String> {
        let socket =
            TcpStream::connect(&self.address).await.map_err(|error| match error.kind() {
                std::io::ErrorKind::ConnectionRefused => {
                    "nobody listens there; --server names another place".to_owned()
                }
                _ => error.to_string(),
            })?;
        match &self.tls {
            Some(tls) => tls.connect(socket).await,
            None => Ok(Stream::Plain(socket)),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(u16, Came), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let stream = timeout(CONNECT_MAX, self.connect()).await;
        let stream = stream.map_err(|_| "no connection in time".to_owned())??;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| text(&error))?;
        let connection = tokio::spawn(connection);
        let is_plain = self.tls.is_none();
        let response = sender.send_request(request).await.map_err(|error| {
            // As a listener that waits for TLS answers what is none.
            let hint = match is_plain && (error.is_parse() || error.is_incomplete_message()) {
                true => "; if it speaks TLS, say https:// in place of http://",
                false => "",
            };
            match told(&error) {
                Some(told) => told.to_owned(),
                None => format!("{error}{hint}"),
            }
        })?;
        let status = response.status().as_u16();
        let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
        let tag = tag.map(str::to_owned);
        let kind = response.headers().get(CONTENT_TYPE);
        let is_csv = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/csv"));
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| text(&error))?.to_bytes();
        connection.abort();
        if is_csv {
            let body = Value::String(String::from_utf8_lossy(&body).into_owned());
            return Ok((status, Came { tag, body }));
        }
        let body = serde_json::from_slice(&body);
        let body = body.map_err(|_| "what answers there is no flowgate".to_owned())?;
        Ok((status, Came { tag, body }))
    }

    /// All members `name` of a list, page by page; at most `limit`, if there is one.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn list(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
        name: &str,
        limit: Option<usize>,
    ) -> Result<Vec<Value>, Failure> {
        self.pages(path, query, name, limit, |_| {})
    }

    /// The same; `see` is shown each page, with what it says beside its members.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn pages(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
        name: &str,
        limit: Option<usize>,
        mut see: impl FnMut(&Value),
    ) -> Result<Vec<Value>, Failure> {
        const PAGE: usize = 1000;
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let wanted = limit.map_or(PAGE, |limit| (limit - found.len()).min(PAGE));
            let mut asked = format!("{path}?limit={wanted}");
            let after_query = [("after", after.take())];
            for (name, value) in query.iter().chain(&after_query) {
                if let Some(value) = value {
                    asked = format!("{asked}&{name}={}", encoded(value));
                }
            }
            let mut page = self.ask(Method::GET, &asked, Expecting::Anything, None)?.body;
            see(&page);
            if let Some(some) = page[name].as_array_mut() {
                found.append(some);
            }
            match page["next"].as_str() {
                Some(next) if limit.is_none_or(|limit| found.len() < limit) => {
                    after = Some(next.to_owned());
                }
                _ => return Ok(found),
            }
        }
    }
}

fn refused(status: u16, body: &Value) -> Failure {
    let text = |name: &str| body[name].as_str().unwrap_or("?");
    Failure {
        exit_code: if matches!(status, 401 | 403 | 421) { EXIT_NO_PERMISSION } else { 1 },
        message: format!(
            "{status} {}: {} (request {})",
            text("code"),
            text("detail"),
            text("request_id")
        ),
    }
}

/// The operators' listener of a server on this machine with these settings.
fn own_url(settings: &Settings) -> String {
    let scheme = if settings.admin_tls_certificates.is_empty() { "http" } else { "https" };
    format!("{scheme}://{}", reachable(settings.admin_listen))
}

fn port_of(uri: &Uri) -> Option<u16> {
    match uri.scheme_str() {
        Some("http") => Some(80),
        Some("https") => Some(443),
        _ => None,
    }
}

fn tls(
    host: &str,
    ca_file: Option<&Path>,
    certificate: Option<&CertificateFiles>,
) -> Result<ToServer, String> {
    let fault = |path: &Path, what: String| format!("{}: {what}", path.display());
    let pem = match ca_file {
        Some(path) => {
            Some(std::fs::read_to_string(path).map_err(|error| fault(path, error.to_string()))?)
        }
        None => None,
    };
    let name = host.trim_start_matches('[').trim_end_matches(']');
    ToServer::new(name, pem.as_deref(), certificate).map_err(|what| match ca_file {
        Some(path) => fault(path, what),
        None => what,
    })
}

/// Where a listener on this machine is reached.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        listen => listen,
    }
}

fn read_token(path: &Path) -> Result<Secret, String> {
    let fault = |what: String| format!("{}: {what}", path.display());
    let read = secret::read_file(path).map_err(fault)?;
    let token = read.expose().trim();
    match token.is_empty() || token.contains(char::is_whitespace) {
        true => Err(fault("must hold the token and nothing else".to_owned())),
        false => Ok(Secret::new(token.to_owned())),
    }
}
