//! What was measured, for people: tables, charts, a section of a page.

pub mod chart;
pub mod page;
pub mod table;

use crate::cases::ALL as CASES;
use crate::results::{Group, Results};

/// What was measured, by case, in the order of the cases: a run may have been made in pieces.
pub fn cases(results: &Results) -> Vec<(&str, Vec<Group<'_>>)> {
    let mut cases: Vec<(&str, Vec<Group>)> = Vec::new();
    for group in results.groups() {
        match cases.iter_mut().find(|(case, _)| *case == group.case) {
            Some((_, groups)) => groups.push(group),
            None => cases.push((group.case, vec![group])),
        }
    }
    cases.sort_by_key(|(name, _)| CASES.iter().position(|case| case.name == *name));
    cases
}

/// What a case is about.
pub fn about(name: &str) -> &'static str {
    CASES.iter().find(|case| case.name == name).map_or("", |case| case.about)
}

/// A figure with as many digits as it deserves.
pub fn figure(value: f64) -> String {
    let size = value.abs();
    let text = match size {
        0.0..0.095 => format!("{value:.3}"),
        0.095..9.95 => format!("{value:.2}"),
        9.95..99.5 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    };
    let (number, fraction) =
        text.split_once('.').map_or((text.as_str(), ""), |(number, fraction)| (number, fraction));
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{grouped}{point}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::figure;

    #[test]
    fn a_figure_has_two_or_three_digits_that_count() {
        let figures = [0.0123, 1.234, 12.34, 123.4, 1_234.5, 1_234_567.0, -4.5];
        let expected = ["0.012", "1.23", "12.3", "123", "1,234", "1,234,567", "-4.50"];
        assert_eq!(figures.map(figure), expected);
    }
}
