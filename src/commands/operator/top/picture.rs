//! One picture of a server: text, and nothing of a terminal.

use serde_json::Value;

use super::super::print::{cell, plain};

/// How large it may be, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Of a line.
    pub columns: usize,
    /// Lines.
    pub rows: usize,
}

/// A part of the picture: a title, and lines below it, the most important first.
struct Section {
    title: String,
    lines: Vec<String>,
}

/// A column of a table: its title, whether it stands on the right, and what is in it.
type Column = (&'static str, bool, fn(&Value) -> String);

const SERVERS: &[Column] = &[
    ("SERVER", false, |it| text(it, "/host")),
    ("PID", true, |it| text(it, "/pid")),
    ("CONNECTIONS", true, |it| text(it, "/connections")),
    ("REQUESTS", true, |it| text(it, "/exchanges")),
    ("VERSION", false, |it| text(it, "/version")),
    ("LISTEN", false, |it| text(it, "/listen")),
    ("", false, |it| match (it["this"] == true, it["draining"] == true) {
        (true, false) => "this one".to_owned(),
        (true, true) => "this one, drains".to_owned(),
        (false, true) => "drains".to_owned(),
        (false, false) => String::new(),
    }),
];
const TENANTS: &[Column] = &[
    ("TENANT", false, |it| text(it, "/tenant")),
    ("CONNECTIONS", true, |it| text(it, "/connections")),
    ("REQUESTS", true, |it| text(it, "/exchanges")),
    ("MSG/S IN", true, |it| rate(it, "/from_client/messages_per_second")),
    ("OUT", true, |it| rate(it, "/from_runtime/messages_per_second")),
    ("BYTES/S IN", true, |it| rate(it, "/from_client/bytes_per_second")),
    ("OUT", true, |it| rate(it, "/from_runtime/bytes_per_second")),
];
const CONNECTIONS: &[Column] = &[
    ("CONNECTION", false, |it| text(it, "/id")),
    ("TENANT", false, |it| text(it, "/tenant")),
    ("MSG/S IN", true, |it| rate(it, "/from_client/messages_per_second")),
    ("OUT", true, |it| rate(it, "/from_runtime/messages_per_second")),
    ("BYTES/S IN", true, |it| rate(it, "/from_client/bytes_per_second")),
    ("OUT", true, |it| rate(it, "/from_runtime/bytes_per_second")),
    ("CLIENT", false, |it| text(it, "/client")),
    ("PATH", false, |it| text(it, "/path")),
];
const REFUSALS: &[Column] = &[
    ("REFUSED", false, |it| time(it, "/at")),
    ("STATUS", true, |it| text(it, "/status")),
    ("CODE", false, |it| text(it, "/code")),
    ("TENANT", false, |it| text(it, "/tenant")),
    ("CLIENT", false, |it| text(it, "/client")),
    ("PATH", false, |it| text(it, "/path")),
];

/// What was seen of the server at `server`, as lines without line ends, none longer and not more than
/// `size` has room for. `trouble` is why it is not of just now.
pub fn picture(server: &str, seen: &Value, trouble: Option<&str>, size: Size) -> Vec<String> {
    let head = head(server, seen, trouble);
    let mut lines: Vec<String> = head.iter().flat_map(|line| wrapped(line, size.columns)).collect();
    let sections = [
        section(SERVERS, &seen["replicas"]),
        section(TENANTS, &seen["stats"]["tenants"]),
        section(CONNECTIONS, &seen["stats"]["busiest"]),
        section(REFUSALS, &seen["refusals"]),
    ];
    let room = size.rows.saturating_sub(lines.len());
    for (section, shown) in sections.iter().zip(shares(&sections, room)) {
        if shown > 0 {
            lines.push(String::new());
            lines.push(section.title.clone());
            lines.extend(section.lines.iter().take(shown).cloned());
        }
    }
    lines.truncate(size.rows);
    lines.into_iter().map(|line| cut(&line, size.columns)).collect()
}

fn head(server: &str, seen: &Value, trouble: Option<&str>) -> Vec<String> {
    let (status, stats) = (&seen["status"], &seen["stats"]);
    let state = match (status["draining"] == true, status["ready"] == true) {
        (true, _) => "draining",
        (false, true) => "ready",
        (false, false) => "not ready",
    };
    let uptime = status["uptime_seconds"].as_u64().unwrap_or_default();
    let lost = trouble.map(|why| format!("NOT OF NOW: {}", plain(why)));
    let first = format!(
        "{}  {server}, {state}, up {}, registry {} ({} ms)",
        time(stats, "/at"),
        span(uptime),
        text(status, "/registry/standing"),
        text(status, "/registry/age_ms"),
    );
    let running = format!(
        "{} connections, {} requests; handshakes/s {}, requests/s {}, refusals/s {}",
        text(stats, "/connections"),
        text(stats, "/exchanges"),
        rate(stats, "/handshakes_per_second"),
        rate(stats, "/exchanges_per_second"),
        rate(stats, "/refusals_per_second"),
    );
    let passing = format!(
        "messages/s {} in, {} out; bytes/s {} in, {} out",
        rate(stats, "/from_client/messages_per_second"),
        rate(stats, "/from_runtime/messages_per_second"),
        rate(stats, "/from_client/bytes_per_second"),
        rate(stats, "/from_runtime/bytes_per_second"),
    );
    lost.into_iter().chain([first, running, passing]).collect()
}

fn section(columns: &[Column], rows: &Value) -> Section {
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| columns.iter().map(|(_, _, cell)| cell(row)).collect()).collect();
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| {
            let cells = cells.iter().map(|row| row[column].chars().count());
            cells.chain([columns[column].0.len()]).max().unwrap_or_default()
        })
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded =
            cells.zip(columns).zip(&widths).map(|((cell, column), width)| match column.1 {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let title = line(&mut columns.iter().map(|(title, ..)| *title));
    let lines = cells.iter().map(|row| line(&mut row.iter().map(String::as_str))).collect();
    Section { title, lines }
}

/// How many lines of each section are shown: in turns, until all is shown or no room is left. A section
/// without lines is not shown; one that is shown takes two lines more.
fn shares<const N: usize>(sections: &[Section; N], room: usize) -> [usize; N] {
    const AROUND: usize = 2;
    let mut shown = [0; N];
    let mut left = room;
    loop {
        let before = left;
        for (section, shown) in sections.iter().zip(&mut shown) {
            let needed = if *shown == 0 { AROUND + 1 } else { 1 };
            if *shown < section.lines.len() && needed <= left {
                *shown += 1;
                left -= needed;
            }
        }
        if left == before {
            return shown;
        }
    }
}

fn text(value: &Value, place: &str) -> String {
    cell(value.pointer(place))
}

/// The time of a moment, in UTC, without its day.
fn time(value: &Value, place: &str) -> String {
    let moment = text(value, place);
    match moment.split_once('T') {
        Some((_, time)) => time.to_owned(),
        None => moment,
    }
}

/// A number with at most three digits before its unit: thousands, millions, thousands of millions.
fn rate(value: &Value, place: &str) -> String {
    let number = value.pointer(place).and_then(Value::as_f64).unwrap_or_default();
    let units = [(1e9, "G"), (1e6, "M"), (1e3, "k")];
    // What would be rounded up to the next unit has that one already.
    let unit = units.into_iter().find(|(size, _)| number >= size * 0.9995);
    match unit {
        Some((size, unit)) => format!("{:.1}{unit}", number / size),
        None if number.fract() == 0.0 => format!("{number:.0}"),
        None => format!("{number:.1}"),
    }
}

/// A span of time in its two largest units.
fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// A line in as many lines as it takes, broken at spaces.
fn wrapped(line: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in line.split(' ') {
        match lines.last_mut() {
            Some(last) if last.chars().count() + 1 + word.chars().count() <= columns => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// As much of a line as there is room for.
fn cut(line: &str, columns: usize) -> String {
    match line.chars().count() <= columns {
        true => line.to_owned(),
        false => line.chars().take(columns.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests;
