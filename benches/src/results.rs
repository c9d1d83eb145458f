//! What was measured, as it is kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fault::{During, Fault, Result, fault};

/// One figure of one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reading {
    /// The case.
    pub case: String,
    /// What of the case.
    pub variant: String,
    /// Who was measured.
    pub target: String,
    /// What was measured, with its unit.
    pub metric: String,
    /// The figure.
    pub value: f64,
}

/// A whole run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// Whether this was only to see that everything works.
    pub quick: bool,
    /// Whether the machine was busy with something else when it began.
    pub is_busy: bool,
    /// When it began, in seconds since 1970.
    pub begun: u64,
    /// How long it took.
    pub seconds: f64,
    /// How often each was measured.
    pub rounds: usize,
    /// How many rounds of which case are done.
    pub rounds_done: BTreeMap<String, usize>,
    /// How long the slowest round of each case took.
    #[serde(default)]
    pub slowest_round_s: BTreeMap<String, f64>,
    /// Who was to be measured.
    pub targets: Vec<String>,
    /// The machine.
    pub machine: BTreeMap<String, String>,
    /// Versions of the targets.
    pub versions: BTreeMap<String, String>,
    /// How the targets are configured.
    pub configurations: BTreeMap<String, String>,
    /// Who was not measured, and why.
    pub skipped: Vec<String>,
    /// What went wrong.
    pub faults: Vec<String>,
    /// All figures, in the order in which they were measured.
    pub readings: Vec<Reading>,
}

/// The figures of all rounds together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The one in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

/// What was measured of one case and variant: a row for each target, a column for each metric.
pub struct Group<'a> {
    /// The case.
    pub case: &'a str,
    /// The variant.
    pub variant: &'a str,
    /// In the order in which they were first measured.
    pub metrics: Vec<&'a str>,
    /// In the order in which they were first measured.
    pub targets: Vec<&'a str>,
    figures: BTreeMap<(&'a str, &'a str), Vec<f64>>,
}

impl Group<'_> {
    /// The figures of a target; `None` where there are none.
    pub fn summary(&self, target: &str, metric: &str) -> Option<Summary> {
        let mut values = self.figures.get(&(target, metric))?.clone();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            1 => values[middle],
            _ => f64::midpoint(values[middle - 1], values[middle]),
        };
        Some(Summary { median, min: values[0], max: values[values.len() - 1] })
    }
}

impl Results {
    /// How many rounds of a case are done.
    pub fn rounds_of(&self, case: &str) -> usize {
        self.rounds_done.get(case).copied().unwrap_or_default()
    }

    /// A round is done, and took so long.
    pub fn end_round(&mut self, case: &str, round: usize, took: Duration) {
        self.rounds_done.insert(case.to_owned(), round);
        self.seconds += took.as_secs_f64();
        let slowest = self.slowest_round_s.entry(case.to_owned()).or_default();
        *slowest = slowest.max(took.as_secs_f64());
    }

    /// The readings by case and variant, in the order in which they were first measured.
    pub fn groups(&self) -> Vec<Group<'_>> {
        let mut groups: Vec<Group> = Vec::new();
        for reading in &self.readings {
            let known = groups
                .iter()
                .position(|group| group.case == reading.case && group.variant == reading.variant);
            let at = known.unwrap_or_else(|| {
                groups.push(Group {
                    case: &reading.case,
                    variant: &reading.variant,
                    metrics: Vec::new(),
                    targets: Vec::new(),
                    figures: BTreeMap::new(),
                });
                groups.len() - 1
            });
            let group = &mut groups[at];
            if !group.metrics.contains(&reading.metric.as_str()) {
                group.metrics.push(&reading.metric);
            }
            if !group.targets.contains(&reading.target.as_str()) {
                group.targets.push(&reading.target);
            }
            let figures = group.figures.entry((&reading.target, &reading.metric)).or_default();
            figures.push(reading.value);
        }
        // A target without a process has no CPU time, and may be the first.
        for group in &mut groups {
            group.metrics.sort_by_key(|metric| rank(metric));
        }
        groups
    }
}

/// Writes results as JSON, a line for each figure; whole or not at all.
pub fn save(results: &Results, path: &Path) -> Result<()> {
    let head = Results { readings: Vec::new(), ..results.clone() };
    let head = serde_json::to_string_pretty(&head)?;
    let lines: std::result::Result<Vec<String>, _> =
        results.readings.iter().map(serde_json::to_string).collect();
    let readings = format!("\"readings\": [\n    {}\n  ]", lines?.join(",\n    "));
    let text = head.replace("\"readings\": []", &readings);
    let new = path.with_extension("json.new");
    fs::write(&new, text + "\n").and_then(|()| fs::rename(&new, path)).during("the results")
}

/// Reads what [`save`] wrote.
pub fn load(path: &Path) -> Result<Results> {
    let text =
        fs::read_to_string(path).map_err(|error| Fault(format!("{}: {error}", path.display())))?;
    serde_json::from_str(&text).during("the results")
}

/// The results to go on from, if there are any.
///
/// # Errors
/// They are of a run of another kind, which must not be mixed with this.
pub fn earlier(
    path: &Path,
    quick: bool,
    rounds: usize,
    targets: &Vec<String>,
) -> Result<Option<Results>> {
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(error) => return Err(error).during("the earlier results"),
    }
    let earlier = load(path)?;
    match earlier.quick == quick && earlier.rounds == rounds && earlier.targets == *targets {
        true => Ok(Some(earlier)),
        false => fault(format!(
            "{} are of a run with other targets or rounds; begin anew",
            path.display()
        )),
    }
}

/// The proxy's own cost first, who was busy last.
fn rank(metric: &str) -> u8 {
    match metric {
        _ if metric.starts_with("CPU") || metric.contains(" added ") => 0,
        _ if metric.contains(" busy ") => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(target: &str, metric: &str, value: f64) -> Reading {
        Reading {
            case: "echo".into(),
            variant: "64 B".into(),
            target: target.into(),
            metric: metric.into(),
            value,
        }
    }

    #[test]
    fn the_rounds_of_a_target_are_one_row() {
        let values = [3.0, 1.0, 2.0];
        let readings =
            values.iter().flat_map(|value| [reading("b", "µs", *value), reading("a", "µs", 7.0)]);
        let results = Results { readings: readings.collect(), ..Results::default() };
        let groups = results.groups();
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].targets, ["b", "a"]);
        assert_eq!(groups[0].summary("b", "µs"), Some(Summary { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(groups[0].summary("b", "ms"), None);
    }

    #[test]
    fn what_was_saved_can_be_gone_on_from() {
        let path = std::env::temp_dir().join(format!("bench-results-{}.json", std::process::id()));
        let targets = vec!["a".to_owned()];
        assert!(earlier(&path, false, 5, &targets).unwrap().is_none());
        let mut results = Results { rounds: 5, targets: targets.clone(), ..Results::default() };
        for round in 1..=2 {
            results.readings.push(reading("a", "\"µs\": []", f64::from(round) / 3.0));
            results.end_round("echo", 1, Duration::from_secs(1));
        }
        results.end_round("echo", 2, Duration::from_millis(500));
        save(&results, &path).unwrap();
        let found = earlier(&path, false, 5, &targets).unwrap().unwrap();
        assert_eq!(found.rounds_of("echo"), 2);
        assert_eq!(found.rounds_of("http"), 0);
        assert!((found.seconds - 2.5).abs() < 1e-9);
        assert_eq!(found.slowest_round_s, BTreeMap::from([("echo".to_owned(), 1.0)]));
        let values: Vec<f64> = found.readings.iter().map(|reading| reading.value).collect();
        assert_eq!(values, [1.0 / 3.0, 2.0 / 3.0]);
        assert_eq!(found.readings[0].metric, "\"µs\": []");
        for (quick, rounds, targets) in
            [(true, 5, targets.clone()), (false, 6, targets), (false, 5, vec!["b".to_owned()])]
        {
            assert!(earlier(&path, quick, rounds, &targets).is_err());
        }
        fs::remove_file(&path).unwrap();
    }
}
