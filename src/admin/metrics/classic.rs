//! The text format from before OpenMetrics, version 0.0.4, for whoever does not ask for the newer one.
//!
//! The samples are the same. What differs is that a family is named as its samples are, that there are
//! no units, and that the end is not marked.

/// Turns a page of the one into a page of the other.
pub(super) fn from_open_metrics(page: &str) -> String {
    let mut classic = String::with_capacity(page.len());
    let mut help = None;
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = type_of(line) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                kind => ("", kind),
            };
            if let Some((_, text)) = help.take() {
                put(&mut classic, &["# HELP ", name, suffix, " ", text]);
            }
            put(&mut classic, &["# TYPE ", name, suffix, " ", kind]);
        } else if !line.starts_with('#') {
            put(&mut classic, &[line]);
        }
    }
    classic
}

fn type_of(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("# TYPE ")?.split_once(' ')
}

fn put(page: &mut String, parts: &[&str]) {
    page.extend(parts.iter().copied().chain(["\n"]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_named_as_their_samples() {
        let page = "# HELP a_seconds Some seconds.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
                    a_seconds_total{b=\"# TYPE x\"} 1.5\n# HELP b It is.\n# TYPE b info\n\
                    b_info{v=\"1\"} 1\n# HELP c Now.\n# TYPE c gauge\nc 3\n# EOF\n";
        let classic = "# HELP a_seconds_total Some seconds.\n# TYPE a_seconds_total counter\n\
                       a_seconds_total{b=\"# TYPE x\"} 1.5\n# HELP b_info It is.\n# TYPE b_info gauge\n\
                       b_info{v=\"1\"} 1\n# HELP c Now.\n# TYPE c gauge\nc 3\n";
        assert_eq!(from_open_metrics(page), classic);
    }
}
