//! Every key there is, with its default and its line of help.

mod runtimes;

use runtimes::RUNTIMES;

/// One setting: `name` in the file, `--name-with-dashes`, `FLOWGATE_NAME` in the environment.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The name in the file.
    pub name: &'static str,
    /// What the value looks like.
    pub value: &'static str,
    /// The value when nobody gives one; empty for none.
    pub default: &'static str,
    /// May be given several times; with commas in the environment, as a list in the file.
    pub repeatable: bool,
    /// What it means.
    pub help: &'static str,
}

const fn key(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Key {
    Key { name, value, default, repeatable: false, help }
}

const fn list(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Key {
    Key { name, value, default, repeatable: true, help }
}

/// All keys, in the order of `--help`.
pub const KEYS: &[Key] =
    &join::<{ FIRST.len() + RUNTIMES.len() + LATER.len() }>([FIRST, RUNTIMES, LATER]);

const fn join<const LENGTH: usize>(parts: [&[Key]; 3]) -> [Key; LENGTH] {
    let mut all = [parts[0][0]; LENGTH];
    let (mut to, mut part) = (0, 0);
    while part < parts.len() {
        let mut from = 0;
        while from < parts[part].len() {
            all[to] = parts[part][from];
            (to, from) = (to + 1, from + 1);
        }
        part += 1;
    }
    all
}

/// What comes before those of runtimes.
const FIRST: &[Key] = &[
    list(
        "listen",
        "ADDRESS",
        "127.0.0.1:8080",
        "Address for clients, without TLS; none for no such",
    ),
    list("tls_listen", "ADDRESS", "", "Address for clients, with TLS"),
    list(
        "tls_certificates",
        "CERT:KEY",
        "",
        "Certificate chain and private key in PEM, or one file with both; the first is the default",
    ),
    key(
        "admin_listen",
        "ADDRESS",
        "127.0.0.1:9180",
        "Address for operators: health, admin API, metrics",
    ),
    list(
        "admin_tls_certificates",
        "CERT:KEY",
        "",
        "The same for operators, whose address then speaks TLS only",
    ),
    key(
        "http2",
        "BOOL",
        "true",
        "Whether clients with TLS may speak HTTP/2 for plain requests: true or false",
    ),
    list(
        "proxy_protocol_from",
        "NETWORK",
        "",
        "Load balancers whose connections from clients begin with a PROXY header, like 10.0.0.0/8",
    ),
    list(
        "trusted_proxies",
        "NETWORK",
        "",
        "Proxies in front whose X-Forwarded-For and X-Forwarded-Proto are believed, like 10.0.0.0/8",
    ),
    list(
        "allow_addresses",
        "NETWORK",
        "",
        "Where runtimes may be although it is link-local, a metadata service or a listener of our own",
    ),
    key(
        "admin_client_ca_file",
        "FILE",
        "",
        "Authorities (PEM): operators' clients need a certificate by one of them besides their token",
    ),
    key(
        "admin_tokens_file",
        "FILE",
        "",
        "Operators' tokens, a line each: NAME ROLE TOKEN; 'flowgate admin-token' makes one",
    ),
    list(
        "admin_hosts",
        "HOST",
        "",
        "Further names under which operators reach admin_listen; localhost and its address are known",
    ),
    key(
        "metrics_open",
        "BOOL",
        "false",
        "Whether /metrics on admin_listen is answered without a token: true or false",
    ),
    key("audit_days", "N", "365", "For how many days the audit log is kept"),
    key(
        "analytics_days",
        "N",
        "30",
        "For how many days analytics are kept, at most 31; 0 counts nothing",
    ),
    key(
        "registry",
        "URL",
        "file:flowgate.redb",
        "Where tenants live: file:PATH, which is made if it is not there; redis://HOST, rediss://HOST, \
         unix:PATH or redis+sentinel://HOST,HOST/NAME for many replicas; memory: forgets at a stop",
    ),
    key(
        "registry_password_file",
        "FILE",
        "",
        "Password for a registry in Redis; not for others to read",
    ),
    key(
        "registry_ca_file",
        "FILE",
        "",
        "The only authority to trust for a registry over TLS (PEM), in place of the public ones",
    ),
    key(
        "registry_certificate_file",
        "FILE",
        "",
        "Client certificate for a registry over TLS (PEM)",
    ),
    key("registry_key_file", "FILE", "", "Its key (PEM); not for others to read"),
    key(
        "registry_command_timeout",
        "SPAN",
        "2s",
        "A registry in Redis must answer within this time",
    ),
    key(
        "sealing_key_file",
        "FILE",
        "",
        "Keys that seal secrets in the registry: 32 random bytes in base64 on each line, the present one \
         first; the same on all replicas",
    ),
    key(
        "oauth_issuer",
        "ISSUER",
        "",
        "Who issues access tokens, like https://flows.example.org; else what each request names",
    ),
    key(
        "oauth_token_life",
        "SPAN",
        "1h",
        "An access token is good for this time if nothing is said",
    ),
    key("oauth_token_life_max", "SPAN", "24h", "An access token is good for at most this time"),
    key("oauth_signing_key_days", "N", "90", "After so many days another key signs access tokens"),
    key(
        "import",
        "FILE",
        "",
        "Profiles file; what is not in the registry yet is created. See profiles.example.json",
    ),
    key(
        "base_domain",
        "DOMAIN",
        "flows.localhost",
        "Tenants' hosts are {username}.DOMAIN; in production a registrable domain of its own",
    ),
    key("tenants_cached_max", "N", "100000", "Tenants of the registry that are kept in memory"),
    key(
        "registry_stale_max",
        "SPAN",
        "10m",
        "While the registry is away, known tenants are served for this long; then nobody is",
    ),
    key("workers", "N", "0", "Threads for TLS and pages; 0 for one per core"),
    key("relay_threads", "N", "0", "Threads that accept and relay; 0 for one per core"),
    key(
        "connections_max",
        "N",
        "100000",
        "Clients' sockets at once, live connections included; fewer if the process may not open so many",
    ),
    key(
        "connections_per_address_max",
        "N",
        "0",
        "The same for one address, which is a /64 in IPv6; 0 for no limit",
    ),
    key("header_bytes_max", "BYTES", "32768", "Most bytes of a request's or an answer's headers"),
    key("headers_max", "N", "100", "Most headers of a request"),
    key("url_bytes_max", "BYTES", "8192", "Most bytes of a request's path and query"),
    key("body_bytes_max", "BYTES", "2147483648", "Most bytes of a request's body"),
    key(
        "session_idle_max",
        "SPAN",
        "12h",
        "A browser's session without a request ends after this time",
    ),
    key("session_days", "N", "7", "A browser's session ends after so many days in any case"),
    key("header_timeout", "SPAN", "10s", "A client must have sent its headers within this time"),
    key(
        "keep_alive_timeout",
        "SPAN",
        "10s",
        "A client's connection is kept this long without a plain request, after the first",
    ),
    key(
        "keep_alive_requests_max",
        "N",
        "0",
        "A client's connection is closed after so many plain requests; 0 for no limit",
    ),
    key(
        "connect_timeout",
        "SPAN",
        "5s",
        "A runtime must have accepted a connection within this time",
    ),
    key(
        "handshake_timeout",
        "SPAN",
        "10s",
        "A runtime must have answered a handshake within this time",
    ),
    key(
        "response_timeout",
        "SPAN",
        "10m",
        "A runtime must have begun to answer a plain request within this time",
    ),
];

/// What comes behind them.
const LATER: &[Key] = &[
    key(
        "frame_stall_max",
        "SPAN",
        "60s",
        "A frame that was begun must bring another byte within this time",
    ),
    key(
        "write_stall_max",
        "SPAN",
        "60s",
        "A side with bytes waiting must take one within this time",
    ),
    key(
        "half_open_max",
        "SPAN",
        "60s",
        "Once one side has ended, the other may stay silent this long",
    ),
    key("ping_after", "SPAN", "30s", "A client silent for this long gets a Ping; 0s sends none"),
    key(
        "ping_runtime_after",
        "SPAN",
        "0s",
        "A runtime silent for this long on a connection gets a Ping; 0s sends none",
    ),
    key(
        "tcp_keepalive",
        "SPAN",
        "60s",
        "TCP asks clients and runtimes that are silent for this long; 0s does not",
    ),
    key(
        "connection_lifetime_max",
        "SPAN",
        "0s",
        "A connection is closed when it has lived this long, or up to a tenth less; 0s for no limit",
    ),
    key(
        "buffer_memory_max_bytes",
        "BYTES",
        "1073741824",
        "While more than this waits in the buffers of connections, new handshakes are refused",
    ),
    key(
        "drain_delay",
        "SPAN",
        "0s",
        "At a stop: time between \"not ready\" and closing the listeners, for load balancers to notice",
    ),
    key("drain_timeout", "SPAN", "30s", "At a stop: everything is over after this time"),
    key(
        "debuggable",
        "BOOL",
        "false",
        "Whether debuggers may look into the process, and core dumps be written: true or false",
    ),
    key("log", "LEVELS", "info", "Log levels, e.g. debug or warn,flowgate::relay=debug"),
    key("log_format", "FORMAT", "auto", "text, json, or auto: text on a terminal"),
];
