//! The names in PromQL expressions.

use std::collections::BTreeSet;

/// What an expression selects: a metric's name, the labels that it names, and the selector itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Selector {
    pub name: String,
    pub labels: BTreeSet<String>,
    pub text: String,
}

/// An expression's selectors, and the labels that it groups by.
pub fn read(expression: &str) -> (Vec<Selector>, BTreeSet<String>) {
    let (mut selectors, mut groups) = (Vec::new(), BTreeSet::new());
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_digit() || first == '[' {
            // A number or a span, with its unit.
            let end = rest.find(|it: char| !it.is_ascii_alphanumeric() && !"[.".contains(it));
            rest = &rest[end.unwrap_or(rest.len())..];
        } else if is_part(first) {
            let end = rest.find(|it: char| !is_part(it)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            rest = match word {
                "by" | "without" | "on" | "ignoring" => {
                    let (list, behind) = behind.split_once(')').expect(expression);
                    let list = list.trim_start().strip_prefix('(').expect(expression);
                    groups.extend(list.split(',').map(|label| label.trim().to_owned()));
                    behind
                }
                "offset" => {
                    let span = behind.trim_start();
                    &span[span.find([' ', ')']).unwrap_or(span.len())..]
                }
                "and" | "or" | "unless" | "bool" => behind,
                _ if behind.trim_start().starts_with('(') || rest_is_group(behind) => behind,
                _ => {
                    let (labels, behind) = matchers(behind);
                    let length = rest.len() - behind.len();
                    let (name, text) = (word.to_owned(), rest[..length].to_owned());
                    selectors.push(Selector { name, labels, text });
                    behind
                }
            };
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    (selectors, groups)
}

fn is_part(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_:".contains(character)
}

/// Whether what stands before it is an aggregation, as in `sum by (row) (…)`.
fn rest_is_group(behind: &str) -> bool {
    ["by ", "by(", "without ", "without("].iter().any(|it| behind.trim_start().starts_with(it))
}

/// The labels in the braces that begin here, if any do, and what is behind them.
fn matchers(behind: &str) -> (BTreeSet<String>, &str) {
    let Some(inside) = behind.strip_prefix('{') else { return (BTreeSet::new(), behind) };
    let mut labels = BTreeSet::new();
    let mut rest = inside;
    loop {
        let end = rest.find(['=', '!']).expect(behind);
        labels.insert(rest[..end].trim_matches([',', ' ']).to_owned());
        let value = rest[end..].split_once('"').expect(behind).1;
        rest = value.split_once('"').expect(behind).1;
        if let Some(after) = rest.strip_prefix('}') {
            return (labels, after);
        }
    }
}

#[test]
fn names_and_labels_are_found() {
    let (selectors, groups) = read(
        "histogram_quantile(0.99, sum by (le, phase) (rate(a_bucket{b=~\"x.*}\", c!=\"d\"}[5m]))) > 1e3 \
         and up == 0 unless sum(c offset 10m) * on(job) e[1h30m]",
    );
    let found: Vec<_> = selectors.iter().map(|it| (it.name.as_str(), it.text.as_str())).collect();
    let first = "a_bucket{b=~\"x.*}\", c!=\"d\"}";
    assert_eq!(found, [("a_bucket", first), ("up", "up"), ("c", "c"), ("e", "e")]);
    assert_eq!(selectors[0].labels.iter().collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(groups.into_iter().collect::<Vec<_>>(), ["job", "le", "phase"]);
}
