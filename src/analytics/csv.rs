//! Reports as CSV (RFC 4180), for spreadsheets, which obey some of what they read.

use super::report::Report;
use crate::ledger::Measure;

/// What the answer is.
pub const CONTENT_TYPE: &str = "text/csv; charset=utf-8; header=present";

/// A line for each group and moment, under a line of titles.
#[must_use]
pub fn write(report: &Report) -> String {
    let mut text = String::new();
    let titles = ["at", report.by.as_str(), "id"].into_iter();
    line(&mut text, titles.chain(Measure::ALL.map(Measure::name)));
    for group in &report.groups {
        for point in &group.points {
            let numbers = Measure::ALL.map(|measure| point.counts.told(measure).to_string());
            let id = group.id.as_deref().unwrap_or_default();
            let said = [point.at.as_str(), &group.name, id].into_iter();
            line(&mut text, said.chain(numbers.iter().map(String::as_str)));
        }
    }
    text
}

fn line<'a>(text: &mut String, cells: impl Iterator<Item = &'a str>) {
    for (place, cell) in cells.enumerate() {
        if place > 0 {
            text.push(',');
        }
        write_cell(text, cell);
    }
    text.push_str("\r\n");
}

/// A cell that no spreadsheet takes for a formula: those begin with one of a few characters, blanks
/// before them left out.
fn write_cell(text: &mut String, cell: &str) {
    let is_formula = cell.trim_start().starts_with(['=', '+', '-', '@', '|', '%'])
        || cell.starts_with(['\t', '\r', '\n']);
    let is_quoted = is_formula || cell.contains(['"', ',', '\r', '\n']) || cell.trim() != cell;
    if !is_quoted {
        return text.push_str(cell);
    }
    text.push('"');
    if is_formula {
        text.push('\'');
    }
    for character in cell.chars() {
        if character == '"' {
            text.push('"');
        }
        text.push(character);
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        for (cell, written) in [
            ("", ""),
            ("plain", "plain"),
            ("Zoë 日本", "Zoë 日本"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("two\r\nlines", "\"two\r\nlines\""),
            (" blank", "\" blank\""),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("  =1", "\"'  =1\""),
            ("\t=1", "\"'\t=1\""),
            ("=HYPERLINK(\"http://x\")", "\"'=HYPERLINK(\"\"http://x\"\")\""),
            ("12", "12"),
        ] {
            let mut text = String::new();
            write_cell(&mut text, cell);
            assert_eq!(text, written);
        }
    }
}
