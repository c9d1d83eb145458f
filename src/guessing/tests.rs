use super::count::{ADDRESS_FREE, FORGOTTEN_AFTER, FREE, WAIT_MAX};
use super::*;

const HERE: &str = "192.0.2.7";
const ELSEWHERE: &str = "198.51.100.1";

fn guess(name: &str, from: &str, mark: u64) -> Guess {
    Guess::new(Claim { name, client: from.parse().unwrap() }, mark)
}

fn at(seconds: u64) -> Millis {
    Millis(1_000_000 + seconds * 1000)
}

fn attempt(guessing: &Arc<Guessing>, guess: Guess, now: Millis) -> Option<Attempt> {
    match guessing.rule(guess, false, now) {
        Ruling::Look(attempt) => Some(attempt),
        Ruling::Wrong => panic!("it was wrong before"),
        Ruling::Later(_) => None,
    }
}

/// One more wrong password, which must be looked at.
fn fail(guessing: &Arc<Guessing>, name: &str, from: &str, mark: u64, now: Millis) {
    let attempt = attempt(guessing, guess(name, from, mark), now);
    attempt.unwrap_or_else(|| panic!("{name} from {from}: password {mark}")).settle(false, now);
}

fn wait(guessing: &Arc<Guessing>, name: &str, from: &str, now: Millis) -> u64 {
    let wait = guessing.wait(&guess(name, from, u64::MAX), now);
    wait.map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap())
}

#[test]
fn after_the_free_failures_each_waits_twice_as_long() {
    let guessing = Arc::<Guessing>::default();
    let (mut now, mut waits) = (at(0), Vec::new());
    for mark in 0..u64::from(FREE) - 1 {
        fail(&guessing, "mike", HERE, mark + 1, now);
        assert_eq!(wait(&guessing, "mike", HERE, now), 0);
    }
    for mark in 100..113 {
        fail(&guessing, "mike", HERE, mark, now);
        let ms = wait(&guessing, "mike", HERE, now);
        waits.push(ms / 1000);
        let open = now.plus(Duration::from_millis(ms));
        assert!(attempt(&guessing, guess("mike", HERE, 7), Millis(open.0 - 1)).is_none());
        now = open;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]);
}

#[test]
fn nobody_else_waits_for_it() {
    let guessing = Arc::<Guessing>::default();
    for mark in 0..u64::from(FREE) {
        fail(&guessing, "mike", "2001:db8::1:2:3:4", mark + 1, at(0));
    }
    assert_eq!(wait(&guessing, "mike", "2001:db8::1:2:3:4", at(0)), 1000);
    assert_eq!(wait(&guessing, "mike", "2001:db8::ffff", at(0)), 1000, "the same /64");
    assert_eq!(wait(&guessing, "mike", "2001:db8:0:1::", at(0)), 0);
    assert_eq!(wait(&guessing, "mike", HERE, at(0)), 0);
    assert_eq!(wait(&guessing, "roberto", "2001:db8::1:2:3:4", at(0)), 0);
}

#[test]
fn attempts_under_way_count() {
    let guessing = Arc::<Guessing>::default();
    let mut under_way: Vec<Attempt> =
        (1..=5).map_while(|mark| attempt(&guessing, guess("mike", HERE, mark), at(0))).collect();
    assert_eq!(under_way.len(), FREE as usize);
    assert!(attempt(&guessing, guess("mike", HERE, 6), at(0)).is_none());
    drop(under_way.pop());
    assert!(attempt(&guessing, guess("mike", HERE, 6), at(0)).is_some(), "nothing came of one");
    for attempt in under_way {
        attempt.settle(false, at(0));
    }
    fail(&guessing, "mike", HERE, 8, at(0));
    let first = attempt(&guessing, guess("mike", HERE, 9), at(1));
    assert!(first.is_some());
    assert!(attempt(&guessing, guess("mike", HERE, 10), at(1)).is_none(), "one at a time");
    assert!(attempt(&guessing, guess("mike", ELSEWHERE, 10), at(1)).is_some());
    drop(first);
    assert!(lock(&guessing.pending).is_empty());
}

#[test]
fn the_same_wrong_password_again_is_no_guess_and_makes_no_other_wait() {
    let guessing = Arc::<Guessing>::default();
    let stale = guess("mike", HERE, 1);
    fail(&guessing, "mike", HERE, 1, at(0));
    let mut answers = Vec::new();
    for second in 0..20 {
        answers.push(match guessing.rule(stale, false, at(second)) {
            Ruling::Wrong => 0,
            Ruling::Later(wait) => wait.as_secs(),
            Ruling::Look(_) => panic!("it was looked at twice"),
        });
    }
    let expected = [0, 0, 0, 0, 0, 1, 0, 3, 2, 1, 0, 7, 6, 5, 4, 3, 2, 1, 0, 15];
    assert_eq!(answers[..4], [0; 4], "{answers:?}");
    assert_eq!(answers[4..], expected[4..], "{answers:?}");
    // A device with an old password does not stand between its owner and the new one.
    assert_eq!(wait(&guessing, "mike", HERE, at(20)), 0);
    attempt(&guessing, guess("mike", HERE, 2), at(20)).unwrap().settle(true, at(20));
    assert!(attempt(&guessing, stale, at(20)).is_some(), "all is forgotten");
}

#[test]
fn the_right_password_begins_anew_but_not_for_the_address() {
    let guessing = Arc::<Guessing>::default();
    for mark in 0..u64::from(FREE) {
        fail(&guessing, "mike", HERE, mark + 1, at(0));
    }
    attempt(&guessing, guess("mike", HERE, 50), at(1)).unwrap().settle(true, at(1));
    assert_eq!(wait(&guessing, "mike", HERE, at(1)), 0);
    assert_eq!(guessing.tries(&guess("mike", HERE, 0), at(1)), FREE);
    assert!(guessing.is_known(&guess("mike", HERE, 0), at(1)));
    assert!(!guessing.is_known(&guess("mike", ELSEWHERE, 0), at(1)));
    assert!(!guessing.is_known(&guess("mike", HERE, 0), at(1).plus(KNOWN_FOR)));
}

#[test]
fn an_address_has_few_failures_over_all_names_but_known_ones_do_not_wait_for_it() {
    let guessing = Arc::<Guessing>::default();
    attempt(&guessing, guess("mike", HERE, 1), at(0)).unwrap().settle(true, at(0));
    for name in 0..ADDRESS_FREE {
        fail(&guessing, &format!("name-{name}"), HERE, 1, at(0));
    }
    assert_eq!(wait(&guessing, "roberto", HERE, at(0)), 10_000);
    assert_eq!(wait(&guessing, "roberto", HERE, at(9)), 1000);
    assert_eq!(wait(&guessing, "roberto", HERE, at(10)), 0);
    assert_eq!(wait(&guessing, "roberto", ELSEWHERE, at(0)), 0);
    assert_eq!(wait(&guessing, "mike", HERE, at(0)), 0, "it is their address");
    fail(&guessing, "roberto", HERE, 1, at(10));
    assert_eq!(wait(&guessing, "anna", HERE, at(10)), 10_000, "one every ten seconds");
    // What is forgiven still says whose turn it is not.
    let tries = |now| guessing.tries(&guess("anna", HERE, 0), now);
    assert_eq!(tries(at(600)), ADDRESS_FREE + 1);
    assert_eq!(tries(at(10).plus(count::FORGOTTEN_AFTER)), 0);
}

#[test]
fn who_was_right_lately_is_looked_at_in_any_case() {
    let guessing = Arc::<Guessing>::default();
    for mark in 0..u64::from(FREE) {
        fail(&guessing, "mike", HERE, mark + 1, at(0));
    }
    let Ruling::Look(attempt) = guessing.rule(guess("mike", HERE, 99), true, at(0)) else {
        panic!("a remembered password has to wait")
    };
    attempt.settle(true, at(0));
    assert!(guessing.is_known(&guess("mike", HERE, 0), at(0)));
    // It gives no guesses back to whoever shares the address.
    assert!(matches!(guessing.rule(guess("mike", HERE, 98), false, at(0)), Ruling::Later(_)));
}

#[test]
fn what_comes_in_a_wait_is_told_apart_for_so_many_an_hour() {
    let guessing = Arc::<Guessing>::default();
    let ask = |mark, now| guessing.come_early(&guess("mike", HERE, mark), now);
    let left = |now| guessing.may_be_remembered(&guess("mike", HERE, 0), now);
    assert!(!left(at(0)), "nobody of that name was there");
    guessing.welcome(Claim { name: "mike", client: HERE.parse().unwrap() }, at(0));
    fail(&guessing, "mike", HERE, 1, at(0));
    (2..1 + u64::from(count::EARLY_FREE)).for_each(|mark| ask(mark, at(1)));
    // A device's old password is none.
    ask(1, at(1));
    assert!(left(at(1)));
    ask(1_000_000, at(2));
    assert!(!left(at(2)) && !left(at(60 * 60)));
    assert!(left(at(60 * 60 + 1)), "an hour after the first");
    assert!(!guessing.may_be_remembered(&guess("mike", ELSEWHERE, 0), at(0)));
}

/// Guesses in a day by the plan "so many in a row, as early as they may come, then wait to be forgotten".
fn guesses_in_a_day(in_a_row: u32) -> u32 {
    let guessing = Arc::<Guessing>::default();
    let (mut now, mut mark) = (at(0), 0);
    loop {
        for _ in 0..in_a_row {
            now = now.plus(Duration::from_millis(wait(&guessing, "mike", HERE, now)));
            if now >= at(24 * 60 * 60) {
                return mark;
            }
            mark += 1;
            fail(&guessing, "mike", HERE, u64::from(mark), now);
        }
        now = now.plus(FORGOTTEN_AFTER);
    }
}

#[test]
fn to_wait_for_being_forgotten_does_not_pay() {
    let steady = guesses_in_a_day(u32::MAX);
    assert_eq!(steady, 109);
    for in_a_row in 1..=20 {
        assert!(guesses_in_a_day(in_a_row) < steady, "{in_a_row}");
    }
}

#[test]
fn memory_is_bounded_and_only_failures_use_it() {
    let guessing = Arc::<Guessing>::default();
    let entries = || lock(&guessing.counts).sizes().0;
    for number in 0..50_000_u32 {
        drop(attempt(&guessing, guess(&format!("name-{number}"), HERE, 1), at(0)));
    }
    assert_eq!(entries(), 0);
    let network = |number: u32| format!("2001:db8:{:x}:{:x}::1", number >> 16, number & 0xffff);
    for number in 0..80_000_u32 {
        fail(&guessing, "mike", &network(number), 1, at(0));
    }
    assert!(entries() <= ENTRIES_MAX, "{}", entries());
    assert!(lock(&guessing.pending).is_empty() && guessing.next_news().is_none());
    assert_eq!(guessing.count(guess("mike", &network(0), 1).pair, at(0)).failures(), 0);
    assert_eq!(guessing.count(guess("mike", &network(79_999), 1).pair, at(0)).failures(), 1);
}

/// What the registry does with news.
fn exchange(one: &Guessing, registry: &mut HashMap<Key, Told>, now: Millis) -> usize {
    let mut writes = 0;
    while let Some((key, is_forgiven)) = one.next_news() {
        if is_forgiven {
            registry.remove(&key);
        }
        if let Some((told, _)) = one.learn(key, registry.get(&key).copied(), now) {
            registry.insert(key, told);
            writes += 1;
        }
    }
    writes
}

fn two_replicas() -> [Arc<Guessing>; 2] {
    let replicas = [Arc::<Guessing>::default(), Arc::default()];
    replicas.iter().for_each(|one| one.share());
    replicas
}

/// A wrong password as the pool looks at it.
fn checked(
    one: &Arc<Guessing>,
    registry: &mut HashMap<Key, Told>,
    mark: u64,
    now: Millis,
) -> usize {
    let attempt = attempt(one, guess("mike", HERE, mark), now).unwrap();
    attempt.begin();
    let before = exchange(one, registry, now);
    attempt.settle(false, now);
    before + exchange(one, registry, now)
}

#[test]
fn failures_on_all_replicas_add_up() {
    let [here, there] = two_replicas();
    let mut registry = HashMap::new();
    for mark in 1..=4 {
        assert_eq!(checked(&here, &mut registry, mark, at(0)), 0, "nobody need know");
        assert_eq!(checked(&there, &mut registry, mark, at(0)), 0);
    }
    assert_eq!(checked(&here, &mut registry, 5, at(0)), 1);
    assert_eq!(wait(&there, "mike", HERE, at(0)), 0, "it has not asked yet");
    assert_eq!(checked(&there, &mut registry, 5, at(0)), 2, "its four, then the fifth");
    assert_eq!(wait(&there, "mike", HERE, at(0)), 32_000, "ten in all");
    assert_eq!(checked(&here, &mut registry, 6, at(1)), 1);
    assert_eq!(wait(&here, "mike", HERE, at(1)), 64_000);
    // A third one, new, lets one through and then knows.
    let third = Arc::<Guessing>::default();
    third.share();
    assert_eq!(checked(&third, &mut registry, 7, at(2)), 1);
    assert_eq!(wait(&third, "mike", HERE, at(2)), 128_000);
}

#[test]
fn the_right_password_on_one_replica_counts_on_all() {
    let [here, there] = two_replicas();
    let mut registry = HashMap::new();
    for mark in 1..=5 {
        checked(&here, &mut registry, mark, at(0));
    }
    checked(&there, &mut registry, 6, at(0));
    let right = attempt(&here, guess("mike", HERE, 50), at(1)).unwrap();
    right.begin();
    right.settle(true, at(1));
    exchange(&here, &mut registry, at(1));
    assert!(!registry.contains_key(&guess("mike", HERE, 0).pair));
    assert_eq!(wait(&there, "mike", HERE, at(1)), 1000, "it has not asked yet");
    checked(&there, &mut registry, 7, at(2));
    assert_eq!(wait(&there, "mike", HERE, at(2)), 0);
}

#[test]
fn what_an_address_was_forgiven_stays_so_on_all_replicas() {
    let [here, there] = two_replicas();
    let key = guess("mike", HERE, 0).address;
    for name in 0..ADDRESS_FREE {
        fail(&here, &format!("name-{name}"), HERE, 1, at(0));
    }
    let (told, _) = here.learn(key, None, at(0)).unwrap();
    // The other one asks five minutes later; one that has just been started, after seven and a half.
    let later = |seconds: u64| Told { idle: told.idle + Duration::from_secs(seconds), ..told };
    fail(&there, "mike", HERE, 1, at(301));
    assert!(there.learn(key, Some(later(301)), at(301)).is_none(), "21 need not be told");
    assert_eq!(there.count(key, at(301)).failures(), 21);
    let young = Arc::<Guessing>::default();
    young.learn(key, Some(later(450)), Millis(10));
    assert_eq!(young.count(key, Millis(10)).failures(), 5);
}

#[test]
fn what_a_registry_did_not_take_is_told_again() {
    let [here, _] = two_replicas();
    let key = guess("mike", HERE, 0).pair;
    for mark in 1..=6 {
        let now = at(mark * 10);
        attempt(&here, guess("mike", HERE, mark), now).unwrap().settle(false, now);
    }
    let (told, own) = here.learn(key, None, at(60)).unwrap();
    assert_eq!((told.failures, own), (6, 6));
    here.untell(key, own);
    assert_eq!(here.learn(key, None, at(60)).unwrap().0, told);
    assert!(here.learn(key, Some(told), at(60)).is_none(), "nothing is new");
}

#[test]
fn a_wrong_clock_elsewhere_makes_nobody_wait_for_ever() {
    let [here, _] = two_replicas();
    let far = Told { failures: 9, idle: Duration::ZERO, wait: 10 * WAIT_MAX };
    here.learn(guess("mike", HERE, 0).pair, Some(far), at(0));
    assert_eq!(wait(&here, "mike", HERE, at(0)), u64::try_from(WAIT_MAX.as_millis()).unwrap());
}

#[test]
fn news_are_bounded() {
    let [here, _] = two_replicas();
    for number in 0..5000_u32 {
        let from = format!("10.0.{}.{}", number >> 8, number & 255);
        attempt(&here, guess("mike", &from, 1), at(0)).unwrap().begin();
    }
    let mut count = 0;
    while here.next_news().is_some() {
        count += 1;
    }
    assert_eq!(count, NEWS_MAX);
}
