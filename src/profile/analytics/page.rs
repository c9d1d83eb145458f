//! Analytics as a page: pictures, and tables beside them that say the same.

use std::collections::BTreeMap;

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use http::header::HeaderMap;

use super::super::view::{grouped, size};
use crate::analytics::{By, Question, Report, Span, Step};
use crate::clock::UnixMillis;
use crate::ledger::{Measure, Sums};
use crate::web::{Assets, page};

/// The height of a picture; a bar of this height is the peak. As in the template's `viewBox`.
const HEIGHT: u64 = 100;
/// Of a step in a picture; a bar has eight of it. As in the template.
const STEP_WIDTH: u64 = 10;
/// Times that the page offers.
const SPANS: [(&str, &str); 4] =
    [("1h", "Hour"), ("24h", "Day"), ("7days", "Week"), ("30days", "30 days")];
const USUAL_SPAN: &str = "24h";

/// One picture: bars by time, each of two parts.
struct Chart {
    title: &'static str,
    parts: [&'static str; 2],
    totals: [String; 2],
    peak: String,
    width: u64,
    bars: Vec<Bar>,
    /// All of it in words.
    summary: String,
}

/// One step: the first part stands on the second.
struct Bar {
    x: u64,
    first_y: u64,
    first_height: u64,
    second_y: u64,
    second_height: u64,
    title: String,
}

/// A line of a table.
struct Row {
    name: String,
    /// Where there is more about it.
    link: Option<String>,
    cells: Vec<(&'static str, String)>,
}

/// Something to choose.
struct Choice {
    name: &'static str,
    link: String,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "analytics.html")]
struct AnalyticsPage {
    assets: Assets,
    username: String,
    kept_days: u32,
    from: String,
    to: String,
    /// What is told apart, as a heading.
    by: &'static str,
    /// The one API that it is about.
    only: Option<String>,
    everything: String,
    spans: Vec<Choice>,
    ways: Vec<Choice>,
    csv: String,
    json: String,
    incomplete: Vec<String>,
    charts: Vec<Chart>,
    titles: Vec<&'static str>,
    groups: Vec<Row>,
    times: Vec<Row>,
}

/// What is drawn: two numbers of each step, and how they are written.
struct Picture {
    title: &'static str,
    parts: [&'static str; 2],
    both: fn(&Sums) -> [u64; 2],
    write: fn(u64) -> String,
}

const PICTURES: [Picture; 5] = [
    Picture {
        title: "Messages",
        parts: ["from clients", "from the runtime"],
        both: |sums| {
            [sums.get(Measure::MessagesFromClient), sums.get(Measure::MessagesFromRuntime)]
        },
        write: grouped,
    },
    Picture {
        title: "Bytes",
        parts: ["from clients", "from the runtime"],
        both: |sums| [sums.get(Measure::BytesFromClient), sums.get(Measure::BytesFromRuntime)],
        write: size,
    },
    Picture {
        title: "Calls",
        parts: ["handshakes", "requests"],
        both: |sums| [sums.get(Measure::Handshakes), sums.get(Measure::Requests)],
        write: grouped,
    },
    Picture {
        title: "Trouble",
        parts: ["refused", "throttled"],
        both: |sums| [sums.get(Measure::Refusals), sums.get(Measure::Throttled)],
        write: grouped,
    },
    Picture {
        title: "Connection time",
        parts: ["all together", ""],
        both: |sums| [sums.told(Measure::ConnectionMs), 0],
        write: span_in_words,
    },
];

/// Draws a report.
pub(super) fn render(
    username: &str,
    report: &Report,
    question: &Question,
    headers: &HeaderMap,
) -> Response {
    let span = report.span;
    let mut times: BTreeMap<&str, Sums> = BTreeMap::new();
    for point in report.groups.iter().flat_map(|group| &group.points) {
        times.entry(&point.at).or_default().add_all(&point.counts);
    }
    let address = |by: By, last: Option<&str>, api: Option<&str>| {
        let time = match (last, &question.from, &question.to) {
            (Some(last), ..) => format!("last={last}"),
            (None, from, to) => {
                let last = question.last.as_deref().map(|last| ("last", last));
                let from = from.as_deref().map(|from| ("from", from));
                let to = to.as_deref().map(|to| ("to", to));
                let parts = [last, from, to].into_iter().flatten();
                let parts: Vec<String> =
                    parts.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
                if parts.is_empty() { format!("last={USUAL_SPAN}") } else { parts.join("&") }
            }
        };
        let api = api.map(|api| format!("&api={}", encoded(api))).unwrap_or_default();
        format!("?{time}&by={}{api}", by.as_str())
    };
    let (by, api) = (report.by, question.api.as_deref());
    let chosen = question.last.as_deref().unwrap_or(USUAL_SPAN);
    let is_chosen = |last: &str| question.from.is_none() && chosen == last;
    let spans = SPANS.map(|(last, name)| Choice {
        name,
        link: address(by, Some(last), api),
        is_chosen: is_chosen(last),
    });
    let ways = [By::Tenant, By::Api, By::Application, By::Plan].map(|way| Choice {
        name: heading(way),
        link: address(way, None, api),
        is_chosen: way == by,
    });
    let groups = report.groups.iter().map(|group| Row {
        name: group.name.clone(),
        link: group
            .id
            .as_deref()
            .filter(|_| by == By::Api)
            .map(|id| address(By::Application, None, Some(id))),
        cells: cells(&group.total),
    });
    let written = address(by, None, api);
    let analytics = AnalyticsPage {
        assets: Assets,
        username: username.to_owned(),
        kept_days: report.kept_days,
        from: moment(span.from, span.step),
        to: moment(span.to, span.step),
        by: heading(by),
        only: api.map(str::to_owned),
        everything: address(by, None, None),
        spans: spans.into(),
        ways: ways.into(),
        csv: format!("/profile/analytics.csv{written}"),
        json: format!("/profile/analytics{written}&format=json"),
        incomplete: report.incomplete.clone(),
        charts: PICTURES.iter().map(|picture| picture.draw(&times, span)).collect(),
        titles: cells(&Sums::default()).into_iter().map(|(title, _)| title).collect(),
        groups: groups.collect(),
        times: times
            .iter()
            .rev()
            .map(|(at, sums)| Row { name: (*at).to_owned(), link: None, cells: cells(sums) })
            .collect(),
    };
    page(StatusCode::OK, &analytics, headers, None)
}

fn heading(by: By) -> &'static str {
    match by {
        By::Tenant => "All",
        By::Api => "API",
        By::Application => "Application",
        By::Plan => "Plan",
    }
}

fn cells(sums: &Sums) -> Vec<(&'static str, String)> {
    let number = |measure| grouped(sums.get(measure));
    vec![
        ("Handshakes", number(Measure::Handshakes)),
        ("Requests", number(Measure::Requests)),
        ("Messages in", number(Measure::MessagesFromClient)),
        ("Messages out", number(Measure::MessagesFromRuntime)),
        ("Bytes in", unbroken(&size(sums.get(Measure::BytesFromClient)))),
        ("Bytes out", unbroken(&size(sums.get(Measure::BytesFromRuntime)))),
        ("Refused", number(Measure::Refusals)),
        ("Throttled", number(Measure::Throttled)),
        ("Connected", unbroken(&span_in_words(sums.told(Measure::ConnectionMs)))),
    ]
}

/// With its unit on the same line.
fn unbroken(text: &str) -> String {
    text.replace(' ', "\u{a0}")
}

impl Picture {
    fn draw(&self, times: &BTreeMap<&str, Sums>, span: Span) -> Chart {
        let Self { title, parts, both, write } = self;
        let steps = span.steps();
        let whole = |[first, second]: [u64; 2]| first.saturating_add(second);
        let peak = times.values().map(|sums| whole(both(sums))).max().unwrap_or(0);
        let mut totals = [0_u64; 2];
        let mut bars = Vec::new();
        for step in 0..steps {
            let at = UnixMillis(span.from.0 + step * span.step.ms());
            let Some(sums) = times.get(at.to_string().as_str()) else { continue };
            let values = both(sums);
            if whole(values) == 0 {
                continue;
            }
            totals = [0, 1].map(|place| totals[place].saturating_add(values[place]));
            let height = scaled(whole(values), peak).max(1);
            let first_height = scaled(values[0], peak).min(height);
            bars.push(Bar {
                x: step * STEP_WIDTH,
                first_y: HEIGHT - height,
                first_height,
                second_y: HEIGHT - (height - first_height),
                second_height: height - first_height,
                title: format!("{}: {}", moment(at, span.step), self.in_words(values)),
            });
        }
        let peak = format!("{} {}", write(peak), per(span.step));
        Chart {
            title,
            parts: *parts,
            totals: totals.map(write),
            summary: format!("{title}: {}; at most {peak}", self.in_words(totals)),
            peak,
            width: steps * STEP_WIDTH,
            bars,
        }
    }

    fn in_words(&self, values: [u64; 2]) -> String {
        let Self { parts, write, .. } = self;
        match parts[1] {
            "" => write(values[0]),
            second => format!("{} {}, {} {second}", write(values[0]), parts[0], write(values[1])),
        }
    }
}

fn per(step: Step) -> &'static str {
    match step {
        Step::Minute => "in a minute",
        Step::Hour => "in an hour",
        Step::Day => "in a day",
    }
}

fn scaled(value: u64, peak: u64) -> u64 {
    let scaled = u128::from(value) * u128::from(HEIGHT) / u128::from(peak.max(1));
    u64::try_from(scaled).unwrap_or(HEIGHT)
}

/// As people read moments of UTC, no closer than the step.
fn moment(at: UnixMillis, step: Step) -> String {
    let text = at.to_string().replace('T', " ");
    let length = if step == Step::Day { 10 } else { 16 };
    text.get(..length).unwrap_or(&text).to_owned()
}

/// As people read times.
fn span_in_words(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", grouped(seconds / 86_400)),
    }
}

/// For a query.
fn encoded(text: &str) -> String {
    const PLAIN: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(text, PLAIN).to_string()
}

#[cfg(test)]
mod tests;
