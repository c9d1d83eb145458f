//! How a target is configured, as text for people.

use std::fs;
use std::path::Path;

use super::{Rival, Site, Tools};
use crate::fault::{During, Result};

/// The command and the configuration files of a rival at a site, without starting it. Paths below
/// `run` begin with `RUN`.
pub fn text(rival: Rival, tools: &Tools, site: &Site, run: &Path) -> Result<String> {
    let program = rival.program(tools)?;
    let launch = rival.launch(&program, site)?;
    let name = program.file_name().unwrap_or_default().display().to_string();
    let variables = launch.environment.iter().map(|(name, value)| format!("{name}={value}"));
    let words: Vec<String> = variables.chain([name]).chain(launch.arguments).collect();
    let mut out = format!("$ {}\n", words.join(" "));
    let mut files: Vec<_> = fs::read_dir(site.folder)
        .and_then(|entries| entries.map(|entry| entry.map(|it| it.path())).collect())
        .during("a configuration")?;
    files.sort();
    for path in files {
        // A registry is no text.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let name = path.file_name().unwrap_or_default().display().to_string();
        out += &format!("\n# {name}\n{}\n", readable(&text));
    }
    Ok(out.replace(&run.display().to_string(), "RUN"))
}

/// Without empty lines; JSON with line breaks.
fn readable(text: &str) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let pretty = parsed.and_then(|value| serde_json::to_string_pretty(&value).ok());
    let text = pretty.unwrap_or_else(|| text.to_owned());
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.collect::<Vec<_>>().join("\n")
}
