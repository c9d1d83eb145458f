//! The limits that a plan may set, and how one is written.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The most that a limit or a burst may say: it is exact in every JSON reader.
const QUOTA_MAX: u64 = 1_000_000_000_000_000;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Data messages, in both directions.
    Messages,
    /// Their payload bytes as they are on the wire.
    Bytes,
    /// Handshakes that go on to the runtime.
    Handshakes,
    /// Plain requests that go on to the runtime.
    Requests,
}

impl Unit {
    /// How many there are.
    pub const COUNT: usize = 4;
}

/// How much there may be of something in some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "each is the plan's member of that name")]
pub enum Limit {
    MessagesPerSecond,
    MessagesPerMinute,
    MessagesPerDay,
    BytesPerSecond,
    BytesPerMinute,
    BytesPerDay,
    HandshakesPerMinute,
    RequestsPerSecond,
}

macro_rules! out_of_range {
    ($name:literal) => {
        concat!($name, " must be 1 to 1000000000000000, and so must its burst")
    };
}

impl Limit {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::MessagesPerSecond,
        Self::MessagesPerMinute,
        Self::MessagesPerDay,
        Self::BytesPerSecond,
        Self::BytesPerMinute,
        Self::BytesPerDay,
        Self::HandshakesPerMinute,
        Self::RequestsPerSecond,
    ];

    /// What it counts.
    #[must_use]
    pub fn unit(self) -> Unit {
        match self {
            Self::MessagesPerSecond | Self::MessagesPerMinute | Self::MessagesPerDay => {
                Unit::Messages
            }
            Self::BytesPerSecond | Self::BytesPerMinute | Self::BytesPerDay => Unit::Bytes,
            Self::HandshakesPerMinute => Unit::Handshakes,
            Self::RequestsPerSecond => Unit::Requests,
        }
    }

    /// The time for which it says how much.
    #[must_use]
    pub fn window_seconds(self) -> u32 {
        match self {
            Self::MessagesPerSecond | Self::BytesPerSecond | Self::RequestsPerSecond => 1,
            Self::MessagesPerMinute | Self::BytesPerMinute | Self::HandshakesPerMinute => 60,
            Self::MessagesPerDay | Self::BytesPerDay => 24 * 60 * 60,
        }
    }

    /// The plan's member.
    #[must_use]
    pub fn name(self) -> &'static str {
        let text = self.out_of_range();
        text.split(' ').next().unwrap_or(text)
    }

    pub(super) fn out_of_range(self) -> &'static str {
        match self {
            Self::MessagesPerSecond => out_of_range!("messages_per_second"),
            Self::MessagesPerMinute => out_of_range!("messages_per_minute"),
            Self::MessagesPerDay => out_of_range!("messages_per_day"),
            Self::BytesPerSecond => out_of_range!("bytes_per_second"),
            Self::BytesPerMinute => out_of_range!("bytes_per_minute"),
            Self::BytesPerDay => out_of_range!("bytes_per_day"),
            Self::HandshakesPerMinute => out_of_range!("handshakes_per_minute"),
            Self::RequestsPerSecond => out_of_range!("requests_per_second"),
        }
    }
}

/// So much in that time, evenly; and so much at once. Written as a number where both are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "QuotaText", into = "QuotaText")]
pub struct Quota {
    /// How much comes back within the limit's time; 1 to 10^15.
    pub limit: u64,
    /// How much may come at once; as much as the limit if it is not said.
    pub burst: Option<u64>,
}

impl Quota {
    /// How much may come at once.
    #[must_use]
    pub fn burst(self) -> u64 {
        self.burst.unwrap_or(self.limit)
    }

    pub(super) fn is_in_range(self) -> bool {
        [self.limit, self.burst()].iter().all(|it| (1..=QUOTA_MAX).contains(it))
    }
}

impl From<u64> for Quota {
    fn from(limit: u64) -> Self {
        Self { limit, burst: None }
    }
}

/// A number for each second, minute or day; or that, and how much may come at once.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[schema(as = Quota)]
#[serde(untagged)]
enum QuotaText {
    /// As much may come at once.
    Even(u64),
    /// Both.
    Both(Both),
}

/// How much comes back within the limit's time, and how much may come at once.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Both {
    /// 1 to 10^15.
    limit: u64,
    /// 1 to 10^15.
    burst: u64,
}

impl From<QuotaText> for Quota {
    fn from(text: QuotaText) -> Self {
        match text {
            QuotaText::Even(limit) => limit.into(),
            QuotaText::Both(Both { limit, burst }) => Self { limit, burst: Some(burst) },
        }
    }
}

impl From<Quota> for QuotaText {
    fn from(Quota { limit, burst }: Quota) -> Self {
        match burst {
            None => Self::Even(limit),
            Some(burst) => Self::Both(Both { limit, burst }),
        }
    }
}

impl utoipa::PartialSchema for Quota {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        QuotaText::schema()
    }
}

impl ToSchema for Quota {
    fn schemas(
        schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>)>,
    ) {
        QuotaText::schemas(schemas);
    }
}
