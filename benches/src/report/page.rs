//! The parts of a Markdown page that are made from the results; the rest of the page stays as it is.

use std::collections::BTreeMap;
use std::path::Path;

use super::{about, cases, chart, table};
use crate::fault::{During, Fault, Result};
use crate::results::Results;

/// A page that has nothing else in it.
const EMPTY: &str = "# Performance

<!-- machine: begin; written by scripts/bench, not by hand -->
<!-- machine: end -->

<!-- results: begin; written by scripts/bench, not by hand -->
<!-- results: end -->

<!-- targets: begin; written by scripts/bench, not by hand -->
<!-- targets: end -->
";

/// Writes charts into `folder` and what was measured between the marks of the page, which is made if it
/// is not there.
pub fn write(results: &Results, page: &Path, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).during("a folder for charts")?;
    for (case, groups) in cases(results) {
        let path = folder.join(format!("{case}.svg"));
        std::fs::write(path, chart::of_groups(&groups)).during("a chart")?;
    }
    let charts = folder.file_name().unwrap_or_default().display().to_string();
    let mut text = match std::fs::read_to_string(page) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => EMPTY.to_owned(),
        Err(error) => return Err(error).during("the page"),
    };
    let parts = [
        ("machine", machine(results)),
        ("results", measured(results, &charts)),
        ("targets", targets(results)),
    ];
    for (name, part) in parts {
        text = replace(&text, name, &part)?;
    }
    std::fs::write(page, text).during("the page")
}

/// The page with `part` between the marks of this name.
fn replace(page: &str, name: &str, part: &str) -> Result<String> {
    let find = || {
        let begin = page.find(&format!("<!-- {name}: begin"))?;
        let begin = begin + page[begin..].find("-->")? + "-->".len();
        let end = begin + page[begin..].find(&format!("<!-- {name}: end -->"))?;
        Some(format!("{}\n\n{part}{}", &page[..begin], &page[end..]))
    };
    find().ok_or_else(|| Fault(format!("the page has no marks for {name}")))
}

fn rows(rows: &BTreeMap<String, String>) -> String {
    rows.iter().map(|(name, value)| format!("| {name} | {value} |\n")).collect()
}

fn machine(results: &Results) -> String {
    let mut out = String::new();
    if results.quick {
        out += "**A smoke run: these figures mean nothing.**\n\n";
    }
    if results.is_busy {
        out += "**The machine was busy with something else: measure again on a quiet one.**\n\n";
    }
    out += &format!("| machine | |\n| --- | --- |\n{}\n", rows(&results.machine));
    out += &format!("{} figures in {:.0} minutes.", results.readings.len(), results.seconds / 60.0);
    for line in &results.faults {
        out += &format!("\n\nFailed: {}.", line.lines().next().unwrap_or_default());
    }
    out + "\n\n"
}

fn measured(results: &Results, charts: &str) -> String {
    let of_case = |(case, groups): (&str, Vec<_>)| {
        let (about, rounds) = (about(case), results.rounds_of(case));
        let tables = table::of_groups(&groups);
        format!(
            "### {case}\n\n{about}\n\nMedians of {rounds} rounds (in brackets: smallest to largest).\n\n\
             ![{case}]({charts}/{case}.svg)\n\n{tables}"
        )
    };
    cases(results).into_iter().map(of_case).collect()
}

fn targets(results: &Results) -> String {
    let mut out = format!("| target | version |\n| --- | --- |\n{}\n", rows(&results.versions));
    for line in &results.skipped {
        out += &format!("Not measured: {line}.\n\n");
    }
    for (name, text) in &results.configurations {
        out += &format!(
            "<details><summary>{name}</summary>\n\n```text\n{}\n```\n\n</details>\n\n",
            text.trim_end()
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = EMPTY.replace("# Performance", "before") + "after\n";
        let once = replace(&page, "results", "new\n").unwrap();
        assert!(once.starts_with("before\n") && once.ends_with("after\n"), "{once}");
        assert!(once.contains("by hand -->\n\nnew\n<!-- results: end -->"), "{once}");
        assert_eq!(replace(&once, "results", "new\n").unwrap(), once);
        assert!(replace("no marks", "results", "new").is_err());
    }

    #[test]
    fn a_page_has_all_that_was_measured() {
        let folder = std::env::temp_dir().join(format!("bench-page-{}", std::process::id()));
        let reading = crate::results::Reading {
            case: "echo".into(),
            variant: "64 B".into(),
            target: "a".into(),
            metric: "µs".into(),
            value: 12.3,
        };
        let mut results = Results { readings: vec![reading], ..Results::default() };
        results.configurations.insert("a".into(), "$ a --b\n".into());
        results.end_round("echo", 1, std::time::Duration::ZERO);
        let page = folder.join("page.md");
        for _ in 0..2 {
            write(&results, &page, &folder.join("charts")).unwrap();
        }
        let text = std::fs::read_to_string(&page).unwrap();
        for expected in ["### echo", "](charts/echo.svg)", "| a    | 12.3 |", "$ a --b\n```"] {
            assert_eq!(text.matches(expected).count(), 1, "{expected}: {text}");
        }
        assert!(folder.join("charts/echo.svg").is_file());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
