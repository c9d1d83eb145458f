//! Whether a runtime has said that it is ready.

use std::time::Duration;

use tokio::time::Instant;

use super::api::LOG_BYTES_READ_MAX;
use super::cluster::Shared;
use super::names::pod_name;
use crate::tenant::TenantId;

/// Between two looks into a log: at first, and at most.
const REST_MIN: Duration = Duration::from_millis(100);
const REST_MAX: Duration = Duration::from_secs(2);
/// By so much a look goes back behind the one before.
const OVERLAP_SECONDS: u64 = 2;

/// What is remembered between two looks for it.
pub(super) struct ReadyLine {
    is_said: bool,
    rest: Duration,
    looked_at: Option<Instant>,
    /// When it was read last.
    read_at: Option<Instant>,
}

impl ReadyLine {
    pub(super) fn new(is_said: bool) -> Self {
        Self { is_said, rest: REST_MIN, looked_at: None, read_at: None }
    }

    /// Looks anew if it is time for that: first at the beginning of the log, then at what came since;
    /// at the end, too, if that is more than is read at once.
    pub(super) async fn is_said(&mut self, shared: &Shared, tenant: TenantId) -> bool {
        let line = shared.settings.ready_line.as_bytes();
        if self.is_said || line.is_empty() {
            return true;
        }
        if self.looked_at.is_some_and(|at| at.elapsed() < self.rest) {
            return false;
        }
        self.rest = (self.rest * 2).min(REST_MAX);
        let now = Instant::now();
        self.looked_at = Some(now);
        let seconds = self.read_at.map(|at| at.elapsed().as_secs() + OVERLAP_SECONDS);
        let (pod, container) = (pod_name(tenant), &shared.template.container);
        let Some(log) = shared.api.log_since(&pod, container, seconds).await else {
            return false;
        };
        self.read_at = Some(now);
        let has_line = |log: &[u8]| log.windows(line.len()).any(|part| part == line);
        self.is_said = has_line(&log)
            || (log.len() >= LOG_BYTES_READ_MAX
                && has_line(&shared.api.log_end(&pod, container).await));
        self.is_said
    }
}
