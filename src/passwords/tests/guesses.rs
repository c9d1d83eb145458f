//! What a guesser may not find out by waiting.

use super::*;
use crate::guessing::count::EARLY_FREE;

/// So many wrong passwords at once, as they may not come: from then on it is an hour's work to guess three.
fn be_wrong(passwords: &Passwords, claim: Claim<'_>) {
    let now = passwords.memory.clock.now();
    for mark in 0..12 {
        let guess = Guess::new(claim, mark);
        let Ruling::Look(attempt) = passwords.guessing.rule(guess, true, now) else { panic!() };
        attempt.settle(false, now);
    }
}

fn elsewhere() -> Claim<'static> {
    from(Ipv4Addr::new(192, 0, 2, 1).into())
}

#[tokio::test]
async fn guesses_wait_and_so_does_the_right_password() {
    let passwords = stuck();
    let (mike, right) = (stored("right"), secret("right"));
    let pool = worker(&passwords);
    for (stored, name) in [(Some(&mike), "mike"), (None, "nobody")] {
        let wrong = secret("wrong");
        assert_eq!(passwords.wait(stored, &wrong, named(name)), None);
        assert_eq!(passwords.verify(stored, &wrong, named(name)).await, Verdict::Wrong);
        be_wrong(&passwords, named(name));
        let verdict = passwords.verify(stored, &right, named(name)).await;
        assert!(matches!(verdict, Verdict::Later(_)), "{verdict:?}");
        assert!(passwords.wait(stored, &right, named(name)).is_some());
    }
    assert_eq!(passwords.counts().checks[4], ("limited", 4));
    // Its owner is not concerned elsewhere; but what is remembered since tells a guesser nothing.
    assert_eq!(passwords.verify(Some(&mike), &right, elsewhere()).await, Verdict::Right);
    assert_eq!(passwords.verify(Some(&mike), &right, elsewhere()).await, Verdict::Remembered);
    let verdict = passwords.verify(Some(&mike), &right, from(HERE)).await;
    assert!(matches!(verdict, Verdict::Later(_)), "{verdict:?}");
    assert!(passwords.wait(Some(&mike), &right, from(HERE)).is_some());
    drop(passwords);
    pool.join().unwrap();
}

#[tokio::test]
async fn where_the_owner_was_before_they_do_not_wait_for_a_guesser_who_came_later() {
    let passwords = stuck();
    let (mike, right) = (stored("right"), secret("right"));
    let pool = worker(&passwords);
    assert_eq!(passwords.verify(Some(&mike), &right, elsewhere()).await, Verdict::Right);
    be_wrong(&passwords, elsewhere());
    let guess = |number: u32| {
        let guess = secret(&format!("guess {number}"));
        assert!(passwords.wait(Some(&mike), &guess, elsewhere()).is_some());
    };
    (1..EARLY_FREE).for_each(guess);
    assert_eq!(passwords.wait(Some(&mike), &right, elsewhere()), None);
    assert_eq!(passwords.verify(Some(&mike), &right, elsewhere()).await, Verdict::Remembered);
    // One more, and it would be an oracle.
    guess(EARLY_FREE);
    assert!(passwords.wait(Some(&mike), &right, elsewhere()).is_some());
    let verdict = passwords.verify(Some(&mike), &right, elsewhere()).await;
    assert!(matches!(verdict, Verdict::Later(_)), "{verdict:?}");
    drop(passwords);
    pool.join().unwrap();
}

#[tokio::test]
async fn a_password_that_was_just_set_gets_in_where_it_was_set() {
    let passwords = stuck();
    let pool = worker(&passwords);
    be_wrong(&passwords, elsewhere());
    let right = secret("right");
    let hash = passwords.hash(&right, elsewhere().client).await.unwrap();
    let mike = Password::from_hash(&hash, 1);
    assert!(passwords.wait(Some(&mike), &right, elsewhere()).is_some());
    passwords.welcome(elsewhere());
    assert_eq!(passwords.wait(Some(&mike), &right, elsewhere()), None);
    drop(passwords);
    pool.join().unwrap();
}
