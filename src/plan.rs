//! Plans: named limits, what they mean, and what is left of them.
//!
//! A [`Plan`] is what is written down. An [`Account`] is what an owner of one has left, shared by all
//! threads; it has a [`Budget`] for each [`Limit`] that the plan sets.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::grant::Grant;

mod account;
mod accounts;
mod budget;
mod limit;

pub use account::{Account, Cost, Share, Shortage, Standing, Throttled};
pub use accounts::Accounts;
pub use budget::Budget;
pub use limit::{Limit, Quota, Unit};

/// Named limits that tenants share. Absent members mean "no limit".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "Written", deny_unknown_fields)]
pub struct Plan {
    /// Live connections at once, handshakes under way included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// Payload bytes of one message on the wire, all its frames together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_bytes: Option<u64>,
    /// Messages of all the tenant's connections together, both directions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_second: Option<Quota>,
    /// The same in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_minute: Option<Quota>,
    /// The same in 24 hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_day: Option<Quota>,
    /// Payload bytes of those messages, as they are on the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<Quota>,
    /// The same in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_minute: Option<Quota>,
    /// The same in 24 hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_day: Option<Quota>,
    /// Handshakes that go on to the runtime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshakes_per_minute: Option<Quota>,
    /// Plain requests that go on to the runtime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<Quota>,
    /// What becomes of messages that are over one of the limits for messages and bytes.
    #[serde(default, skip_serializing_if = "Over::is_usual")]
    pub over: Over,
    /// Seconds without a data frame and without a request after which a runtime of flowgate's own is
    /// put to sleep; at least 1. Absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sleep_after_seconds: Option<u32>,
    /// Whether such a runtime is never put to sleep, whatever else is said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub always_on: bool,
}

/// What a plan does with a message for which the budget is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// Reading pauses until the budget allows the message: TCP slows the sender down.
    #[default]
    #[serde(alias = "pause")]
    Pace,
    /// The whole message is left out, and the client is told; the connection stays.
    Drop,
    /// The connection is closed with 4008.
    Close,
}

impl Over {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// A plan as it is written, by earlier versions too: they had `messages` alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    connections: Option<u32>,
    message_bytes: Option<u64>,
    messages: Option<Rate>,
    messages_per_second: Option<Quota>,
    messages_per_minute: Option<Quota>,
    messages_per_day: Option<Quota>,
    bytes_per_second: Option<Quota>,
    bytes_per_minute: Option<Quota>,
    bytes_per_day: Option<Quota>,
    handshakes_per_minute: Option<Quota>,
    requests_per_second: Option<Quota>,
    over: Option<Over>,
    sleep_after_seconds: Option<u32>,
    #[serde(default)]
    always_on: bool,
}

/// The earlier form of `messages_per_second` and `over`.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rate {
    per_second: u64,
    burst: u64,
    #[serde(default)]
    over: Over,
}

impl TryFrom<Written> for Plan {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let earlier = written.messages;
        if earlier.is_some() && (written.messages_per_second.is_some() || written.over.is_some()) {
            return Err(
                "`messages` is the earlier form of `messages_per_second` and `over`: it does not go with them",
            );
        }
        let earlier_quota = earlier.map(|it| Quota { limit: it.per_second, burst: Some(it.burst) });
        Ok(Self {
            connections: written.connections,
            message_bytes: written.message_bytes,
            messages_per_second: written.messages_per_second.or(earlier_quota),
            messages_per_minute: written.messages_per_minute,
            messages_per_day: written.messages_per_day,
            bytes_per_second: written.bytes_per_second,
            bytes_per_minute: written.bytes_per_minute,
            bytes_per_day: written.bytes_per_day,
            handshakes_per_minute: written.handshakes_per_minute,
            requests_per_second: written.requests_per_second,
            over: written.over.or(earlier.map(|it| it.over)).unwrap_or_default(),
            sleep_after_seconds: written.sleep_after_seconds,
            always_on: written.always_on,
        })
    }
}

impl Plan {
    /// Says what is wrong with the plan's numbers, if anything.
    ///
    /// # Errors
    /// What.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.connections == Some(0) {
            return Err("connections must be at least 1");
        }
        if self.sleep_after_seconds == Some(0) {
            return Err("sleep_after_seconds must be at least 1");
        }
        let is_wrong = |limit: &Limit| self.quota(*limit).is_some_and(|quota| !quota.is_in_range());
        Limit::ALL.into_iter().find(is_wrong).map_or(Ok(()), |limit| Err(limit.out_of_range()))
    }

    /// What it says about one of its limits.
    #[must_use]
    pub fn quota(&self, limit: Limit) -> Option<Quota> {
        match limit {
            Limit::MessagesPerSecond => self.messages_per_second,
            Limit::MessagesPerMinute => self.messages_per_minute,
            Limit::MessagesPerDay => self.messages_per_day,
            Limit::BytesPerSecond => self.bytes_per_second,
            Limit::BytesPerMinute => self.bytes_per_minute,
            Limit::BytesPerDay => self.bytes_per_day,
            Limit::HandshakesPerMinute => self.handshakes_per_minute,
            Limit::RequestsPerSecond => self.requests_per_second,
        }
    }

    /// Whether messages may be left out, so that no compression may need an earlier one.
    #[must_use]
    pub fn drops(&self) -> bool {
        let limits_frames = |limit: &Limit| matches!(limit.unit(), Unit::Messages | Unit::Bytes);
        self.over == Over::Drop
            && Limit::ALL.into_iter().filter(limits_frames).any(|it| self.quota(it).is_some())
    }

    /// After how long without use a runtime is put to sleep; `None` for never.
    #[must_use]
    pub fn sleep_after(&self) -> Option<Duration> {
        let span = self.sleep_after_seconds.map(|seconds| Duration::from_secs(seconds.into()));
        span.filter(|_| !self.always_on)
    }

    /// How many connections there may be for one more with this grant to come in. A quarter is kept
    /// from strangers and callers of published APIs, so that they cannot shut the tenant out of their
    /// own runtime.
    #[must_use]
    pub fn connections_for(&self, grant: &Grant) -> Option<u32> {
        let all = self.connections?;
        Some(if grant.is_guests() { all - all / 4 } else { all })
    }
}

#[cfg(test)]
mod tests;
