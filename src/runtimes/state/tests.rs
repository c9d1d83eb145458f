use super::*;

fn slot() -> Slot {
    Slot::new(TenantId(1), &Username::parse("mike").unwrap())
}

fn ready() -> State {
    let place = Place::local(([127, 0, 0, 1], 1880).into(), None);
    State::Ready { place, since: Millis(0) }
}

#[test]
fn one_of_many_begins() {
    let slot = slot();
    let began = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| slot.begin(Millis(1)))).collect();
        threads.into_iter().map(|it| usize::from(it.join().unwrap())).sum::<usize>()
    });
    assert_eq!((began, slot.state()), (1, State::Starting));
}

#[test]
fn after_each_failure_it_takes_longer() {
    let slot = slot();
    for (restarts_max, expected_ms) in [(2, 1_000), (2, 2_000), (2, 4_000)] {
        slot.set(State::Starting);
        let failing = slot.fail("ended".to_owned(), restarts_max, Millis(0));
        slot.set(failing.clone());
        let State::Failing { until, restarts, failure } = failing else { unreachable!() };
        assert_eq!((until, restarts), (Millis(expected_ms), failure.count <= 2));
        assert!(!slot.begin(Millis(expected_ms - 1)));
        assert_eq!(slot.begin(Millis(expected_ms)), !restarts);
    }
    assert_eq!(backoff(40), BACKOFF_MAX);
    slot.recovered();
    let failing = slot.fail(String::new(), 0, Millis(0));
    assert!(matches!(failing, State::Failing { until: Millis(1_000), .. }));
}

#[test]
fn whoever_enters_keeps_it_awake() {
    let slot = slot();
    assert_eq!(slot.enter(Millis(5), true), None);
    slot.set(ready());
    assert!(slot.enter(Millis(7), true).is_some());
    assert!(slot.enter(Millis(8), false).is_some(), "but an editor that comes again does not");
    assert!(!slot.stop_if(|| slot.used_at() < Millis(7)));
    assert!(slot.stop_if(|| slot.used_at() == Millis(7)));
    assert_eq!((slot.state(), slot.enter(Millis(8), true)), (State::Stopping, None));
}
