//! JSON lines: each field goes from its event straight into the line.

use std::cell::Cell;
use std::fmt::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::lines::Lines;

/// A thread does not keep more memory than this for its next line.
const KEPT_BYTES_MAX: usize = 16 * 1024;

thread_local! {
    static KEPT: Cell<Kept> = const { Cell::new(Kept { line: String::new(), second: Second::NONE }) };
}

/// What is left of a thread's last line.
#[derive(Default)]
struct Kept {
    /// Its memory.
    line: String,
    second: Second,
}

/// The second that a line was written in. The next one is mostly of the same.
#[derive(Default)]
struct Second {
    since_1970: Option<u64>,
    text: String,
}

impl Second {
    const NONE: Self = Self { since_1970: None, text: String::new() };

    /// Puts a time with its microseconds, as RFC 3339 has it.
    fn put(&mut self, line: &mut String, now: SystemTime) {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.since_1970.replace(now.as_secs()) != Some(now.as_secs()) {
            let second = UNIX_EPOCH + Duration::from_secs(now.as_secs());
            self.text.clear();
            let _ = write!(self.text, "{}", humantime::format_rfc3339_seconds(second));
        }
        line.push_str(self.text.trim_end_matches('Z'));
        line.push('.');
        for unit in [100_000, 10_000, 1000, 100, 10, 1] {
            // One digit.
            line.push(char::from(b'0' + (now.subsec_micros() / unit % 10) as u8));
        }
        line.push('Z');
    }
}

/// Makes an object of each event: the time, the level, the event's own fields, its module. There are
/// no spans to tell of.
pub(super) struct JsonLines(pub(super) Lines);

impl<S: Subscriber> Layer<S> for JsonLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Taken out, since what is printed might itself have something to log.
        let mut kept = KEPT.try_with(Cell::take).unwrap_or_default();
        kept.line.clear();
        put_line(&mut kept, event, SystemTime::now());
        self.0.put(kept.line.as_bytes(), *event.metadata().level());
        if kept.line.capacity() <= KEPT_BYTES_MAX {
            let _ = KEPT.try_with(|cell| cell.set(kept));
        }
    }
}

fn put_line(Kept { line, second }: &mut Kept, event: &Event<'_>, now: SystemTime) {
    let metadata = event.metadata();
    line.push_str("{\"timestamp\":\"");
    second.put(line, now);
    line.push_str("\",\"level\":\"");
    line.push_str(metadata.level().as_str());
    line.push('"');
    event.record(&mut Fields(line));
    // As with the names of fields.
    line.push_str(",\"target\":\"");
    line.push_str(metadata.target());
    line.push_str("\"}\n");
}

/// Names are those of fields in this program's own text: nothing in them has to be escaped.
fn put_name(line: &mut String, name: &str) {
    line.push_str(",\"");
    line.push_str(name);
    line.push_str("\":");
}

fn put_text(line: &mut String, name: &str, text: &str) {
    put_name(line, name);
    line.push('"');
    put_escaped(line, text);
    line.push('"');
}

/// The inside of a JSON string (RFC 8259 section 7).
fn put_escaped(line: &mut String, text: &str) {
    let mut rest = text;
    let is_special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    // Nearly always there is none, and to look at all of them takes less time than to stop at one.
    if !text.bytes().fold(false, |found, byte| found | is_special(byte)) {
        line.push_str(text);
        return;
    }
    while let Some(place) = rest.bytes().position(is_special) {
        let (plain, special) = rest.split_at(place);
        line.push_str(plain);
        let (special, behind) = special.split_at(1);
        match special {
            "\"" => line.push_str("\\\""),
            "\\" => line.push_str("\\\\"),
            "\n" => line.push_str("\\n"),
            "\r" => line.push_str("\\r"),
            "\t" => line.push_str("\\t"),
            other => {
                let code = other.bytes().next().unwrap_or_default();
                let _ = write!(line, "\\u{code:04x}");
            }
        }
        rest = behind;
    }
    line.push_str(rest);
}

/// Escapes what is written.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        put_escaped(self.0, text);
        Ok(())
    }
}

/// Writes an event's fields.
struct Fields<'a>(&'a mut String);

impl Fields<'_> {
    fn put_plain(&mut self, field: &Field, value: impl fmt::Display) {
        put_name(self.0, field.name());
        let _ = write!(self.0, "{value}");
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.put_plain(field, value),
            false => self.put_plain(field, "null"),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put_plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put_plain(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put_plain(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        put_text(self.0, field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        put_name(self.0, field.name());
        self.0.push('"');
        // One that fails to print itself leaves what it had printed.
        let _ = write!(Escaped(self.0), "{value:?}");
        self.0.push('"');
    }
}

#[cfg(test)]
mod tests;
