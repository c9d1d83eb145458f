//! A page of metrics, read strictly: OpenMetrics 1.0, or the text format 0.0.4 that came before it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::flowgate::{Flowgate, ask};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A family of series.
#[derive(Debug, Default)]
pub struct Family {
    pub kind: String,
    pub help: String,
    /// Without `le`.
    pub labels: BTreeSet<String>,
    has_samples: bool,
}

type Labels = BTreeMap<String, String>;

/// A page of metrics.
#[derive(Debug)]
pub struct Page {
    /// By the name in front of `_total`, `_info`, `_bucket`, `_sum` and `_count`.
    pub families: BTreeMap<String, Family>,
    pub samples: Vec<(String, Labels, f64)>,
}

/// Scrapes with further headers, each ending in CRLF: the whole answer.
pub fn ask_for(flowgate: &Flowgate, path: &str, headers: &str) -> String {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    ask(flowgate.admin, &request)
}

impl Page {
    /// Scrapes in the newer of the two formats.
    pub fn scrape(flowgate: &Flowgate, path: &str, token: &str) -> Self {
        let headers = format!(
            "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n\
             Authorization: Bearer {token}\r\n"
        );
        Self::read(&ask_for(flowgate, path, &headers))
    }

    /// Reads an answer to a scrape.
    pub fn read(answer: &str) -> Self {
        let (head, body) = answer.split_once("\r\n\r\n").expect(answer);
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        let content_type = head.lines().find_map(|line| line.strip_prefix("Content-Type: "));
        let is_open = match content_type.expect(head) {
            OPEN_METRICS => true,
            CLASSIC => false,
            other => panic!("{other}"),
        };
        let mut page = Self { families: BTreeMap::new(), samples: Vec::new() };
        let mut lines = body.strip_suffix('\n').expect("a last line's end").lines().peekable();
        let mut seen = HashSet::new();
        while let Some(line) = lines.next() {
            if line == "# EOF" {
                assert!(is_open && lines.peek().is_none(), "the end in the middle");
            } else if let Some(comment) = line.strip_prefix("# ") {
                page.describe(comment, is_open);
            } else {
                assert!(seen.insert(line.rsplit_once(' ').expect(line).0.to_owned()), "{line}");
                page.take_sample(line, is_open);
            }
        }
        assert_eq!(is_open, body.ends_with("\n# EOF\n"), "the end is marked");
        page.check_histograms();
        page
    }

    fn describe(&mut self, comment: &str, is_open: bool) {
        let [word, name, text] = comment.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
        assert!(is_name(name) && !text.trim().is_empty(), "{comment}");
        let name = match (is_open, name.strip_suffix("_total").or(name.strip_suffix("_info"))) {
            (false, Some(family)) => family,
            _ => name,
        };
        let family = self.families.entry(name.to_owned()).or_default();
        assert!(!family.has_samples, "{comment} comes behind its samples");
        match word {
            "HELP" => {
                assert!(family.help.is_empty(), "twice: {comment}");
                assert!(text.ends_with('.'), "no sentence: {comment}");
                text.clone_into(&mut family.help);
            }
            "TYPE" => {
                assert!(family.kind.is_empty(), "twice: {comment}");
                let kind = if name == "flowgate_build" { "info" } else { text };
                kind.clone_into(&mut family.kind);
            }
            "UNIT" => assert!(is_open && name.ends_with(&format!("_{text}")), "{comment}"),
            _ => panic!("{comment}"),
        }
    }

    fn take_sample(&mut self, line: &str, is_open: bool) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().expect(line);
        assert!(value.is_finite() && value >= 0.0, "{line}");
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, read_labels(labels.strip_suffix('}').expect(line))),
            None => (series, Labels::new()),
        };
        let suffixes: [(&str, &[&str]); 4] = [
            ("counter", &["_total"]),
            ("info", &["_info"]),
            ("histogram", &["_bucket", "_sum", "_count"]),
            ("gauge", &[""]),
        ];
        let family =
            suffixes.iter().flat_map(|(kind, ends)| ends.iter().map(move |end| (kind, end)));
        let mut family = family.filter_map(|(kind, end)| {
            let family = name.strip_suffix(end)?;
            let known = self.families.get(family).filter(|known| known.kind == *kind)?;
            Some((family.to_owned(), known))
        });
        let (family, _) = family.next().unwrap_or_else(|| panic!("of no family: {line}"));
        let family = self.families.get_mut(&family).unwrap();
        assert!(!family.help.is_empty(), "{line}");
        family.has_samples = true;
        let is_bucket = name.ends_with("_bucket");
        let known = labels.keys().filter(|label| !is_bucket || *label != "le").cloned();
        family.labels.extend(known);
        if let (true, Some(bound)) = (is_bucket, labels.get("le")) {
            assert!(bound == "+Inf" || bound.parse::<f64>().unwrap() > 0.0, "{line} {is_open}");
        }
        self.samples.push((name.to_owned(), labels, value));
    }

    /// Buckets rise with their bounds up to the count.
    fn check_histograms(&self) {
        let of = |family: &str, labels: &Labels, end: &str| {
            let name = format!("{family}{end}");
            let same =
                |other: &Labels| other.iter().filter(|(name, _)| *name != "le").eq(labels.iter());
            let found = self.samples.iter().filter(|(it, other, _)| *it == name && same(other));
            found.map(|(_, labels, value)| (labels.get("le").cloned(), *value)).collect::<Vec<_>>()
        };
        let counts = self.samples.iter().filter_map(|(name, labels, value)| {
            let family = name.strip_suffix("_count")?;
            (self.families.get(family)?.kind == "histogram").then_some((family, labels, *value))
        });
        let mut checked = 0;
        for (family, labels, count) in counts {
            let buckets = of(family, labels, "_bucket");
            assert!(buckets.len() > 2 && buckets.is_sorted_by_key(|(_, value)| *value), "{family}");
            assert_eq!(buckets.last(), Some(&(Some("+Inf".to_owned()), count)), "{family}");
            assert_eq!(of(family, labels, "_sum").len(), 1, "{family}");
            checked += 1;
        }
        assert!(checked > 5);
    }

    /// The one series of this name with at least these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has_all = |own: &Labels| {
            labels.iter().all(|(name, value)| own.get(*name).is_some_and(|own| own == value))
        };
        let mut found = self.samples.iter().filter(|(it, own, _)| it == name && has_all(own));
        let (_, _, value) = found.next().unwrap_or_else(|| panic!("no {name} {labels:?}"));
        assert!(found.next().is_none(), "several {name} {labels:?}");
        *value
    }

    /// The sum of all series of this name.
    pub fn sum(&self, name: &str) -> f64 {
        let found: Vec<f64> =
            self.samples.iter().filter(|(it, ..)| it == name).map(|(.., value)| *value).collect();
        assert!(!found.is_empty(), "no {name}");
        found.iter().sum()
    }
}

fn is_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    text.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit())
        && text.bytes().next().is_some_and(is_letter)
}

fn read_labels(text: &str) -> Labels {
    let mut labels = Labels::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, behind) = rest.split_once("=\"").expect(text);
        let (value, behind) = behind.split_once('"').expect(text);
        assert!(is_name(name) && !value.contains('\\'), "{text}");
        assert!(labels.insert(name.to_owned(), value.to_owned()).is_none(), "twice: {text}");
        rest = behind.strip_prefix(',').unwrap_or(behind);
        assert!(!rest.is_empty() || behind.is_empty(), "{text}");
    }
    labels
}
