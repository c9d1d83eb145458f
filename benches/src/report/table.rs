//! Tables in Markdown, which are tables on a terminal as well: median (smallest to largest).

use super::{about, cases, figure};
use crate::results::{Group, Results, Summary};

/// All tables, each case under a heading.
pub fn all(results: &Results) -> String {
    let of_case = |(case, groups): &(&str, Vec<Group>)| {
        format!("## {case}\n\n{}\n\n{}", about(case), of_groups(groups))
    };
    cases(results).iter().map(of_case).collect()
}

/// The tables of a case.
pub fn of_groups(groups: &[Group]) -> String {
    groups.iter().map(|group| of_group(group) + "\n").collect()
}

fn of_group(group: &Group) -> String {
    let mut rows = vec![vec![group.variant.to_owned()]];
    rows[0].extend(group.metrics.iter().map(|metric| (*metric).to_owned()));
    for target in &group.targets {
        let mut row = vec![(*target).to_owned()];
        row.extend(group.metrics.iter().map(|metric| {
            group.summary(target, metric).map_or(String::new(), |it| cell(metric, it))
        }));
        rows.push(row);
    }
    aligned(&rows)
}

/// Who was busy is only to tell what was the limit; it needs no spread.
fn cell(metric: &str, summary: Summary) -> String {
    let (median, min, max) = (figure(summary.median), figure(summary.min), figure(summary.max));
    if min == max || metric.contains(" busy ") {
        median
    } else {
        format!("{median} ({min} to {max})")
    }
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows[0].len();
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(3)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &[String]| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            let space = " ".repeat(width - cell.chars().count());
            if column == 0 { format!("{cell}{space}") } else { format!("{space}{cell}") }
        });
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule: Vec<String> =
        widths
            .iter()
            .enumerate()
            .map(|(column, width)| {
                if column == 0 { "-".repeat(*width) } else { format!("{}:", "-".repeat(width - 1)) }
            })
            .collect();
    let mut out = line(&rows[0]) + &line(&rule);
    out.extend(rows[1..].iter().map(|row| line(row)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Reading;

    #[test]
    fn a_table_has_a_row_for_each_target() {
        let reading = |target: &str, value| Reading {
            case: "echo".into(),
            variant: "64 B".into(),
            target: target.into(),
            metric: "CPU µs".into(),
            value,
        };
        let readings =
            vec![reading("a", 1.0), reading("a", 3.0), reading("a", 2.0), reading("bcd", 10.0)];
        let table = all(&Results { readings, ..Results::default() });
        let expected = "\
| 64 B |              CPU µs |
| ---- | ------------------: |
| a    | 2.00 (1.00 to 3.00) |
| bcd  |                10.0 |
";
        assert!(table.starts_with("## echo\n\nOne message"), "{table}");
        assert!(table.contains(expected), "{table}");
    }
}
