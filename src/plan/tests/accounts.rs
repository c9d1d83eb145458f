//! Several limits at once, several threads, several owners.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

fn account(plan: Plan) -> Account {
    Account::new(&plan, Share::default(), Millis(0))
}

fn messages(limit: u64, burst: u64) -> Option<Quota> {
    Some(Quota { limit, burst: Some(burst) })
}

#[test]
fn all_limits_must_allow_and_none_is_charged_in_vain() {
    let plan = Plan {
        messages_per_second: messages(10, 10),
        messages_per_day: messages(20, 20),
        bytes_per_minute: Some(1000.into()),
        ..Plan::default()
    };
    let account = account(plan);
    assert_eq!(account.take(Cost::message(600), START), Ok(()));
    let refused = account.take(Cost::message(600), START).unwrap_err();
    assert_eq!((refused.limit, refused.from.0), (Limit::BytesPerMinute, START.0 + 12_000));
    let left = |limit: Limit, now| {
        let standings = account.standings(now);
        standings.into_iter().find(|it| it.limit == limit).unwrap().left
    };
    assert_eq!(left(Limit::MessagesPerSecond, START), 9);
    assert_eq!(left(Limit::BytesPerMinute, START), 400);
    assert_eq!((0..100).filter(|_| account.take(Cost::message(1), START).is_ok()).count(), 9);
    let later = START.plus(Duration::from_secs(10));
    assert_eq!((0..100).filter(|_| account.take(Cost::message(1), later).is_ok()).count(), 10);
    let refused = account.take(Cost::message(1), later).unwrap_err();
    assert_eq!(refused.limit, Limit::MessagesPerDay, "the one that lasts longest is named");
    assert_eq!(account.used(), [20, 619, 0, 0]);
    // Neither handshakes nor requests have a limit.
    assert!((0..1000).all(|_| account.take(Cost::HANDSHAKE, later).is_ok()));
    assert!((0..1000).all(|_| account.take(Cost::REQUEST, later).is_ok()));
}

#[test]
fn what_was_given_back_can_be_taken_again() {
    let plan = Plan { handshakes_per_minute: Some(2.into()), ..Plan::default() };
    let account = account(plan);
    for _ in 0..10 {
        assert_eq!(account.take(Cost::HANDSHAKE, START), Ok(()));
        account.give_back(Cost::HANDSHAKE);
    }
    assert_eq!((0..9).filter(|_| account.take(Cost::HANDSHAKE, START).is_ok()).count(), 2);
    assert_eq!(account.used(), [0, 0, 2, 0]);
}

#[test]
fn two_owners_pay_both_or_neither() {
    let [tenant, subscriber] = [(3, 3), (1, 2)].map(|(limit, burst)| {
        account(Plan { messages_per_second: messages(limit, burst), ..Plan::default() })
    });
    let accounts = Accounts { tenant: Some(&tenant), subscriber: Some(&subscriber) };
    assert_eq!((0..9).filter(|_| accounts.take(Cost::message(1), START).is_ok()).count(), 2);
    assert_eq!(tenant.take(Cost::message(1), START), Ok(()), "the third is the tenant's still");
    assert!(tenant.take(Cost::message(1), START).is_err());
    assert!(Accounts::default().take(Cost::message(1), START).is_ok());
}

#[test]
fn two_owners_pay_for_many_or_neither_does() {
    let [tenant, subscriber] = [(9, 9), (5, 5)].map(|(limit, burst)| {
        account(Plan { messages_per_second: messages(limit, burst), ..Plan::default() })
    });
    let [both, turned] = [(&tenant, &subscriber), (&subscriber, &tenant)]
        .map(|(one, other)| Accounts { tenant: Some(one), subscriber: Some(other) });
    for accounts in [both, turned] {
        assert!(!accounts.take_many(Cost::messages(6, 600), START));
        assert_eq!([tenant.used(), subscriber.used()], [[0; 4]; 2]);
    }
    assert!(both.take_many(Cost::messages(5, 500), START));
    assert_eq!([tenant.used(), subscriber.used()], [[5, 0, 0, 0]; 2]);
    assert!(!turned.take_many(Cost::messages(1, 1), START));
    assert_eq!((0..9).filter(|_| tenant.take(Cost::message(1), START).is_ok()).count(), 4);
    assert!(Accounts::default().take_many(Cost::messages(1000, 1), START));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever asks for many first, and then for each, gets what they get who ask for each only. The rates
    /// are such that nothing is rounded.
    #[test]
    fn many_at_once_get_what_each_would_get(
        per_second in prop::sample::select(vec![1_u64, 2, 5, 10, 100, 1000]),
        burst in 1_u64..40,
        bytes in prop::option::of((prop::sample::select(vec![100_u64, 1000, 100_000]), 1_u64..20_000)),
        reads in prop::collection::vec((prop::collection::vec(0_u64..1000, 1..30), 0_u64..300), 1..40),
    ) {
        let plan = Plan {
            messages_per_second: messages(per_second, burst),
            bytes_per_second: bytes.and_then(|(limit, burst)| messages(limit, burst)),
            ..Plan::default()
        };
        let [many, each] = [account(plan.clone()), account(plan)];
        let mut now = START;
        for (read, after_ms) in reads {
            let one_by_one = |account: &Account| -> Vec<bool> {
                read.iter().map(|bytes| account.take(Cost::message(*bytes), now).is_ok()).collect()
            };
            let cost = Cost::messages(read.len() as u64, read.iter().sum());
            let given = match many.take_many(cost, now) {
                true => vec![true; read.len()],
                false => one_by_one(&many),
            };
            prop_assert_eq!(given, one_by_one(&each));
            prop_assert_eq!(many.used(), each.used());
            now = now.plus(Duration::from_millis(after_ms));
        }
    }
}

#[test]
fn threads_together_get_what_one_would_get() {
    let plan = Plan {
        messages_per_minute: messages(5000, 5000),
        messages_per_day: messages(100_000, 7000),
        bytes_per_day: Some(1_000_000.into()),
        over: Over::Drop,
        ..Plan::default()
    };
    let (account, passed) = (account(plan), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    if account.take(Cost::message(10), START).is_ok() {
                        passed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(passed.into_inner(), 5000);
    assert_eq!(account.used(), [5000, 50_000, 0, 0]);
}

/// Between two plans that both have room for all that comes, no message may meet a mixture of them.
#[test]
fn nobody_is_cut_off_by_a_change_between_two_plans_that_would_allow_it() {
    let plan = |limit| Plan {
        messages_per_second: messages(limit, 1_000_000),
        over: Over::Close,
        ..Plan::default()
    };
    let (slow, fast) = (plan(1), plan(1_000_000));
    let account = account(slow.clone());
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for number in 0..100_000 {
                        // In either's budget this is less than half.
                        assert_eq!(account.take(Cost::message(1), START), Ok(()), "{number}");
                    }
                })
            })
            .collect();
        while senders.iter().any(|sender| !sender.is_finished()) {
            account.follow(&fast, START);
            account.follow(&slow, START);
        }
    });
    let left = (0..1_000_000).take_while(|_| account.take(Cost::message(1), START).is_ok()).count();
    assert!((700_000..=900_000).contains(&left), "{left}");
}

/// One plan has no message left and paces; the other has bytes for all, and would close.
#[test]
fn nobody_is_refused_by_one_plan_and_treated_by_another() {
    let paces = Plan { messages_per_second: messages(1, 1), ..Plan::default() };
    let closes =
        Plan { bytes_per_day: Some(1_000_000_000.into()), over: Over::Close, ..Plan::default() };
    let account = account(paces.clone());
    assert_eq!(account.take(Cost::message(1), START), Ok(()));
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            for _ in 0..200_000 {
                if let Err(shortage) = account.take(Cost::message(1), START) {
                    let refused_by = (shortage.limit, shortage.over);
                    assert_eq!(refused_by, (Limit::MessagesPerSecond, Over::Pace));
                }
            }
        });
        while !sender.is_finished() {
            account.follow(&closes, START);
            account.follow(&paces, START);
        }
    });
}

#[test]
fn replicas_share_bursts_and_apart_also_rates() {
    let plan = Plan { messages_per_second: messages(30, 60), ..Plan::default() };
    for (share, burst, rate) in [
        (Share::default(), 60, 30),
        (Share { replicas: 3, is_apart: false }, 20, 30),
        (Share { replicas: 3, is_apart: true }, 20, 10),
        (Share { replicas: 100, is_apart: true }, 1, 1),
    ] {
        let account = Account::new(&plan, share, Millis(0));
        let takes =
            |now| (0..1000).take_while(|_| account.take(Cost::message(1), now).is_ok()).count();
        assert_eq!(takes(START), burst, "{share:?}");
        let mut passed = 0;
        for ms in 1..=1000 {
            passed += takes(Millis(START.0 + ms));
        }
        assert_eq!(passed, rate, "{share:?}");
    }
}

#[test]
fn what_others_gave_is_paid_off_before_more_is_given() {
    let plan = Plan { messages_per_second: messages(10, 10), ..Plan::default() };
    let account = Account::new(&plan, Share { replicas: 2, is_apart: false }, Millis(0));
    account.charge(Cost::new([25, 0, 0, 0]), START);
    let refused = account.take(Cost::message(1), START).unwrap_err();
    assert_eq!(refused.from.0, START.0 + 2_100, "a debt of 20, and one more");
    account.share(Share::default(), START);
    let refused = account.take(Cost::message(1), START).unwrap_err();
    assert_eq!(refused.from.0, START.0 + 2_100, "debts stay as they are");
    assert_eq!(account.used(), [0; 4], "it was used elsewhere");
}

#[test]
fn an_account_without_limits_keeps_nothing() {
    let account = account(Plan { connections: Some(3), message_bytes: Some(9), ..Plan::default() });
    assert!((0..1000).all(|_| account.take(Cost::message(u64::MAX), START).is_ok()));
    assert!(account.is_untouched() && account.standings(START).is_empty());
    assert_eq!((account.used(), account.throttled()), ([0; 4], Throttled::default()));
}
