//! The only reader of configuration file, environment and flags. One table of keys serves all three,
//! `--help` included; flags win over the environment, which wins over the file.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::accept::AcceptSettings;
use crate::admin::tokens::TokenSources;
use crate::connect::ConnectSettings;
use crate::drain::DrainSettings;
use crate::keepalive::Probes;
use crate::limits::Limits;
use crate::networks::{Network, Networks};
use crate::oauth::OAuthSettings;
use crate::registry::Caching;
use crate::registry::sessions::SessionLimits;
use crate::registry::store::{self, redis};
use crate::relay::pair::Patience;
use crate::runtimes::WakeSettings;
use crate::runtimes::kubernetes::KubernetesSettings;
use crate::runtimes::process::ProcessSettings;
use crate::secret::{self, Secret};
use crate::telemetry::{Filter, Format, LogSettings};
use crate::tls::certificates::CertificateFiles;

mod bounds;
mod effective;
mod keys;
mod runtimes;
mod sources;

pub use effective::Effective;
pub use keys::{KEYS, Key};
use sources::Environment;

/// The prefix of environment variables: `FLOWGATE_BASE_DOMAIN` for `base_domain`.
pub const ENVIRONMENT_PREFIX: &str = "FLOWGATE_";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Everything that can be set, checked and complete.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Data listeners without TLS.
    pub listen: Vec<SocketAddr>,
    /// Data listeners with TLS.
    pub tls_listen: Vec<SocketAddr>,
    /// What they present; one at least if there are any.
    pub tls_certificates: Vec<CertificateFiles>,
    /// Whether HTTP/2 is spoken there.
    pub http_2: bool,
    /// Proxies in front that are believed when they say whose a request is.
    pub trusted_proxies: Networks,
    /// Where runtimes may be that would else be denied.
    pub allow_addresses: Networks,
    /// The operators' listener.
    pub admin_listen: SocketAddr,
    /// The authorities of the certificates that its clients have to have; `None` if none is needed.
    pub admin_client_ca_file: Option<PathBuf>,
    /// Where the operators' tokens are.
    pub admin_tokens: TokenSources,
    /// How commands ask a running server.
    pub client: ClientSettings,
    /// Names of the operators' listener, in lower case.
    pub admin_hosts: Vec<String>,
    /// Whether metrics are told without a token.
    pub metrics_open: bool,
    /// For how long the audit log is kept.
    pub audit_kept: Duration,
    /// For how many days analytics are kept; 0 for not at all.
    pub analytics_days: u32,
    /// Every setting as a text, with its source and without its secrets.
    pub effective: Vec<Effective>,
    /// What that presents; without any it speaks no TLS.
    pub admin_tls_certificates: Vec<CertificateFiles>,
    /// Where tenants live: the URL, which may hold a password.
    pub registry: String,
    /// How to go there, where the URL does not say it.
    pub registry_access: redis::Options,
    /// What of it is kept in memory.
    pub caching: Caching,
    /// How long browser sessions live.
    pub sessions: SessionLimits,
    /// A profiles file.
    pub import: Option<PathBuf>,
    /// The keys that seal secrets in the registry.
    pub sealing_key_file: Option<PathBuf>,
    /// The registrable domain of the tenant hosts, in lower case.
    pub base_domain: String,
    /// Threads for whatever has to wait.
    pub workers: usize,
    /// Threads that accept connections without TLS and relay frames.
    pub relay_threads: usize,
    /// Access tokens.
    pub oauth: OAuthSettings,
    /// Listeners.
    pub accept: AcceptSettings,
    /// Runtimes.
    pub connect: ConnectSettings,
    /// Runtimes of flowgate's own.
    pub processes: ProcessSettings,
    /// The same in Kubernetes.
    pub kubernetes: KubernetesSettings,
    /// How they are woken.
    pub wake: WakeSettings,
    /// Live connections.
    pub patience: Patience,
    /// What requests may be like.
    pub limits: Limits,
    /// When silent peers are asked by TCP whether they are there.
    pub probes: Probes,
    /// Shutting down.
    pub drain: DrainSettings,
    /// Whether others may look into the process's memory.
    pub debuggable: bool,
    /// Logs.
    pub log: LogSettings,
}

/// How commands ask a running server.
#[derive(Clone, Debug, Default)]
pub struct ClientSettings {
    /// Its operators' listener, as in `http://127.0.0.1:9180`.
    pub url: Option<String>,
    /// The authorities that its certificate may be by, in PEM; else the public ones.
    pub ca_file: Option<PathBuf>,
    /// What is shown to it if it asks for a certificate.
    pub certificate: Option<CertificateFiles>,
    /// An admin token.
    pub token: Option<Secret>,
}

/// Why the configuration is of no use: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// The texts given for each key, by one source or several.
pub type Given = BTreeMap<&'static str, (Vec<String>, String)>;

/// Reads file and environment beneath the flags. `flags` are by key; `file` is the configuration
/// file that was asked for, if any.
///
/// # Errors
/// An unreadable file, an unknown key, or a value that is not allowed, with its source.
pub fn load(
    flags: BTreeMap<&'static str, Vec<String>>,
    environment: impl Iterator<Item = (String, String)>,
    file: Option<PathBuf>,
) -> Result<Settings, ConfigError> {
    let Environment { given: environment, file: named, tokens, client } =
        sources::environment(environment)?;
    let mut given = sources::file(file.or(named))?;
    given.extend(environment);
    for (name, values) in flags {
        given.insert(name, (values, format!("--{}", name.replace('_', "-"))));
    }
    let mut settings = settle(&given)?;
    settings.admin_tokens.environment = tokens;
    settings.client = client;
    Ok(settings)
}

/// Turns texts into settings.
fn settle(given: &Given) -> Result<Settings, ConfigError> {
    let reader = Reader(given);
    let (listen, tls_listen) = (reader.listen()?, reader.all("tls_listen")?);
    let tls_certificates = reader.all("tls_certificates")?;
    if listen.is_empty() && tls_listen.is_empty() {
        return Err(ConfigError("listen, tls_listen: at least one address is needed".to_owned()));
    }
    Ok(Settings {
        listen,
        tls_listen,
        tls_certificates,
        http_2: reader.one("http2")?,
        trusted_proxies: reader.networks("trusted_proxies")?,
        allow_addresses: reader.networks("allow_addresses")?,
        admin_listen: reader.one("admin_listen")?,
        admin_client_ca_file: reader.all("admin_client_ca_file")?.pop(),
        admin_tokens: TokenSources {
            file: reader.all("admin_tokens_file")?.pop(),
            environment: None,
        },
        client: ClientSettings::default(),
        admin_hosts: reader
            .all::<HostName>("admin_hosts")?
            .into_iter()
            .map(|host| host.0)
            .collect(),
        metrics_open: reader.one("metrics_open")?,
        analytics_days: reader.analytics_days()?,
        audit_kept: DAY * u32::try_from(reader.number("audit_days", 1, 3650)?).unwrap_or(1),
        effective: effective::all(given),
        admin_tls_certificates: reader.all("admin_tls_certificates")?,
        registry: registry_url(&reader)?,
        registry_access: registry_access(&reader)?,
        caching: Caching {
            tenants_max: reader.number("tenants_cached_max", 1, 100_000_000)?,
            stale_max: reader.span("registry_stale_max")?,
        },
        sessions: SessionLimits {
            idle_max: reader.span("session_idle_max")?,
            age_max: DAY * u32::try_from(reader.number("session_days", 1, 365)?).unwrap_or(1),
        },
        import: reader.all("import")?.pop(),
        sealing_key_file: reader.secret_file("sealing_key_file")?.map(|(path, _)| path),
        base_domain: reader.one::<BaseDomain>("base_domain")?.0,
        workers: reader.threads("workers")?,
        relay_threads: reader.threads("relay_threads")?,
        oauth: reader.oauth()?,
        accept: reader.accept()?,
        connect: reader.connect()?,
        processes: runtimes::processes(&reader)?,
        kubernetes: runtimes::kubernetes(&reader)?,
        wake: runtimes::wake(&reader)?,
        patience: reader.patience()?,
        limits: reader.limits()?,
        probes: reader.probes()?,
        drain: DrainSettings {
            delay: reader.span("drain_delay")?,
            timeout: reader.span("drain_timeout")?,
        },
        debuggable: reader.one("debuggable")?,
        log: LogSettings {
            filter: reader.one::<Filter>("log")?,
            format: reader.one::<Format>("log_format")?,
        },
    })
}

/// Never repeated in an error, since there may be a password in it.
fn registry_url(reader: &Reader<'_>) -> Result<String, ConfigError> {
    let url: String = reader.one("registry")?;
    let (_, source) = reader.texts("registry");
    let checked = store::check_url(&url);
    checked.map_err(|why| ConfigError(format!("{source}: {}: {why}", store::redacted(&url))))?;
    Ok(url)
}

fn registry_access(reader: &Reader<'_>) -> Result<redis::Options, ConfigError> {
    Ok(redis::Options {
        ca_file: reader.all("registry_ca_file")?.pop(),
        client_cert_file: reader.all("registry_certificate_file")?.pop(),
        client_key_file: reader.secret_file("registry_key_file")?.map(|(path, _)| path),
        password: reader.secret_file("registry_password_file")?.map(|(_, text)| text),
        command_timeout: reader.span("registry_command_timeout")?,
        ..redis::Options::default()
    })
}

/// Reads values by key; every fault names its source.
struct Reader<'a>(&'a Given);

impl Reader<'_> {
    fn texts(&self, name: &'static str) -> (Vec<String>, String) {
        self.0.get(name).cloned().unwrap_or_else(|| {
            let default = KEYS.iter().find(|key| key.name == name).map_or("", |key| key.default);
            let values = if default.is_empty() { Vec::new() } else { vec![default.to_owned()] };
            (values, "default".to_owned())
        })
    }

    fn all<T: FromStr<Err: fmt::Display>>(
        &self,
        name: &'static str,
    ) -> Result<Vec<T>, ConfigError> {
        let (texts, source) = self.texts(name);
        texts
            .iter()
            .map(|text| {
                text.parse().map_err(|why| ConfigError(format!("{source}: {text:?}: {why}")))
            })
            .collect()
    }

    fn networks(&self, name: &'static str) -> Result<Networks, ConfigError> {
        self.all::<Network>(name).map(Networks::from)
    }

    /// Without any address if there is to be none: the word itself, or an empty list in the file.
    fn listen(&self) -> Result<Vec<SocketAddr>, ConfigError> {
        match self.texts("listen").0.as_slice() {
            [] => Ok(Vec::new()),
            [none] if none == "none" => Ok(Vec::new()),
            _ => self.all("listen"),
        }
    }

    fn one<T: FromStr<Err: fmt::Display>>(&self, name: &'static str) -> Result<T, ConfigError> {
        let missing = || ConfigError(format!("{name}: one value is needed"));
        self.all(name)?.pop().ok_or_else(missing)
    }

    /// A file that only its owner and their group can read, and what is in it, without white space at
    /// its end.
    fn secret_file(&self, name: &'static str) -> Result<Option<(PathBuf, Secret)>, ConfigError> {
        let Some(path) = self.all::<PathBuf>(name)?.pop() else { return Ok(None) };
        let (_, source) = self.texts(name);
        let fault = |what: String| ConfigError(format!("{source}: {}: {what}", path.display()));
        let secret = secret::read_file(&path).map_err(fault)?;
        Ok(Some((path, secret)))
    }

    fn span(&self, name: &'static str) -> Result<Duration, ConfigError> {
        let span: Duration = self.one::<humantime::Duration>(name)?.into();
        let may_be_zero = matches!(
            name,
            "ping_after"
                | "ping_runtime_after"
                | "tcp_keepalive"
                | "connection_lifetime_max"
                | "drain_delay"
                | "drain_timeout"
        );
        let is_of_days = name == "connection_lifetime_max";
        let wrong = match span {
            span if is_of_days && span > DAY * 30 => "must be at most 30d",
            span if !is_of_days && span > DAY => "must be at most 24h",
            span if span.is_zero() && !may_be_zero => "must be more than zero",
            _ => return Ok(span),
        };
        let (_, source) = self.texts(name);
        Err(ConfigError(format!("{source}: {wrong}")))
    }

    fn number(&self, name: &'static str, min: usize, max: usize) -> Result<usize, ConfigError> {
        let number = self.one(name)?;
        if (min..=max).contains(&number) {
            return Ok(number);
        }
        let (_, source) = self.texts(name);
        Err(ConfigError(format!("{source}: {number} is not from {min} to {max}")))
    }

    fn threads(&self, name: &'static str) -> Result<usize, ConfigError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        match self.number(name, 0, 1024)? {
            0 => Ok(cores),
            threads => Ok(threads),
        }
    }
}

/// A host without a port.
struct HostName(String);

impl FromStr for HostName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_ipv6 = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
        let is_name =
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
        match is_ipv6 || (is_name && (1..=253).contains(&text.len())) {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err("is no host name like \"flowgate-admin.example.org\", without a port"),
        }
    }
}

struct BaseDomain(String);

impl FromStr for BaseDomain {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        match text.len() <= 189 && text.split('.').all(is_label) {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err("is no domain name like \"flows.example.org\""),
        }
    }
}

#[cfg(test)]
mod tests;
