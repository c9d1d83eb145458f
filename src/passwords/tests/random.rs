//! Who guesses at random secrets.

use super::*;

/// Wrong secrets under made-up names, from many addresses, cost no bcrypt: they must not make room for
/// guesses at passwords.
#[test]
fn wrong_secrets_have_no_wait_for_passwords_forgotten() {
    let passwords = stuck();
    let (mike, now) = (stored("right"), passwords.memory.clock.now());
    for mark in 0..12 {
        let guess = Guess::new(named("mike"), mark);
        let Ruling::Look(attempt) = passwords.guessing.rule(guess, true, now) else { panic!() };
        attempt.settle(false, now);
    }
    let guess = secret("another");
    assert!(passwords.wait(Some(&mike), &guess, named("mike")).is_some());
    let is_counted = |number: u32| {
        let name = format!("application {number:016x}");
        let client = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number));
        passwords.count_secret(&guess, false, Claim { name: &name, client }) == Verdict::Wrong
    };
    // Two counts each: more than there is room for, of passwords as well.
    let count = u32::try_from(crate::guessing::ENTRIES_MAX).unwrap();
    assert!((0..count).all(is_counted));
    assert!(passwords.wait(Some(&mike), &guess, named("mike")).is_some());
    assert!(
        passwords.wait(Some(&mike), &guess, named("ann")).is_none(),
        "of mike's, not of the address"
    );
}

#[test]
fn who_is_wrong_about_a_secret_waits_and_who_is_right_does_not() {
    let passwords = stuck();
    let claim = named("application 1");
    let verdicts = (0..6)
        .map(|number| passwords.count_secret(&secret(&format!("wrong-{number}")), false, claim));
    let verdicts: Vec<_> = verdicts.collect();
    assert_eq!(verdicts[..5], [Verdict::Wrong; 5]);
    assert!(matches!(verdicts[5], Verdict::Later(_)), "{verdicts:?}");
    assert_eq!(passwords.count_secret(&secret("right"), true, claim), Verdict::Right);
    assert!(passwords.guessing.is_empty(), "nothing was wrong with a password");
}
