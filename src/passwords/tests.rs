use std::net::Ipv4Addr;
use std::sync::LazyLock;

use bcrypt::Version;
use proptest::prelude::*;
use tokio::time::timeout;

use super::memory::{NO_GUESS_FOR, REMEMBERED_FOR, REMEMBERED_MAX};
use super::queue::PER_ADDRESS_MAX;
use super::*;
use crate::clock::Millis;

mod guesses;
mod random;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn from(client: IpAddr) -> Claim<'static> {
    Claim { name: "mike", client }
}

/// Each test has a name to itself: what failed in one is counted.
fn named(name: &str) -> Claim<'_> {
    Claim { name, client: HERE }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn stored(text: &str) -> Password {
    Password::from_hash(&bcrypt::hash(text, 4).unwrap(), 1)
}

/// One pool for all: starting one hashes the decoy.
static POOL: LazyLock<Passwords> = LazyLock::new(|| Passwords::start(Clock::start()).unwrap());

/// A pool without threads, so that nothing leaves its queue.
fn stuck() -> Passwords {
    let clock = Clock::start();
    Passwords {
        queue: Arc::new(Queue::new(clock, 1)),
        memory: Arc::new(memory()),
        guessing: Arc::default(),
        guessing_secrets: secrets::guessing(),
        verdicts: Tally::default(),
        durations: Latencies::default(),
        decoy: stored("nobody knows it"),
    }
}

fn memory() -> Memory {
    Memory::new([7; 32], Clock::start())
}

fn sizes(memory: &Memory) -> (usize, usize) {
    memory.right.lock().unwrap().sizes()
}

/// A thread that works off what is in a stuck pool's queue, until that is dropped.
fn worker(passwords: &Passwords) -> std::thread::JoinHandle<()> {
    let (queue, memory) = (Arc::clone(&passwords.queue), Arc::clone(&passwords.memory));
    std::thread::spawn(move || work_off(&queue, &memory))
}

/// A check that waits, if it may.
async fn pending<'a>(
    passwords: &'a Passwords,
    mike: &'a Password,
    password: &'a Secret,
    claim: Claim<'a>,
) -> Option<std::pin::Pin<Box<dyn Future<Output = Verdict> + 'a>>> {
    let mut check = Box::pin(passwords.verify(Some(mike), password, claim));
    let answered = timeout(Duration::ZERO, &mut check).await;
    answered.is_err().then_some(check as _)
}

#[tokio::test]
async fn only_the_right_password_is_right() {
    let mike = stored("correct horse");
    for (number, wrong) in
        ["", "correct", "correct horse ", "Correct horse", "correct horse\0", "\0"]
            .iter()
            .enumerate()
    {
        let claim = format!("only-{number}");
        let verdict = POOL.verify(Some(&mike), &secret(wrong), named(&claim)).await;
        assert_eq!(verdict, Verdict::Wrong, "{wrong:?}");
    }
    let right = secret("correct horse");
    assert_eq!(POOL.verify(Some(&mike), &right, named("only")).await, Verdict::Right);
}

#[tokio::test]
async fn without_a_stored_hash_everything_is_wrong() {
    for guess in ["", "correct horse", "nobody knows it"] {
        let verdict = POOL.verify(None, &secret(guess), named("without")).await;
        assert_eq!(verdict, Verdict::Wrong, "{guess:?}");
    }
}

#[tokio::test]
async fn what_bcrypt_cannot_tell_apart_is_wrong() {
    let claim = named("apart");
    let longest = "x".repeat(PASSWORD_BYTES_MAX);
    let mike = stored(&longest);
    assert_eq!(POOL.verify(Some(&mike), &secret(&longest), claim).await, Verdict::Right);
    let longer = format!("{longest}x");
    assert!(bcrypt::verify(&longer, mike.hash()).unwrap(), "bcrypt cuts it off");
    assert_eq!(POOL.verify(Some(&mike), &secret(&longer), claim).await, Verdict::Wrong);

    let short = stored("a");
    assert!(bcrypt::verify("a\0a", short.hash()).unwrap(), "bcrypt repeats what it is given");
    assert_eq!(POOL.verify(Some(&short), &secret("a\0a"), claim).await, Verdict::Wrong);
    assert_eq!(POOL.verify(Some(&stored("")), &secret(""), claim).await, Verdict::Wrong);
}

#[tokio::test]
async fn a_hash_that_is_none_is_wrong() {
    for hash in ["", "$2b$04$short", "plain", "$2b$99$"] {
        let stored = Password::from_hash(hash, 1);
        let verdict = POOL.verify(Some(&stored), &secret("plain"), named("none")).await;
        assert_eq!(verdict, Verdict::Wrong, "{hash:?}");
    }
}

#[tokio::test]
async fn a_right_password_needs_no_second_check_until_the_hash_changes() {
    let passwords = stuck();
    let (old, new) = (stored("same"), stored("same"));
    let same = secret("same");
    passwords.remember(old.hash(), &same);
    assert_eq!(passwords.verify(Some(&old), &same, from(HERE)).await, Verdict::Remembered);
    assert_eq!(passwords.queue.count(), 0, "nothing was asked of the pool");

    let _waits = pending(&passwords, &new, &same, from(HERE)).await.expect("it waits for the pool");
    let Some(Job { work: Work::Check(check), .. }) = passwords.queue.next() else {
        panic!("no check was asked for")
    };
    assert_eq!(check.hash, *new.hash());
}

#[test]
fn of_those_who_queue_up_with_one_password_the_first_has_it_checked() {
    let (memory, mike, right) = (memory(), stored("right"), secret("right"));
    let digest = memory.digest(mike.hash(), &right);
    let verdicts = [0, 1, 2].map(|_| check_one(&memory, mike.hash(), &right, digest));
    assert_eq!(verdicts, [Verdict::Right, Verdict::Remembered, Verdict::Remembered]);
}

#[tokio::test]
async fn a_wrong_password_is_not_remembered() {
    let passwords = stuck();
    let mike = stored("right");
    let pool = worker(&passwords);
    let (wrong, right) = (secret("wrong"), secret("right"));
    assert_eq!(passwords.verify(Some(&mike), &wrong, from(HERE)).await, Verdict::Wrong);
    assert_eq!(passwords.verify(None, &right, from(HERE)).await, Verdict::Wrong);
    assert_eq!(sizes(&passwords.memory), (0, 0));
    assert_eq!(passwords.verify(Some(&mike), &right, from(HERE)).await, Verdict::Right);
    assert_eq!(sizes(&passwords.memory), (1, 1));
    drop(passwords);
    pool.join().unwrap();
}

#[tokio::test]
async fn a_full_queue_is_busy_and_a_dead_pool_is_not_wrong() {
    let passwords = stuck();
    let mike = stored("right");
    let (wrong, right) = (secret("wrong"), secret("right"));
    passwords.remember(mike.hash(), &right);
    let mut waiting = Vec::new();
    for number in 0..LANE_MAX as u32 {
        let elsewhere = from(Ipv4Addr::from_bits(number).into());
        waiting.push(pending(&passwords, &mike, &wrong, elsewhere).await.expect("it may wait"));
    }
    assert_eq!(passwords.verify(Some(&mike), &wrong, from(HERE)).await, Verdict::Busy);
    assert_eq!(passwords.verify(None, &wrong, from(HERE)).await, Verdict::Busy);
    let verdict = passwords.verify(Some(&mike), &right, from(HERE)).await;
    assert_eq!(verdict, Verdict::Remembered, "no place is needed for that");

    // As a thread does that dies.
    while passwords.queue.count() > 0 {
        let job = passwords.queue.next().unwrap();
        drop(Running::of(&passwords.queue, &job));
    }
    for check in waiting {
        assert_eq!(check.await, Verdict::Busy, "devices give up on 401");
    }
}

#[tokio::test]
async fn who_sends_many_waits_alone() {
    let passwords = stuck();
    let (mike, wrong) = (stored("right"), secret("wrong"));
    let names: Vec<String> = (0..=PER_ADDRESS_MAX).map(|number| number.to_string()).collect();
    let mut waiting = Vec::new();
    for name in &names[1..] {
        waiting.push(pending(&passwords, &mike, &wrong, named(name)).await.expect("it may wait"));
    }
    assert!(pending(&passwords, &mike, &wrong, named("0")).await.is_none());
    let elsewhere = from(Ipv4Addr::new(192, 0, 2, 1).into());
    assert!(pending(&passwords, &mike, &wrong, elsewhere).await.is_some());
    waiting.pop();
    assert!(
        pending(&passwords, &mike, &wrong, named("0")).await.is_some(),
        "one gave its place up"
    );
}

#[tokio::test]
async fn many_devices_with_one_password_are_one_check() {
    let passwords = stuck();
    let (mike, right, wrong) = (stored("right"), secret("right"), secret("wrong"));
    let mut waiting = Vec::new();
    for _ in 0..50 {
        waiting.push(pending(&passwords, &mike, &right, from(HERE)).await.expect("it may wait"));
        waiting.push(pending(&passwords, &mike, &wrong, from(HERE)).await.expect("it may wait"));
    }
    assert_eq!(passwords.queue.count(), 2);
    let pool = worker(&passwords);
    for (number, check) in waiting.into_iter().enumerate() {
        let verdict = match (number, number % 2) {
            (0, _) => Verdict::Right,
            (_, 0) => Verdict::Remembered,
            _ => Verdict::Wrong,
        };
        assert_eq!(check.await, verdict);
    }
    drop(passwords);
    pool.join().unwrap();
}

#[tokio::test]
async fn an_operator_does_not_guess() {
    let passwords = stuck();
    let mike = stored("right");
    let pool = worker(&passwords);
    for number in 0..20 {
        let wrong = secret(&format!("wrong-{number}"));
        assert_eq!(passwords.compare(&mike, &wrong, from(HERE)).await, Verdict::Wrong);
    }
    assert_eq!(passwords.compare(&mike, &secret("right"), from(HERE)).await, Verdict::Right);
    drop(passwords);
    pool.join().unwrap();
}

#[tokio::test]
async fn a_check_that_nobody_waits_for_is_skipped() {
    let passwords = stuck();
    let (mike, right) = (stored("right"), secret("right"));
    drop(pending(&passwords, &mike, &right, from(HERE)).await.expect("it waits"));
    let memory = Arc::clone(&passwords.memory);
    let queue = Arc::clone(&passwords.queue);
    drop(passwords);
    work_off(&queue, &memory);
    assert!(!memory.knows(&memory.digest(mike.hash(), &right)), "it was not even checked");
}

#[tokio::test]
async fn new_passwords_take_places_too() {
    let passwords = stuck();
    let new = secret("new");
    let mut waiting = Vec::new();
    for _ in 0..PER_ADDRESS_MAX {
        let mut hashing = Box::pin(passwords.hash(&new, HERE));
        assert!(timeout(Duration::ZERO, &mut hashing).await.is_err());
        waiting.push(hashing);
    }
    assert_eq!(passwords.hash(&new, HERE).await, Err(None));
    let first = waiting.remove(0);
    drop(waiting);
    let pool = worker(&passwords);
    let hash = first.await.unwrap();
    assert!(bcrypt::verify("new", &hash).unwrap());
    assert!(passwords.remembers(&Password::from_hash(&hash, 1), &new), "however many guesses come");
    drop(passwords);
    pool.join().unwrap();
}

#[test]
fn a_digest_covers_key_hash_and_password() {
    let memory = memory();
    let other = Memory::new([8; 32], Clock::start());
    let digest = memory.digest("hash", &secret("word"));
    assert_eq!(digest, memory.digest("hash", &secret("word")));
    assert_ne!(digest, memory.digest("hash", &secret("Word")));
    assert_ne!(digest, memory.digest("hasH", &secret("word")));
    assert_ne!(digest, memory.digest("hashw", &secret("ord")));
    assert_ne!(digest, other.digest("hash", &secret("word")));
}

#[test]
fn memory_ends() {
    let memory = memory();
    memory.remember([1; 32]);
    let begin = memory.clock.now();
    let is_within = |digest, at| memory.is_within(&digest, REMEMBERED_FOR, at);
    assert!(is_within([1; 32], begin) && !is_within([2; 32], begin));
    assert!(is_within([1; 32], Millis(REMEMBERED_FOR.as_millis() as u64 - 1)));
    assert!(!is_within([1; 32], begin.plus(REMEMBERED_FOR)));
    assert!(memory.knows(&[1; 32]) && memory.was_right(&[1; 32]));
    assert!(REMEMBERED_FOR < NO_GUESS_FOR);
}

#[test]
fn memory_is_bounded_and_forgets_the_oldest() {
    let memory = memory();
    let digest = |number: usize| {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        digest
    };
    for number in 0..REMEMBERED_MAX + 10 {
        memory.remember(digest(number));
    }
    assert_eq!(sizes(&memory).0, REMEMBERED_MAX);
    assert!(!memory.knows(&digest(9)) && memory.knows(&digest(10)));
    for _ in 0..REMEMBERED_MAX {
        memory.remember(digest(1));
    }
    let (known, places) = sizes(&memory);
    assert!(known <= REMEMBERED_MAX && places <= 2 * REMEMBERED_MAX);
    assert!(memory.knows(&digest(1)));
}

#[test]
fn new_passwords_have_a_form_and_a_cost() {
    for good in ["x", " ", &"x".repeat(72), "p\u{e4}ssword"] {
        assert_eq!(check(&secret(good)), Ok(()), "{good:?}");
    }
    for bad in ["", "a\0b", &"x".repeat(73), &"\u{e4}".repeat(37)] {
        assert!(check(&secret(bad)).is_err(), "{bad:?}");
        assert!(hash(&secret(bad)).is_err(), "{bad:?}");
    }
    let hash = hash(&secret("new")).unwrap();
    assert!(hash.starts_with("$2b$12$") && bcrypt::verify("new", &hash).unwrap());
}

#[test]
fn imported_hashes_are_bcrypts_and_cost_4_to_14() {
    const REST: &str = "$.qrfZZ/lNcTxS0yG6LmZEeJ1LJx1yBn5K4NIrFyPdmvM9Rf5vQX4C";
    for (head, good) in [
        ("$2b$04", true),
        ("$2a$12", true),
        ("$2y$14", true),
        ("$2b$03", false),
        ("$2b$15", false),
        ("$2b$31", false),
        ("$2b$xx", false),
        ("$1$04", false),
        ("", false),
    ] {
        assert_eq!(check_hash(&format!("{head}{REST}")).is_ok(), good, "{head}");
    }
    for bad in ["", "$2b$12$short", "hunter2", &format!("$2b$12{REST}x"), &format!("$2b$99{REST}")]
    {
        assert!(check_hash(bad).is_err(), "{bad}");
        assert!(!is_right(&secret(""), bad), "{bad}");
    }
}

#[test]
fn a_password_is_right_in_each_version_of_bcrypt() {
    let parts = bcrypt::hash_with_salt("right", 4, [7; 16]).unwrap();
    for version in [Version::TwoA, Version::TwoB, Version::TwoY] {
        let hash = parts.format_for_version(version);
        assert!(is_right(&secret("right"), &hash), "{hash}");
        assert!(!is_right(&secret("wrong"), &hash), "{hash}");
    }
}

proptest! {
    #[test]
    fn any_text_has_a_verdict_on_its_form(text in ".*") {
        let possible = !text.is_empty() && text.len() <= 72 && !text.contains('\0');
        prop_assert_eq!(check(&secret(&text)).is_ok(), possible);
        let _ = check_hash(&text);
    }
}
