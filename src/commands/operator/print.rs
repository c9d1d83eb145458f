//! Answers as tables for people, or as JSON for scripts.

use std::fmt::Write as _;
use std::io::Write;

use serde_json::Value;

use crate::commands::Failure;

/// A column: its title, and where the value is.
pub type Column = (&'static str, &'static str);

/// Prints what a script reads.
pub fn json(value: &Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|error| Failure::runtime(error.to_string()))?;
    line(&escaped(&text))
}

/// JSON of the same value that holds nothing for a terminal to obey. JSON itself escapes only what is
/// below the space.
pub fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        // Outside of strings, where nothing can be escaped, there is ASCII alone.
        if character < '\u{7f}' || !is_unseen(character) {
            text.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    text
}

/// Text for one line of a terminal.
pub fn plain(text: &str) -> String {
    text.chars().map(|it| if is_unseen(it) { '\u{fffd}' } else { it }).collect()
}

/// Control characters, which are the terminal's to obey, and those of Unicode's formats (Cf, Zl and Zp)
/// that turn the text around them, break it or hide in it.
fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
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

/// A value in a line.
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
    plain(&text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_that_is_printed_commands_a_terminal() {
        let harmful = "\u{1b}[2J\n\u{7f}\u{9b}31m\u{202e}\u{2066}\u{200b}\u{2028}\u{feff}\u{e0041}";
        let value = json!({ "path": harmful, "name": "Zoë 日本 \"ok\"" });
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let printed = escaped(&text);
            assert!(!printed.replace('\n', "").contains(is_unseen), "{printed:?}");
            assert!(printed.contains("Zoë 日本"), "{printed}");
            assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), value);
        }
        assert_eq!(cell(value.get("name")), "Zoë 日本 \"ok\"");
        let shown = cell(value.get("path"));
        assert_eq!(shown.chars().count(), harmful.chars().count());
        assert!(!shown.contains(is_unseen), "{shown:?}");
    }
}
