use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::Millis;

mod accounts;

const START: Millis = Millis(1_000_000);

fn budget(terms: Option<(u64, u64)>) -> Budget {
    let budget = Budget::new(1);
    budget.set(terms, Millis(0));
    budget
}

fn take_all(budget: &Budget, now: Millis) -> usize {
    (0..100_000).take_while(|_| budget.take(1, now).is_ok()).count()
}

#[test]
fn a_budget_gives_its_burst_and_then_its_rate() {
    let budget = budget(Some((10, 3)));
    let start = Millis(5_000);
    for _ in 0..3 {
        assert_eq!(budget.take(1, start), Ok(()));
    }
    assert_eq!(budget.take(1, start), Err(Millis(5_100)));
    assert_eq!(budget.take(1, Millis(5_099)), Err(Millis(5_100)));
    assert_eq!(budget.take(1, Millis(5_100)), Ok(()));
    assert_eq!(budget.take(1, Millis(5_100)), Err(Millis(5_200)));
    let passed = (0..10_000).filter(|ms| budget.take(1, Millis(6_000 + ms)).is_ok()).count();
    assert_eq!(passed, 3 + 99);
}

#[test]
fn a_minute_and_a_day_are_exact_to_the_message() {
    for (window_seconds, limit) in [(60, 5000), (60, 7), (86_400, 1000), (86_400, 86_399)] {
        let budget = Budget::new(window_seconds);
        budget.set(Some((limit, limit)), Millis(0));
        assert_eq!(take_all(&budget, START), limit as usize);
        let mut now = START;
        for number in 1..=2 * limit {
            let Err(from) = budget.take(1, now) else { panic!("{number} of {limit} too early") };
            assert!(budget.take(1, Millis(from.0 - 1)).is_err(), "{number} of {limit}");
            now = from;
            assert_eq!(budget.take(1, now), Ok(()), "{number} of {limit}");
            let exact = u128::from(number) * u128::from(window_seconds) * 1000;
            let due = START.0 + u64::try_from(exact.div_ceil(u128::from(limit))).unwrap();
            assert!(now.0.abs_diff(due) <= 1, "{number} of {limit}: {now:?}, not {due}");
        }
    }
}

#[test]
fn bytes_are_taken_together_or_not_at_all() {
    let budget = budget(Some((1000, 3000)));
    assert_eq!(budget.take(3000, START), Ok(()));
    assert_eq!(budget.take(0, START), Ok(()), "an empty message costs no bytes");
    let later = START.plus(Duration::from_secs(1));
    assert_eq!(budget.take(1001, later), Err(Millis(later.0 + 1)));
    assert_eq!(budget.take(1000, later), Ok(()));
    // More than there ever is at once: it takes a full budget, and the time of all its bytes.
    let full = later.plus(Duration::from_secs(3));
    assert_eq!(budget.take(9000, Millis(full.0 - 2)), Err(full));
    assert_eq!(budget.take(9000, full), Ok(()));
    assert_eq!(budget.take(1, full), Err(Millis(full.0 + 6001)));
}

#[test]
fn strangers_leave_a_quarter_of_the_connections() {
    let plan = |connections| Plan { connections, ..Plan::default() };
    let (stranger, owner) = (Grant::Anonymous, Grant::Password { fingerprint: 1 });
    for (all, public) in [(1, 1), (3, 3), (4, 3), (100, 75)] {
        assert_eq!(plan(Some(all)).connections_for(&stranger), Some(public));
        assert_eq!(plan(Some(all)).connections_for(&owner), Some(all));
    }
    assert_eq!(plan(None).connections_for(&stranger), None);
}

#[test]
fn a_fast_rate_without_a_burst_is_kept_by_a_slow_tick() {
    let budget = budget(Some((600_000, 1)));
    let mut passed = 0;
    for tick in 0..100 {
        while budget.take(1, Millis(10_000 + tick * 10)).is_ok() {
            passed += 1;
        }
    }
    assert!((594_000..=606_100).contains(&passed), "{passed}");
}

#[test]
fn a_spent_budget_stays_spent_whatever_becomes_of_its_rate() {
    let rates = [Some((1, 10)), Some((100, 10)), None, Some((1, 1)), Some((1000, 500)), None];
    for first in rates.into_iter().filter(Option::is_some) {
        let budget = budget(first);
        assert!(take_all(&budget, START) > 0);
        for next in rates.into_iter().chain([first]) {
            budget.set(next, START);
            match next {
                Some(_) => assert!(take_all(&budget, START) <= 1, "{first:?} {next:?}"),
                None => assert_eq!(take_all(&budget, START), 100_000),
            }
        }
    }
}

#[test]
fn a_changed_rate_counts_from_now_on() {
    let budget = budget(Some((1, 100)));
    assert_eq!(take_all(&budget, START), 100);
    // A plan that was made better need not wait for what the old one would have waited for.
    budget.set(Some((100, 100)), START);
    assert_eq!(budget.take(1, START), Err(START.plus(Duration::from_millis(10))));
    let passed = (1..=1000).filter(|ms| budget.take(1, Millis(START.0 + ms)).is_ok()).count();
    assert_eq!(passed, 100);
    let later = START.plus(Duration::from_secs(60));
    budget.set(Some((10, 4)), later);
    assert_eq!(take_all(&budget, later), 4, "it has come back, and is no more than the new burst");
    budget.set(None, later);
    assert_eq!(take_all(&budget, later), 100_000);
}

#[test]
fn half_a_budget_stays_half_a_budget() {
    let budget = budget(Some((1, 100)));
    for _ in 0..50 {
        assert_eq!(budget.take(1, START), Ok(()));
    }
    for _ in 0..20 {
        budget.set(Some((1000, 10)), START);
        budget.set(None, START);
        budget.set(Some((1, 100)), START);
    }
    assert_eq!(take_all(&budget, START), 50);
}

#[test]
fn a_budget_is_full_again_in_the_end() {
    let one = budget(Some((1, 10)));
    assert!(one.is_full(START) && one.is_untouched());
    assert_eq!(one.left(START), Some((10, START)));
    assert_eq!(take_all(&one, START), 10);
    assert_eq!(one.left(START), Some((0, START.plus(Duration::from_secs(10)))));
    assert_eq!(one.left(START.plus(Duration::from_secs(3))).map(|it| it.0), Some(3));
    assert!(!one.is_full(START.plus(Duration::from_millis(9_999))));
    assert!(one.is_full(START.plus(Duration::from_secs(10))));
    assert!(!one.is_untouched());
    let unlimited = budget(None);
    assert_eq!(take_all(&unlimited, START), 100_000);
    assert!(unlimited.is_full(START) && unlimited.is_untouched());
}

#[test]
fn earlier_plans_still_read() {
    let read = |text: &str| serde_json::from_str::<Plan>(text).map_err(|error| error.to_string());
    let quota = Some(Quota { limit: 50, burst: Some(2000) });
    for (over, now) in [
        ("", Over::Pace),
        (", \"over\": \"pause\"", Over::Pace),
        (", \"over\": \"close\"", Over::Close),
    ] {
        let text = format!("{{\"messages\": {{\"per_second\": 50, \"burst\": 2000{over}}}}}");
        let plan = Plan { messages_per_second: quota, over: now, ..Plan::default() };
        assert_eq!(read(&text).as_ref(), Ok(&plan));
        assert_eq!(read(&serde_json::to_string(&plan).unwrap()), Ok(plan));
    }
    let gold = "{\"messages_per_minute\":5000,\"bytes_per_day\":{\"limit\":10,\"burst\":3},\"over\":\"drop\"}";
    let plan = read(gold).unwrap();
    assert_eq!(serde_json::to_string(&plan).unwrap(), gold);
    assert!(plan.drops() && plan.check().is_ok());
    assert_eq!(plan.quota(Limit::MessagesPerMinute), Some(5000.into()));
    let both = "{\"messages\":{\"per_second\":1,\"burst\":1},\"over\":\"drop\"}";
    assert!(read(both).unwrap_err().contains("earlier form"));
    for wrong in ["{\"message\":1}", "{\"over\":\"never\"}", "{\"messages_per_day\":{\"limit\":1}}"]
    {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_plans_numbers_are_checked() {
    for limit in Limit::ALL {
        let plan = |quota: &str| -> Plan {
            serde_json::from_str(&format!("{{\"{}\":{quota}}}", limit.name())).unwrap()
        };
        assert_eq!(plan("1").quota(limit), Some(1.into()), "the name is the member's");
        for right in ["1", "1000000000000000", "{\"limit\":1,\"burst\":1000000000000000}"] {
            assert_eq!(plan(right).check(), Ok(()));
        }
        for wrong in ["0", "1000000000000001", "{\"limit\":1,\"burst\":0}"] {
            assert!(plan(wrong).check().unwrap_err().starts_with(limit.name()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Against the definition: over any span, no more than the burst and what came back in it; and
    /// whoever is refused may have it when he was told.
    #[test]
    fn no_span_gives_more_than_its_burst_and_its_rate(
        limit in 1_u64..5_000,
        burst in 1_u64..300,
        steps in prop::collection::vec((0_u64..400, 0_u64..40), 1..200),
    ) {
        let budget = Budget::new(60);
        budget.set(Some((limit, burst)), Millis(0));
        let mut now = START;
        let mut taken = Vec::new();
        for (pause_ms, units) in steps {
            now = Millis(now.0 + pause_ms);
            let units = units.min(burst);
            match budget.take(units, now) {
                Ok(()) => taken.push((now.0, units)),
                Err(from) => {
                    prop_assert!(from > now);
                    prop_assert!(budget.allows(units, from).is_ok());
                    prop_assert!(budget.allows(units, Millis(from.0 - 1)).is_err());
                }
            }
        }
        for first in 0..taken.len() {
            let mut sum = 0;
            for &(at, units) in &taken[first..] {
                sum += units;
                let back = (at - taken[first].0) as f64 * limit as f64 / 60_000.0;
                // The relay's tick may be given in advance, and a nanosecond rounds.
                let tick = 10.0 * limit as f64 / 60_000.0;
                prop_assert!(sum as f64 <= (burst as f64).max(1.0 + tick) + back + 0.001);
            }
        }
    }
}
