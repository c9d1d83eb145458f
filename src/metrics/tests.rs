use super::*;
use crate::refusal::OperatorRefusal;
use crate::row::Row;

#[test]
fn every_refusal_has_a_count_of_its_own() {
    let metrics = Metrics::default();
    let operators = OperatorRefusal::samples().into_iter().map(Refusal::Operator);
    let samples: Vec<Refusal> = Refusal::samples().into_iter().chain(operators).collect();
    for refusal in &samples {
        metrics.refusal(refusal);
    }
    for refusal in &samples {
        let alike = samples.iter().filter(|other| other.label() == refusal.label()).count() as u64;
        let counted = metrics.refusals().find(|(label, _)| *label == refusal.label());
        assert_eq!(counted, Some((refusal.label(), alike)));
    }
    let unused: Vec<_> = metrics.refusals().filter(|(_, count)| *count == 0).collect();
    assert_eq!(unused, [(OTHER, 0)], "and no label is left over");
}

#[test]
fn every_row_has_a_count_of_its_own() {
    let metrics = Metrics::default();
    let watch = Stopwatch::start(Micros(0));
    for row in Row::ALL {
        metrics.request(row.label(), 204, &watch, Micros(9));
    }
    metrics.request("", 599, &watch, Micros(9));
    for row in Row::ALL {
        assert!(metrics.requests().any(|it| it == ([row.label(), "2xx"], 1)), "{row:?}");
    }
    assert!(metrics.requests().any(|it| it == (["none", "5xx"], 1)));
    assert_eq!(metrics.answers().count(), Row::ALL.len() as u64 + 1);
}

#[test]
fn handshakes_are_counted_by_outcome_and_credential() {
    let metrics = Metrics::default();
    let mut watch = Stopwatch::start(Micros(0));
    metrics.handshake(Outcome::Refused, None, &watch, Micros(50));
    watch.pass(Phase::Auth, Micros(50));
    let password = Some(Grant::Password { fingerprint: 1 });
    metrics.handshake(Outcome::Switched, password, &watch, Micros(90));
    metrics.handshake(Outcome::Declined, Some(Grant::Anonymous), &watch, Micros(90));
    let counted: Vec<_> = metrics.handshakes().filter(|(_, count)| *count > 0).collect();
    assert_eq!(
        counted,
        [
            (["switched", "password"], 1),
            (["declined", "anonymous"], 1),
            (["refused", "unknown"], 1)
        ]
    );
    let counts: Vec<_> = metrics.phases().map(|(_, spans)| spans.count()).collect();
    assert_eq!(counts, [3, 2, 0, 0]);
    assert_eq!(metrics.whole().count(), 1);
}
