//! The part of a Markdown page that is made from the results; the rest of the page stays as it is.

use std::path::Path;

use super::{chart, table};
use crate::fault::{During, Result, fault};
use crate::results::Results;

const BEGIN: &str = "<!-- measured: begin; written by scripts/bench, not by hand -->";
const END: &str = "<!-- measured: end -->";

/// Writes charts into `folder` and tables between the marks of the page, which is made if it is not there.
pub fn write(results: &Results, page: &Path, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).during("a folder for charts")?;
    let mut charts = String::new();
    for (case, svg) in chart::all(results) {
        std::fs::write(folder.join(format!("{case}.svg")), svg).during("a chart")?;
        let folder = folder.file_name().unwrap_or_default().display().to_string();
        charts += &format!("![{case}]({folder}/{case}.svg)\n\n");
    }
    let text = match std::fs::read_to_string(page) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            format!("# Performance\n\n{BEGIN}\n{END}\n")
        }
        Err(error) => return Err(error).during("the page"),
    };
    let text = replace(&text, &section(results, &charts))?;
    std::fs::write(page, text).during("the page")
}

fn replace(page: &str, section: &str) -> Result<String> {
    let parts =
        page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    match parts {
        Some((before, after)) => Ok(format!("{before}{BEGIN}\n\n{section}{END}{after}")),
        None => fault("the page has no marks for what is measured"),
    }
}

/// What is between the marks.
fn section(results: &Results, charts: &str) -> String {
    let mut out = String::new();
    if results.quick {
        out += "**A smoke run: these figures mean nothing.**\n\n";
    }
    if results.is_busy {
        out += "**The machine was busy with something else: measure again on a quiet one.**\n\n";
    }
    out += &format!(
        "Medians of {} rounds (in brackets: smallest to largest), in {} s.\n\n",
        results.rounds, results.seconds
    );
    let rows = |rows: &std::collections::BTreeMap<String, String>| {
        rows.iter().map(|(name, value)| format!("| {name} | {value} |\n")).collect::<String>()
    };
    out += &format!("| machine | |\n| --- | --- |\n{}\n", rows(&results.machine));
    out += &format!("| target | version |\n| --- | --- |\n{}\n", rows(&results.versions));
    for line in &results.skipped {
        out += &format!("Not measured: {line}.\n\n");
    }
    for line in &results.faults {
        out += &format!("Failed: {}.\n\n", line.lines().next().unwrap_or_default());
    }
    out += charts;
    out + &table::all(results, "###")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let once = replace(&page, "new\n").unwrap();
        assert_eq!(once, format!("before\n{BEGIN}\n\nnew\n{END}\nafter\n"));
        assert_eq!(replace(&once, "new\n").unwrap(), once);
        assert!(replace("no marks", "new").is_err());
    }
}
