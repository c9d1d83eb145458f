//! Answers as tables for people, or as JSON for scripts.

use std::io::Write;

use serde_json::Value;

use crate::commands::Failure;

/// A column: its title, and where the value is.
pub type Column = (&'static str, &'static str);

/// Prints what a script reads.
pub fn json(value: &Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|error| Failure::runtime(error.to_string()))?;
    line(&text)
}

/// Prints one line.
pub fn line(text: &str) -> Result<(), Failure> {
    // Whoever reads it may have seen enough.
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::runtime(format!("cannot write: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints rows under titles.
pub fn table(columns: &[Column], rows: &[Value]) -> Result<(), Failure> {
    let titles = columns.iter().map(|(title, _)| (*title).to_owned()).collect();
    let cells = |row: &Value| columns.iter().map(|(_, place)| cell(row.pointer(place))).collect();
    let mut lines: Vec<Vec<String>> = vec![titles];
    lines.extend(rows.iter().map(cells));
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> =
        (0..columns.len()).map(|column| width(column).unwrap_or_default()).collect();
    for cells in lines {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let text: Vec<String> = padded.collect();
        line(text.join("  ").trim_end())?;
    }
    Ok(())
}

/// Prints one thing, a line for each member.
pub fn members(columns: &[Column], value: &Value) -> Result<(), Failure> {
    let width = columns.iter().map(|(title, _)| title.chars().count()).max().unwrap_or_default();
    for (title, place) in columns {
        line(&format!("{title:<width$}  {}", cell(value.pointer(place))))?;
    }
    Ok(())
}

/// A value in a line; control characters would be the terminal's to obey.
pub fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(is_so)) => (if *is_so { "yes" } else { "no" }).to_owned(),
        Some(Value::Array(values)) if values.is_empty() => "-".to_owned(),
        Some(Value::Array(values)) => {
            values.iter().map(|value| cell(Some(value))).collect::<Vec<_>>().join(",")
        }
        Some(other) => other.to_string(),
    };
    text.chars()
        .map(|character| if character.is_control() { '\u{fffd}' } else { character })
        .collect()
}
