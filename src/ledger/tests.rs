use super::*;

const MIKE: Option<TenantId> = Some(TenantId(1));
const ANN: Option<TenantId> = Some(TenantId(1 + PARTS as u128));

fn api(ledger: &Ledger, tenant: Option<TenantId>, number: u64) -> Arc<Cell> {
    ledger.cell(tenant, Some(ApiId(number)), Caller::Nobody, None)
}

#[test]
fn the_same_is_summed_up_at_the_same_place() {
    let ledger = Ledger::default();
    let consumer = Caller::Consumer(ConsumerId(7));
    let cells = [
        ledger.cell(MIKE, None, Caller::Nobody, None),
        ledger.cell(MIKE, None, Caller::Nobody, Some("gold")),
        ledger.cell(MIKE, Some(ApiId(7)), Caller::Nobody, Some("gold")),
        ledger.cell(MIKE, Some(ApiId(7)), consumer, Some("gold")),
        ledger.cell(MIKE, Some(ApiId(7)), Caller::Application(ApplicationId(7)), Some("gold")),
        ledger.cell(ANN, Some(ApiId(7)), consumer, Some("gold")),
    ];
    for (place, one) in cells.iter().enumerate() {
        let are_same = cells.iter().map(|other| Arc::ptr_eq(one, other));
        assert_eq!(are_same.filter(|is_same| *is_same).count(), 1, "{place}");
    }
    let again = ledger.cell(MIKE, Some(ApiId(7)), consumer, Some("gold"));
    assert!(Arc::ptr_eq(&again, &cells[3]));
    assert_eq!(ledger.len(), cells.len());
}

#[test]
fn a_tenant_has_so_many_and_one_for_the_rest() {
    let ledger = Ledger::with_limits(100, 3);
    let own: Vec<_> = (1..=3).map(|number| api(&ledger, MIKE, number)).collect();
    assert!(own.iter().all(|cell| cell.key().what != What::Other), "at the limit");
    let fourth = api(&ledger, MIKE, 4);
    assert_eq!(*fourth.key(), Key { tenant: MIKE, what: What::Other }, "one past it");
    assert!(Arc::ptr_eq(&fourth, &api(&ledger, MIKE, 5)));
    assert!(Arc::ptr_eq(&own[2], &api(&ledger, MIKE, 3)), "who has a place keeps it");
    assert_ne!(api(&ledger, ANN, 4).key().what, What::Other, "another's limit is their own");
    assert_eq!(ledger.len(), 4);
}

#[test]
fn all_together_have_so_many_and_one_for_the_rest() {
    let ledger = Ledger::with_limits(2, 2);
    let own = [api(&ledger, MIKE, 1), api(&ledger, MIKE, 2)];
    let anns = api(&ledger, ANN, 1);
    assert_eq!(*anns.key(), Key { tenant: None, what: What::Other });
    assert!(Arc::ptr_eq(&anns, &ledger.cell(None, None, Caller::Nobody, None)));
    assert_eq!(*api(&ledger, MIKE, 3).key(), Key { tenant: MIKE, what: What::Other });
    assert_eq!(ledger.len(), 2);
    drop(own);
    ledger.sweep();
    assert_eq!(ledger.len(), 0, "nothing was counted there");
    assert_ne!(api(&ledger, ANN, 1).key().what, What::Other, "there is room again");
}

#[test]
fn what_is_new_is_told_once() {
    let ledger = Ledger::default();
    let cell = api(&ledger, MIKE, 1);
    cell.add(Measure::Requests, 3);
    cell.add(Measure::Refusals, 1);
    let live = |messages: u64| {
        let mut sums = cell.sums();
        sums.add(Measure::MessagesFromClient, messages);
        sums
    };
    let news = ledger.news(&cell, &live(10));
    assert_eq!((news.get(Measure::Requests), news.messages()), (3, 10));
    assert!(ledger.news(&cell, &live(10)).is_nothing());
    // What has ended between two looks is seen neither here nor there for once.
    assert!(ledger.news(&cell, &live(4)).is_nothing());
    assert_eq!(ledger.news(&cell, &live(12)).messages(), 2);
}

#[test]
fn only_what_is_told_is_forgotten() {
    let ledger = Ledger::default();
    let cell = api(&ledger, MIKE, 1);
    ledger.sweep();
    assert_eq!(ledger.len(), 1, "somebody holds it");
    cell.add(Measure::Throttled, 1);
    drop(cell);
    ledger.sweep();
    assert_eq!(ledger.len(), 1, "it was not told yet");
    let news = {
        let cells = ledger.cells();
        let cell = &cells[0].1[0];
        ledger.news(cell, &cell.sums())
    };
    assert_eq!(news.get(Measure::Throttled), 1);
    ledger.sweep();
    assert_eq!(ledger.len(), 0);
}

#[test]
fn threads_lose_nothing_and_none_is_over_the_limit() {
    let ledger = Ledger::with_limits(5, 64);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let ledger = &ledger;
            scope.spawn(move || {
                for number in 0..1_000 {
                    let tenant = Some(TenantId(u128::from(number % 11) + thread));
                    api(ledger, tenant, number % 3).add(Measure::Requests, 1);
                    assert!(ledger.len() <= 5);
                }
            });
        }
    });
    let all = ledger.cells();
    let sums = all.iter().flat_map(|(_, cells)| cells).map(|cell| cell.sums());
    assert_eq!(sums.map(|sums| sums.get(Measure::Requests)).sum::<u64>(), 4_000);
}

#[test]
fn every_measure_has_a_place_a_name_and_a_letter_of_its_own() {
    for (place, measure) in Measure::ALL.into_iter().enumerate() {
        assert_eq!(measure as usize, place);
        assert_eq!(Measure::of_letter(measure.letter()), Some(measure));
        let named = Measure::ALL.iter().filter(|other| other.name() == measure.name());
        assert_eq!(named.count(), 1);
    }
}

#[test]
fn what_is_stored_is_read_again() {
    let (api, plan) = (Some(ApiId(0xab)), Some(Arc::from("Gold.=plan")));
    let all = [
        (What::Other, "*"),
        (What::Of { api: None, caller: Caller::Nobody, plan: None }, "-.-."),
        (
            What::Of { api, caller: Caller::Consumer(ConsumerId(1)), plan },
            "00000000000000ab.c0000000000000001.=Gold.=plan",
        ),
        (
            What::Of { api, caller: Caller::Application(ApplicationId(u64::MAX)), plan: None },
            "00000000000000ab.affffffffffffffff.",
        ),
    ];
    for (what, text) in all {
        assert_eq!(what.to_string(), text);
        assert_eq!(What::parse(text), Some(what));
    }
    for text in ["", "-", "-.-", "x.-.", "-.x.", "-.c1.", "-.-.gold", "ab.-."] {
        assert_eq!(What::parse(text), None, "{text}");
    }
}
