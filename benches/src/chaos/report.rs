//! What there is to tell at the end.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flowgate_bench::fault::Result;

use crate::stage::Stage;

/// A line for whoever waits.
pub fn progress(line: &str) {
    // Who does not listen misses nothing but this.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints everything, keeps it beside the logs, and returns whether nothing was wrong.
pub fn conclude(stage: &Stage, more: &str) -> Result<bool> {
    let judge = &stage.judge;
    let (violations, untold) = judge.violations();
    let mut text = format!(
        "# Seed {}, {} connections, {:.0} s\n\n| what | how many |\n| --- | --- |\n| messages that came back | {} |\n",
        stage.settings.seed,
        stage.settings.connections,
        judge.elapsed().as_secs_f64(),
        stage.crowd.messages.load(Ordering::SeqCst),
    );
    for (what, count) in judge.counts() {
        text += &format!("| {what} | {count} |\n");
    }
    text += "\n| how long | times | p50 ms | p99 ms | most ms |\n| --- | --- | --- | --- | --- |\n";
    for (what, spans) in judge.spans() {
        let at = |share: f64| {
            let index = ((spans.len() - 1) as f64 * share) as usize;
            spans.get(index).map_or(0.0, |span: &Duration| span.as_secs_f64() * 1000.0)
        };
        text += &format!(
            "| {what} | {} | {:.1} | {:.1} | {:.1} |\n",
            spans.len(),
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
    text += &format!("\n{more}\n{} violations\n", violations.len() as u64 + untold);
    for violation in &violations {
        text += &format!(
            "{:7.2} s: {}: {}\n",
            violation.after.as_secs_f64(),
            violation.kind,
            violation.what
        );
    }
    std::fs::write(stage.settings.folder.join("report.md"), &text)?;
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(violations.is_empty())
}
