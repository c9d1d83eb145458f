//! The one log line of a request.

use http::StatusCode;

use crate::client::Client;
use crate::client::text::Text;
use crate::clock::Micros;
use crate::grant::{ApiId, Grant};
use crate::metrics::Stopwatch;
use crate::refusal::Refusal;
use crate::tenant::Username;

/// What the log line of a request tells, filled in on the way.
#[derive(Debug, Default)]
pub struct Trail {
    /// The row, once it was found.
    pub row: &'static str,
    /// Whose runtime, once that is known.
    pub tenant: Option<Username>,
    /// The published API that it calls, if it does.
    pub api: Option<ApiId>,
    /// On what ground.
    pub grant: Option<Grant>,
    /// The path, without query.
    pub path: String,
    /// Where its time went.
    pub watch: Stopwatch,
}

impl Trail {
    /// Nothing is known yet of a request that has just come.
    pub(super) fn start(now: Micros) -> Self {
        Self { watch: Stopwatch::start(now), ..Self::default() }
    }

    pub(super) fn log_answer(&self, client: Client, is_handshake: bool, status: StatusCode) {
        // Probes come every few seconds.
        if self.row == "own" {
            tracing::debug!(client = %Text::from(client.address), path = self.path, %status, "answered");
            return;
        }
        tracing::info!(
            message = if is_handshake { "handshake" } else { "request" },
            request_id = %client.request_id,
            client = %Text::from(client.address),
            tenant = self.tenant.as_ref().map(tracing::field::display),
            grant = self.grant.as_ref().map(tracing::field::display),
            row = self.row,
            path = self.path,
            status = status.as_u16(),
        );
    }

    pub(super) fn log_refusal(&self, client: Client, is_handshake: bool, refusal: &Refusal) {
        let claimed = match refusal {
            Refusal::WrongCredential { claimed, .. } => claimed.as_ref(),
            _ => None,
        };
        tracing::info!(
            request_id = %client.request_id,
            client = %Text::from(client.address),
            tenant = self.tenant.as_ref().or(claimed).map(tracing::field::display),
            grant = self.grant.as_ref().map(tracing::field::display),
            row = self.row,
            path = self.path,
            status = refusal.status().as_u16(),
            refusal = refusal.label(),
            why = %refusal,
            "{} refused", if is_handshake { "handshake" } else { "request" }
        );
    }
}
