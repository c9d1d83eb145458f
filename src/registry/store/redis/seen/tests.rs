use super::*;

fn mark(revision: u64, tag: &str) -> Mark {
    Mark { revision, tag: tag.to_owned() }
}

fn seen() -> Seen {
    let mut seen = Seen::new("epoch".to_owned(), mark(3, "c"), Some(mark(2, "b")));
    assert!(seen.learn(&mark(5, "e"), None));
    seen
}

#[test]
fn the_floor_is_what_was_confirmed() {
    let mut seen = seen();
    assert_eq!((&seen.last, &seen.floor), (&mark(5, "e"), &mark(2, "b")));
    assert!(!seen.learn(&mark(4, "d"), Some(&mark(4, "d"))));
    assert_eq!((&seen.last, &seen.floor), (&mark(5, "e"), &mark(4, "d")));
    assert!(!seen.learn(&mark(5, "e"), Some(&mark(3, "c"))));
    assert_eq!(seen.floor, mark(4, "d"));
    assert!(seen.confirm(&mark(5, "e"), 0));
    assert!(seen.confirm(&mark(3, "c"), 0));
    assert_eq!(seen.floor, mark(5, "e"));
    // Who says nothing of it has everything confirmed.
    assert_eq!(Seen::new("epoch".to_owned(), mark(3, "c"), None).floor, mark(3, "c"));
}

#[test]
fn a_tail_is_given_up_once_and_the_floor_stays() {
    let mut seen = seen();
    let asked_with = seen.clone();
    assert_eq!(asked_with.at_floor().last, mark(2, "b"));
    let lost = seen.rewind(&asked_with, &mark(4, "other"), Some(&mark(1, "a")));
    assert_eq!(lost, Some(mark(5, "e")));
    assert_eq!((&seen.last, &seen.floor, seen.history), (&mark(4, "other"), &mark(2, "b"), 1));
    // Whoever found it as well comes too late.
    assert_eq!(seen.rewind(&asked_with, &mark(3, "c"), None), None);
    assert_eq!(seen.last, mark(4, "other"));
}

#[test]
fn what_was_made_in_a_lost_history_is_not_confirmed() {
    let mut seen = seen();
    let asked_with = seen.clone();
    seen.rewind(&asked_with, &mark(2, "b"), None).unwrap();
    assert!(!seen.confirm(&mark(5, "e"), asked_with.history));
    assert_eq!(seen.floor, mark(2, "b"));
}

#[test]
fn a_floor_that_rose_meanwhile_is_looked_at_again() {
    let mut seen = seen();
    let asked_with = seen.clone();
    assert!(seen.confirm(&mark(5, "e"), 0));
    assert_eq!(seen.rewind(&asked_with, &mark(2, "b"), None), None);
    assert_eq!((&seen.last, seen.history), (&mark(5, "e"), 0));
}
