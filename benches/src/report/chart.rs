//! Bar charts as SVG: one for each case, of its first figure, a bar for each target and a whisker from
//! the smallest to the largest.

use super::figure;
use crate::results::Group;

const WIDTH: f64 = 760.0;
const LABELS: f64 = 130.0;
const FIGURES: f64 = 70.0;
const ROW: f64 = 22.0;
const TITLE: f64 = 40.0;

/// A chart of a case.
pub fn of_groups(groups: &[Group]) -> String {
    let mut body = String::new();
    let mut top = 8.0;
    for group in groups {
        let Some(metric) = charted(group) else { continue };
        body += &format!(
            "<text class=\"title\" x=\"0\" y=\"{:.0}\">{}: {} ({} is better)</text>\n",
            top + 20.0,
            escape(group.variant),
            escape(metric),
            if metric.ends_with("/s") { "more" } else { "less" }
        );
        top += TITLE - 8.0;
        let rows: Vec<_> = group
            .targets
            .iter()
            .filter_map(|target| Some((*target, group.summary(target, metric)?)))
            .collect();
        let largest = rows.iter().map(|(_, summary)| summary.max).fold(f64::MIN_POSITIVE, f64::max);
        let scale = (WIDTH - LABELS - FIGURES) / largest;
        for (target, summary) in rows {
            let end = |value: f64| LABELS + (value.max(0.0) * scale);
            let (middle, is_own) = (top + ROW / 2.0, target.starts_with("flowgate"));
            body += &format!(
                "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
                 <rect class=\"{}\" x=\"{LABELS:.0}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.0}\"/>\
                 <path d=\"M{:.1} {middle:.1}H{:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
                LABELS - 8.0,
                middle + 4.5,
                escape(target),
                if is_own { "own" } else { "rival" },
                top + 3.0,
                end(summary.median) - LABELS,
                ROW - 6.0,
                end(summary.min),
                end(summary.max),
                end(summary.max) + 6.0,
                middle + 4.5,
                figure(summary.median)
            );
            top += ROW;
        }
        top += 8.0;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {:.0}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <style>.title{{font-weight:bold}}.own{{fill:#0b7285}}.rival{{fill:#adb5bd}}path{{stroke:#212529}}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n",
        top + 8.0
    )
}

/// The first figure that more than one target has, or else the first.
fn charted<'a>(group: &Group<'a>) -> Option<&'a str> {
    let has = |metric: &&&str| {
        group.targets.iter().filter(|target| group.summary(target, metric).is_some()).count()
    };
    let shared = group.metrics.iter().find(|metric| has(metric) > 1);
    shared.or(group.metrics.first()).copied()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Reading, Results};

    #[test]
    fn bars_are_as_long_as_figures_are_large() {
        let reading = |target: &str, value| Reading {
            case: "echo".into(),
            variant: "<64 B".into(),
            target: target.into(),
            metric: "µs".into(),
            value,
        };
        let readings = vec![reading("a", 10.0), reading("flowgate", 5.0)];
        let results = Results { readings, ..Results::default() };
        let chart = of_groups(&results.groups());
        assert!(chart.contains("&lt;64 B: µs (less is better)"));
        assert!(chart.contains("class=\"rival\" x=\"130\" y=\"43.0\" width=\"560.0\""), "{chart}");
        assert!(chart.contains("class=\"own\" x=\"130\" y=\"65.0\" width=\"280.0\""), "{chart}");
    }
}
