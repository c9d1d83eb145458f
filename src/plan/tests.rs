use std::time::Duration;

use super::*;

#[test]
fn a_budget_gives_its_burst_and_then_its_rate() {
    let budget = Budget::new(Some(Rate { per_second: 10, burst: 3, over: Over::Pause }));
    let start = Millis(5_000);
    for _ in 0..3 {
        assert_eq!(budget.take(start), Ok(()));
    }
    assert_eq!(budget.take(start), Err(Spent::Until(Millis(5_100))));
    assert_eq!(budget.take(Millis(5_099)), Err(Spent::Until(Millis(5_100))));
    assert_eq!(budget.take(Millis(5_100)), Ok(()));
    assert_eq!(budget.take(Millis(5_100)), Err(Spent::Until(Millis(5_200))));
    let passed = (0..10_000).filter(|ms| budget.take(Millis(6_000 + ms)).is_ok()).count();
    assert_eq!(passed, 3 + 99);
}

#[test]
fn strangers_leave_a_quarter_of_the_connections() {
    let plan = |connections| Plan { connections, message_bytes: None, messages: None };
    let (stranger, owner) = (Grant::Anonymous, Grant::Password { fingerprint: 1 });
    for (all, public) in [(1, 1), (3, 3), (4, 3), (100, 75)] {
        assert_eq!(plan(Some(all)).connections_for(&stranger), Some(public));
        assert_eq!(plan(Some(all)).connections_for(&owner), Some(all));
    }
    assert_eq!(plan(None).connections_for(&stranger), None);
}

#[test]
fn a_fast_rate_without_a_burst_is_kept_by_a_slow_tick() {
    let budget = Budget::new(Some(Rate { per_second: 600_000, burst: 1, over: Over::Pause }));
    let mut passed = 0;
    for tick in 0..100 {
        while budget.take(Millis(10_000 + tick * 10)).is_ok() {
            passed += 1;
        }
    }
    assert!((594_000..=606_100).contains(&passed), "{passed}");
}

#[test]
fn a_plan_that_closes_says_so() {
    let budget = Budget::new(Some(Rate { per_second: 1, burst: 1, over: Over::Close }));
    assert_eq!(budget.take(Millis(0)), Ok(()));
    assert_eq!(budget.take(Millis(0)), Err(Spent::Close));
}

const START: Millis = Millis(1_000_000);

fn rate(per_second: u32, burst: u32) -> Option<Rate> {
    Some(Rate { per_second, burst, over: Over::Pause })
}

fn take_all(budget: &Budget, now: Millis) -> usize {
    (0..100_000).take_while(|_| budget.take(now).is_ok()).count()
}

#[test]
fn a_spent_budget_stays_spent_whatever_becomes_of_its_rate() {
    let rates = [rate(1, 10), rate(100, 10), None, rate(1, 1), rate(1000, 500), rate(10, 1), None];
    for first in rates.into_iter().flatten() {
        let budget = Budget::new(Some(first));
        assert!(take_all(&budget, START) > 0);
        for next in rates.into_iter().chain([Some(first)]) {
            budget.set_rate(next, START);
            match next {
                Some(_) => assert!(take_all(&budget, START) <= 1, "{first:?} {next:?}"),
                None => assert_eq!(take_all(&budget, START), 100_000),
            }
        }
    }
}

#[test]
fn a_changed_rate_counts_from_now_on() {
    let budget = Budget::new(rate(1, 100));
    assert_eq!(take_all(&budget, START), 100);
    // A plan that was made better need not wait for what the old one would have waited for.
    budget.set_rate(rate(100, 100), START);
    assert_eq!(budget.take(START), Err(Spent::Until(START.plus(Duration::from_millis(10)))));
    let passed = (1..=1000).filter(|ms| budget.take(Millis(START.0 + ms)).is_ok()).count();
    assert_eq!(passed, 100);
    let later = START.plus(Duration::from_secs(60));
    budget.set_rate(rate(10, 4), later);
    assert_eq!(take_all(&budget, later), 4, "it has come back, and is no more than the new burst");
    budget.set_rate(None, later);
    assert_eq!(take_all(&budget, later), 100_000);
    budget.set_rate(Some(Rate { per_second: 10, burst: 4, over: Over::Close }), later);
    assert_eq!(budget.take(later), Err(Spent::Close));
}

#[test]
fn half_a_budget_stays_half_a_budget() {
    let budget = Budget::new(rate(1, 100));
    for _ in 0..50 {
        assert_eq!(budget.take(START), Ok(()));
    }
    for _ in 0..20 {
        budget.set_rate(rate(1000, 10), START);
        budget.set_rate(None, START);
        budget.set_rate(rate(1, 100), START);
    }
    assert_eq!(take_all(&budget, START), 50);
}

#[test]
fn a_budget_is_full_again_in_the_end() {
    let budget = Budget::new(rate(1, 10));
    assert!(budget.is_full(START) && budget.is_untouched());
    assert_eq!(take_all(&budget, START), 10);
    assert!(!budget.is_full(START.plus(Duration::from_millis(9_999))));
    assert!(budget.is_full(START.plus(Duration::from_secs(10))));
    assert!(!budget.is_untouched());
    let unlimited = Budget::new(None);
    assert_eq!(take_all(&unlimited, START), 100_000);
    assert!(unlimited.is_full(START) && unlimited.is_untouched());
}

/// Between two rates that both have room for all that comes, no message may meet a mixture of them.
#[test]
fn nobody_is_cut_off_by_a_change_between_two_rates_that_would_allow_it() {
    let closing = |per_second, burst| Some(Rate { per_second, burst, over: Over::Close });
    let budget = Budget::new(closing(1, 1_000_000));
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for number in 0..100_000 {
                        // In either rate's budget this is less than half.
                        assert_eq!(budget.take(START), Ok(()), "message {number}");
                    }
                })
            })
            .collect();
        while senders.iter().any(|sender| !sender.is_finished()) {
            budget.set_rate(closing(1_000_000, 1_000_000), START);
            budget.set_rate(closing(1, 1_000_000), START);
        }
    });
    let left = (0..1_000_000).take_while(|_| budget.take(START).is_ok()).count();
    assert!((700_000..=900_000).contains(&left), "{left}");
}
