//! What was relayed lately, as numbers for programs and as pictures for the page.

use axum::extract::{Extension, State};
use http::StatusCode;
use serde_json::{Value, json};

use super::view::{grouped, size};
use super::{Answer, At, Owner, Private};
use crate::clock::UnixMillis;
use crate::live::Counts;
use crate::live::traffic::{HOURS, MINUTES, Span, Traffic, numbers};

/// The height of a picture; a bar of this height is the peak. As in the template's `viewBox`.
const HEIGHT: u64 = 100;
/// The width of a picture.
const WIDTH: u64 = 480;

/// One picture: bars by time, the present one at the right end.
pub(super) struct Chart {
    pub(super) title: &'static str,
    pub(super) total: String,
    pub(super) peak: String,
    pub(super) begin: String,
    pub(super) bars: Vec<Bar>,
    /// All of it in words.
    pub(super) summary: String,
}

/// A minute or an hour: what came from the client stands on what came from the runtime.
pub(super) struct Bar {
    pub(super) x: u64,
    pub(super) width: u64,
    pub(super) runtime_y: u64,
    pub(super) runtime_height: u64,
    pub(super) client_y: u64,
    pub(super) client_height: u64,
    pub(super) title: String,
}

/// What is counted: its name, and both directions of it, from client and from runtime.
#[derive(Clone, Copy)]
struct Measure {
    both: fn(&Counts) -> (u64, u64),
    print: fn(u64) -> String,
}

const MESSAGES: Measure = Measure {
    both: |counts| (counts.messages_from_client, counts.messages_from_runtime),
    print: grouped,
};
const BYTES: Measure =
    Measure { both: |counts| (counts.bytes_from_client, counts.bytes_from_runtime), print: size };

/// The unit of a bar, and how many there are.
#[derive(Clone, Copy)]
struct Scale {
    unit: &'static str,
    count: u64,
}

impl Chart {
    /// Messages and bytes, of the last hour and the last day.
    pub(super) fn all(traffic: &Traffic, now: UnixMillis) -> Vec<Self> {
        let (minute, hour) = numbers(now);
        let by_minute = Scale { unit: "min", count: MINUTES };
        let by_hour = Scale { unit: "h", count: HOURS };
        let (minutes, hours) = (&traffic.minutes[..], &traffic.hours[..]);
        vec![
            Self::new("Messages, last hour", minutes, minute, by_minute, MESSAGES),
            Self::new("Bytes, last hour", minutes, minute, by_minute, BYTES),
            Self::new("Messages, last day", hours, hour, by_hour, MESSAGES),
            Self::new("Bytes, last day", hours, hour, by_hour, BYTES),
        ]
    }

    fn new(title: &'static str, spans: &[Span], now: u64, scale: Scale, what: Measure) -> Self {
        let Scale { unit, count } = scale;
        let Measure { both, print } = what;
        let values: Vec<(u64, (u64, u64))> = spans
            .iter()
            .filter(|span| span.number <= now && now - span.number < count)
            .map(|span| (now - span.number, both(&span.counts)))
            .collect();
        let sum = |(one, other): (u64, u64)| one.saturating_add(other);
        let peak = values.iter().map(|(_, value)| sum(*value)).max().unwrap_or(0);
        let total = values.iter().fold((0_u64, 0_u64), |all, (_, value)| {
            (all.0.saturating_add(value.0), all.1.saturating_add(value.1))
        });
        let step = WIDTH / count;
        let bar = |(ago, value): &(u64, (u64, u64))| {
            let whole = scaled(sum(*value), peak).max(1);
            let client_height = scaled(value.0, peak).min(whole);
            let ago_text = match ago {
                0 => "now".to_owned(),
                ago => format!("{ago} {unit} ago"),
            };
            Bar {
                x: (count - 1 - ago) * step,
                width: step - step.div_ceil(5),
                runtime_y: HEIGHT - (whole - client_height),
                runtime_height: whole - client_height,
                client_y: HEIGHT - whole,
                client_height,
                title: format!("{ago_text}: {} in, {} out", print(value.0), print(value.1)),
            }
        };
        let total = format!("{} in, {} out", print(total.0), print(total.1));
        let peak = print(peak);
        let one = if unit == "h" { "an hour" } else { "a minute" };
        Self {
            title,
            bars: values.iter().map(bar).collect(),
            begin: format!("{count} {unit} ago"),
            summary: format!("{title}: {total}; at most {peak} in {one}"),
            total,
            peak: format!("{peak} in {one}"),
        }
    }
}

fn scaled(value: u64, peak: u64) -> u64 {
    let scaled = u128::from(value) * u128::from(HEIGHT) / u128::from(peak.max(1));
    u64::try_from(scaled).unwrap_or(HEIGHT)
}

/// `GET /profile/traffic`
pub(super) async fn show(State(desk): At, Extension(identity): Owner) -> Answer {
    let running = desk.presence.connections(identity.tenant.id).await;
    let all = |spans: &[Span], ms_each: u64| -> Vec<Value> {
        let describe = |span: &Span| {
            let mut said = json!(span.counts);
            said["at"] = json!(UnixMillis(span.number.saturating_mul(ms_each)).to_string());
            said
        };
        spans.iter().map(describe).collect()
    };
    let said = json!({
        "minutes": all(&running.traffic.minutes, 60_000),
        "hours": all(&running.traffic.hours, 3_600_000),
        "incomplete": running.incomplete,
    });
    Ok(Private(StatusCode::OK, said))
}

#[cfg(test)]
mod tests;
