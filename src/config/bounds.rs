//! What bounds connections and requests.

use std::str::FromStr;
use std::time::Duration;

use super::{ConfigError, Reader};
use crate::accept::AcceptSettings;
use crate::connect::ConnectSettings;
use crate::keepalive::{KeepAlive, Probes};
use crate::limits::Limits;
use crate::oauth::OAuthSettings;
use crate::registry::analytics::KEPT_DAYS_MAX;
use crate::relay::pair::Patience;

const SOCKETS_MAX: usize = 10_000_000;
/// The longest URL that is parsed at all is 64 KiB.
const URL_BYTES_MAX: usize = 65_534;

/// A URL with nothing behind its host and port (RFC 8414 section 2).
struct Issuer(String);

impl FromStr for Issuer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const BAD: &str = "is no URL like \"https://flows.example.org\", without a path";
        let uri: http::Uri = text.parse().map_err(|_| BAD)?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let host = uri.authority().filter(|it| !it.as_str().contains('@')).ok_or(BAD)?;
        let is_bare = text.ends_with(host.as_str());
        if is_http && is_bare { Ok(Self(text.to_ascii_lowercase())) } else { Err(BAD) }
    }
}

impl Reader<'_> {
    pub(super) fn accept(&self) -> Result<AcceptSettings, ConfigError> {
        Ok(AcceptSettings {
            connections_max: self.number("connections_max", 1, SOCKETS_MAX)?,
            connections_per_address_max: self.number(
                "connections_per_address_max",
                0,
                SOCKETS_MAX,
            )?,
            header_timeout: self.span("header_timeout")?,
            write_stall_max: self.span("write_stall_max")?,
            header_bytes_max: self.header_bytes_max()?,
            headers_max: self.headers_max()?,
            keep_alive: KeepAlive {
                idle_max: self.span("keep_alive_timeout")?,
                requests_max: self
                    .or_none("keep_alive_requests_max", u32::MAX as usize)?
                    .and_then(|max| u32::try_from(max).ok()),
            },
            proxy_protocol_from: self.networks("proxy_protocol_from")?,
        })
    }

    pub(super) fn connect(&self) -> Result<ConnectSettings, ConfigError> {
        Ok(ConnectSettings {
            connect_timeout: self.span("connect_timeout")?,
            handshake_timeout: self.span("handshake_timeout")?,
            response_timeout: self.span("response_timeout")?,
            header_bytes_max: self.header_bytes_max()?,
            probes: self.probes()?,
        })
    }

    pub(super) fn patience(&self) -> Result<Patience, ConfigError> {
        let unless_zero =
            |name| self.span(name).map(|span| Some(span).filter(|span| !span.is_zero()));
        Ok(Patience {
            frame_stall_max: self.span("frame_stall_max")?,
            write_stall_max: self.span("write_stall_max")?,
            half_open_max: self.span("half_open_max")?,
            ping_after: unless_zero("ping_after")?,
            ping_runtime_after: unless_zero("ping_runtime_after")?,
            lifetime_max: unless_zero("connection_lifetime_max")?,
        })
    }

    pub(super) fn limits(&self) -> Result<Limits, ConfigError> {
        Ok(Limits {
            headers_max: self.headers_max()?,
            url_bytes_max: self.number("url_bytes_max", 2048, URL_BYTES_MAX)?,
            body_bytes_max: self.number("body_bytes_max", 0, usize::MAX)? as u64,
            buffer_bytes_max: self.number("buffer_memory_max_bytes", 1 << 20, usize::MAX)? as u64,
        })
    }

    pub(super) fn analytics_days(&self) -> Result<u32, ConfigError> {
        let days = self.number("analytics_days", 0, KEPT_DAYS_MAX as usize)?;
        Ok(u32::try_from(days).unwrap_or(KEPT_DAYS_MAX))
    }

    pub(super) fn probes(&self) -> Result<Probes, ConfigError> {
        let silence = self.span("tcp_keepalive")?;
        let [shortest, longest] = Probes::SILENCE;
        if !silence.is_zero() && !(shortest..=longest).contains(&silence) {
            let (_, source) = self.texts("tcp_keepalive");
            return Err(ConfigError(format!("{source}: must be from 1s to 9h, or 0s for none")));
        }
        // The system counts whole seconds.
        Ok(Probes::after(Duration::from_secs(silence.as_secs())))
    }

    pub(super) fn oauth(&self) -> Result<OAuthSettings, ConfigError> {
        let days = self.number("oauth_signing_key_days", 1, 3650)?;
        // Tokens say their times in whole seconds.
        let whole = |life: Duration| Duration::from_secs(life.as_millis().div_ceil(1000) as u64);
        Ok(OAuthSettings {
            issuer: self.all::<Issuer>("oauth_issuer")?.pop().map(|issuer| issuer.0),
            token_life: whole(self.span("oauth_token_life")?),
            token_life_max: whole(self.span("oauth_token_life_max")?),
            signing_key_age_max: super::DAY * u32::try_from(days).unwrap_or(1),
        })
    }

    fn headers_max(&self) -> Result<usize, ConfigError> {
        self.number("headers_max", 20, 1000)
    }

    fn header_bytes_max(&self) -> Result<usize, ConfigError> {
        self.number("header_bytes_max", 8192, 1 << 20)
    }

    /// `None` for zero.
    fn or_none(&self, name: &'static str, max: usize) -> Result<Option<usize>, ConfigError> {
        Ok(Some(self.number(name, 0, max)?).filter(|number| *number > 0))
    }
}
