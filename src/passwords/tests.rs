use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn stored(text: &str) -> Password {
    Password::from_hash(&bcrypt::hash(text, 4).unwrap(), 1)
}

/// One pool for all: starting one hashes the decoy.
static POOL: LazyLock<Passwords> = LazyLock::new(|| Passwords::start(Clock::start()).unwrap());

/// A pool without threads, so that nothing leaves its queue; and the other end of the queue.
fn stuck() -> (Passwords, Receiver<Job>) {
    let (queue, jobs) = sync_channel(QUEUE_MAX);
    let memory = Arc::new(memory());
    (
        Passwords {
            queue,
            memory,
            waiting: Waiting::default(),
            verdicts: Tally::default(),
            durations: Latencies::default(),
            decoy: stored("nobody knows it"),
        },
        jobs,
    )
}

fn memory() -> Memory {
    Memory { key: [7; 32], clock: Clock::start(), right: Mutex::default() }
}

fn sizes(memory: &Memory) -> (usize, usize) {
    let right = memory.right.lock().unwrap();
    (right.until.len(), right.order.len())
}

#[tokio::test]
async fn only_the_right_password_is_right() {
    let mike = stored("correct horse");
    assert_eq!(POOL.verify(Some(&mike), &secret("correct horse"), HERE).await, Verdict::Right);
    for wrong in ["", "correct", "correct horse ", "Correct horse", "correct horse\0", "\0"] {
        let verdict = POOL.verify(Some(&mike), &secret(wrong), HERE).await;
        assert_eq!(verdict, Verdict::Wrong, "{wrong:?}");
    }
}

#[tokio::test]
async fn without_a_stored_hash_everything_is_wrong() {
    for guess in ["", "correct horse", "nobody knows it"] {
        assert_eq!(POOL.verify(None, &secret(guess), HERE).await, Verdict::Wrong, "{guess:?}");
    }
}

#[tokio::test]
async fn what_bcrypt_cannot_tell_apart_is_wrong() {
    let longest = "x".repeat(PASSWORD_BYTES_MAX);
    let mike = stored(&longest);
    assert_eq!(POOL.verify(Some(&mike), &secret(&longest), HERE).await, Verdict::Right);
    let longer = format!("{longest}x");
    assert!(bcrypt::verify(&longer, mike.hash()).unwrap(), "bcrypt cuts it off");
    assert_eq!(POOL.verify(Some(&mike), &secret(&longer), HERE).await, Verdict::Wrong);

    let short = stored("a");
    assert!(bcrypt::verify("a\0a", short.hash()).unwrap(), "bcrypt repeats what it is given");
    assert_eq!(POOL.verify(Some(&short), &secret("a\0a"), HERE).await, Verdict::Wrong);
    assert_eq!(POOL.verify(Some(&stored("")), &secret(""), HERE).await, Verdict::Wrong);
}

#[tokio::test]
async fn a_hash_that_is_none_is_wrong() {
    for hash in ["", "$2b$04$short", "plain", "$2b$99$"] {
        let verdict =
            POOL.verify(Some(&Password::from_hash(hash, 1)), &secret("plain"), HERE).await;
        assert_eq!(verdict, Verdict::Wrong, "{hash:?}");
    }
}

#[tokio::test]
async fn a_right_password_needs_no_second_check_until_the_hash_changes() {
    let (passwords, jobs) = stuck();
    let (old, new) = (stored("same"), stored("same"));
    let digest = passwords.memory.digest(old.hash(), &secret("same"));
    passwords.memory.remember(digest);
    assert_eq!(passwords.verify(Some(&old), &secret("same"), HERE).await, Verdict::Remembered);
    assert!(jobs.try_recv().is_err(), "nothing was asked of the pool");

    let same = secret("same");
    let asked =
        tokio::time::timeout(Duration::ZERO, passwords.verify(Some(&new), &same, HERE)).await;
    assert!(asked.is_err(), "it waits for the pool");
    let Ok(Job::Check { hash, .. }) = jobs.try_recv() else { panic!("no check was asked for") };
    assert_eq!(hash, *new.hash());
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
    let (passwords, jobs) = stuck();
    let mike = stored("right");
    let pool = std::thread::spawn({
        let memory = Arc::clone(&passwords.memory);
        move || check_all(&Mutex::new(jobs), &memory)
    });
    assert_eq!(passwords.verify(Some(&mike), &secret("wrong"), HERE).await, Verdict::Wrong);
    assert_eq!(passwords.verify(None, &secret("right"), HERE).await, Verdict::Wrong);
    assert_eq!(sizes(&passwords.memory), (0, 0));
    assert_eq!(passwords.verify(Some(&mike), &secret("right"), HERE).await, Verdict::Right);
    assert_eq!(sizes(&passwords.memory), (1, 1));
    drop(passwords);
    pool.join().unwrap();
}

#[tokio::test]
async fn a_full_queue_is_busy_and_a_dead_pool_is_not_wrong() {
    let (passwords, jobs) = stuck();
    let mike = stored("right");
    let (wrong, right) = (secret("wrong"), secret("right"));
    passwords.memory.remember(passwords.memory.digest(mike.hash(), &right));
    let mut waiting = Vec::new();
    for number in 0..QUEUE_MAX as u32 {
        let elsewhere = Ipv4Addr::from_bits(number).into();
        let mut check = Box::pin(passwords.verify(Some(&mike), &wrong, elsewhere));
        assert!(tokio::time::timeout(Duration::ZERO, &mut check).await.is_err());
        waiting.push(check);
    }
    assert_eq!(passwords.verify(Some(&mike), &wrong, HERE).await, Verdict::Busy);
    assert_eq!(passwords.verify(None, &wrong, HERE).await, Verdict::Busy);
    assert_eq!(
        passwords.verify(Some(&mike), &right, HERE).await,
        Verdict::Remembered,
        "no place is needed for that"
    );

    drop(jobs);
    for check in waiting {
        assert_eq!(check.await, Verdict::Busy, "devices give up on 401");
    }
}

#[tokio::test]
async fn who_sends_many_waits_alone() {
    let (passwords, _jobs) = stuck();
    let (mike, wrong) = (stored("right"), secret("wrong"));
    let pending = async |from: IpAddr| {
        let mut check = Box::pin(passwords.verify(Some(&mike), &wrong, from));
        tokio::time::timeout(Duration::ZERO, &mut check).await.is_err().then_some(check)
    };
    let mut waiting = Vec::new();
    for _ in 0..WAITING_PER_ADDRESS_MAX {
        waiting.push(pending(HERE).await.expect("it may wait"));
    }
    assert!(pending(HERE).await.is_none());
    assert_eq!(passwords.hash(&secret("new"), HERE).await, Err(None), "new ones take their turn");
    assert!(pending(Ipv4Addr::new(192, 0, 2, 1).into()).await.is_some());
    waiting.pop();
    assert!(pending(HERE).await.is_some(), "a place was given back");
}

#[tokio::test]
async fn a_check_that_nobody_waits_for_is_skipped() {
    let (passwords, jobs) = stuck();
    let mike = stored("right");
    let right = secret("right");
    let gone =
        tokio::time::timeout(Duration::ZERO, passwords.verify(Some(&mike), &right, HERE)).await;
    assert!(gone.is_err());
    let memory = Arc::clone(&passwords.memory);
    drop(passwords);
    check_all(&Mutex::new(jobs), &memory);
    assert!(!memory.knows(&memory.digest(mike.hash(), &right)), "it was not even checked");
}

#[tokio::test]
async fn new_passwords_take_places_too() {
    let (passwords, jobs) = stuck();
    let new = secret("new");
    let mut waiting = Vec::new();
    for _ in 0..WAITING_PER_ADDRESS_MAX {
        let mut hashing = Box::pin(passwords.hash(&new, HERE));
        assert!(tokio::time::timeout(Duration::ZERO, &mut hashing).await.is_err());
        waiting.push(hashing);
    }
    assert_eq!(passwords.hash(&new, HERE).await, Err(None));
    let first = waiting.remove(0);
    drop(waiting);
    let memory = Arc::clone(&passwords.memory);
    let pool = std::thread::spawn(move || check_all(&Mutex::new(jobs), &memory));
    assert!(bcrypt::verify("new", &first.await.unwrap()).unwrap());
    drop(passwords);
    pool.join().unwrap();
}

#[test]
fn a_digest_covers_key_hash_and_password() {
    let memory = memory();
    let other = Memory { key: [8; 32], ..self::memory() };
    let digest = memory.digest("hash", &secret("word"));
    assert_eq!(digest, memory.digest("hash", &secret("word")));
    assert_ne!(digest, memory.digest("hash", &secret("Word")));
    assert_ne!(digest, memory.digest("hasH", &secret("word")));
    assert_ne!(digest, memory.digest("hashw", &secret("ord")));
    assert_ne!(digest, other.digest("hash", &secret("word")));
}

/// As if the time had come: ends every memory of `count` digests, the oldest first.
fn expire(memory: &Memory, count: usize) {
    let mut right = memory.right.lock().unwrap();
    let Right { until, order } = &mut *right;
    for (end, digest) in order.iter_mut().take(count) {
        *end = Millis(0);
        until.insert(*digest, Millis(0));
    }
}

#[test]
fn memory_ends() {
    let memory = memory();
    memory.remember([1; 32]);
    memory.remember([2; 32]);
    assert!(memory.knows(&[1; 32]) && memory.knows(&[2; 32]) && !memory.knows(&[3; 32]));
    let until = memory.right.lock().unwrap().until[&[1; 32]];
    assert!(until <= memory.clock.now().plus(REMEMBERED_FOR));
    expire(&memory, 1);
    assert!(!memory.knows(&[1; 32]) && memory.knows(&[2; 32]));
    memory.remember([3; 32]);
    assert_eq!(sizes(&memory), (2, 2), "what has ended makes room");
}

#[test]
fn what_is_remembered_again_outlives_its_first_end() {
    let memory = memory();
    memory.remember([1; 32]);
    memory.remember([1; 32]);
    memory.right.lock().unwrap().order[0].0 = Millis(0);
    memory.remember([2; 32]);
    assert!(memory.knows(&[1; 32]));
    assert_eq!(sizes(&memory), (2, 2), "only the first end is gone");
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
    assert_eq!(sizes(&memory), (REMEMBERED_MAX, REMEMBERED_MAX));
    assert!(!memory.knows(&digest(9)) && memory.knows(&digest(10)));
    for _ in 0..REMEMBERED_MAX {
        memory.remember(digest(1));
    }
    let (known, ends) = sizes(&memory);
    assert!(known <= ends && ends <= REMEMBERED_MAX);
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
    for bad in ["", "$2b$12$short", "hunter2", &format!("$2b$12{REST}x")] {
        assert!(check_hash(bad).is_err(), "{bad}");
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
