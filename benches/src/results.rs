//! What was measured, as it is kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
    pub seconds: u64,
    /// How often each was measured.
    pub rounds: usize,
    /// The machine.
    pub machine: BTreeMap<String, String>,
    /// Versions of the targets.
    pub versions: BTreeMap<String, String>,
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
}
