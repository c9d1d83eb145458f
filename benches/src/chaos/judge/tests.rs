//! What the judge takes for right and for wrong.

use super::*;
use crate::accounts::Home;

const SECOND: Duration = Duration::from_secs(1);

fn judge() -> Judge {
    let judge = Judge::new(Arc::default(), Arc::default());
    judge.keep_quiet();
    judge
}

fn tenant() -> Arc<Tenant> {
    Arc::new(Tenant::new("ana".to_owned(), Home::Shared, 0, false))
}

/// A judge's verdict on an attempt through replica 1 at a moment.
fn verdict(judge: &Judge, tenant: &Tenant, at: Instant, outcome: &Outcome) -> Vec<&'static str> {
    let credential = tenant.credentials().remove(0);
    let attempt = Attempt {
        replica: 1,
        by_link: false,
        tenant,
        credential: &credential,
        sent: at,
        got: at + SECOND / 10,
    };
    let before = judge.violations().0.len();
    judge.attempt(&attempt, outcome);
    judge.violations().0[before..].iter().map(|one| one.kind).collect()
}

fn way(tenant: &Arc<Tenant>, opened: Instant) -> Way {
    Way {
        id: 7,
        replica: 1,
        tenant: Arc::clone(tenant),
        credential: tenant.credentials().remove(0),
        opened,
    }
}

fn refused(status: u16) -> Outcome {
    Outcome::Refused(status, String::new())
}

#[test]
fn a_dead_key_opens_nothing_once_everybody_must_know() {
    let (judge, tenant, start) = (judge(), tenant(), now());
    let key = tenant.credentials().remove(0);
    assert!(verdict(&judge, &tenant, start, &Outcome::Opened).is_empty());
    assert_eq!(verdict(&judge, &tenant, start, &refused(401)), [REFUSED]);
    key.fact().begin(false, start);
    key.fact().acknowledge(start);
    for outcome in [Outcome::Opened, refused(401)] {
        assert!(verdict(&judge, &tenant, start + SECOND, &outcome).is_empty(), "{outcome:?}");
    }
    let late = start + BEHIND_MAX + SECOND;
    assert_eq!(verdict(&judge, &tenant, late, &Outcome::Opened), [ACCEPTED]);
    assert!(verdict(&judge, &tenant, late, &refused(401)).is_empty());
}

#[test]
fn a_replica_without_redis_may_be_behind_for_stale_max_and_no_longer() {
    let (judge, tenant, start) = (judge(), tenant(), now());
    judge.incidents.begin(Part::RegistryLink(1), "cut");
    let key = tenant.credentials().remove(0);
    key.fact().begin(false, start);
    key.fact().acknowledge(start);
    let soon = start + STALE_MAX + BEHIND_MAX - SECOND;
    assert!(verdict(&judge, &tenant, soon, &Outcome::Opened).is_empty());
    let late = start + STALE_MAX + BEHIND_MAX + SECOND;
    assert_eq!(verdict(&judge, &tenant, late, &Outcome::Opened), [ACCEPTED]);
}

#[test]
fn a_disabled_tenant_is_shut_out_whatever_the_key_is() {
    let (judge, tenant, start) = (judge(), tenant(), now());
    tenant.enabled().begin(false, start);
    tenant.enabled().acknowledge(start);
    let late = start + BEHIND_MAX + SECOND;
    assert_eq!(verdict(&judge, &tenant, late, &Outcome::Opened), [ACCEPTED]);
    assert!(verdict(&judge, &tenant, late, &refused(401)).is_empty());
}

#[test]
fn what_is_refused_for_a_while_needs_a_cause_on_its_way() {
    let (judge, tenant) = (judge(), tenant());
    let start = now();
    for outcome in [refused(502), refused(503), Outcome::Broken("reset".to_owned())] {
        assert_eq!(verdict(&judge, &tenant, start, &outcome).len(), 1, "{outcome:?}");
    }
    // Another runtime's, another replica's.
    judge.incidents.begin(Part::Runtime(1), "killed");
    judge.incidents.begin(Part::Replica(0), "killed");
    assert_eq!(verdict(&judge, &tenant, now(), &refused(502)).len(), 1);
    judge.incidents.begin(Part::Runtime(0), "killed");
    assert!(verdict(&judge, &tenant, now(), &refused(502)).is_empty());
    assert_eq!(verdict(&judge, &tenant, now(), &refused(418)), ["an unexpected answer"]);
}

#[test]
fn a_connection_ends_with_its_replica_its_runtime_its_network_or_its_grant() {
    let (judge, tenant) = (judge(), tenant());
    let is_wrong = |judge: &Judge, way: &Way, end: &End| {
        let before = judge.violations_of(ENDED);
        judge.end(way, end, true);
        judge.violations_of(ENDED) > before
    };
    let torn = End::Torn("reset".to_owned());
    let closed = |code| End::Closed(code, String::new());
    let old = way(&tenant, now());
    for end in [torn.clone(), closed(1001), closed(1008), closed(1014), closed(1000)] {
        assert!(is_wrong(&judge, &old, &end), "{end:?}");
    }
    let killing = judge.incidents.begin(Part::Replica(1), "killed");
    assert!(!is_wrong(&judge, &old, &torn));
    assert!(is_wrong(&judge, &old, &closed(1014)), "the runtime lives");
    judge.incidents.end(killing);
    let new = way(&tenant, now());
    assert!(is_wrong(&judge, &new, &torn), "it began after the kill");
    judge.incidents.begin(Part::Runtime(0), "killed");
    assert!(!is_wrong(&judge, &new, &closed(1014)));
    new.credential.fact().begin(false, now());
    assert!(!is_wrong(&judge, &new, &closed(1008)));
}

#[test]
fn nothing_is_relayed_for_a_dead_grant() {
    let (judge, tenant, start) = (judge(), tenant(), now());
    let way = way(&tenant, start);
    way.credential.fact().begin(false, start);
    way.credential.fact().acknowledge(start);
    judge.relayed(&way, start + SECOND);
    assert!(judge.violations().0.is_empty());
    judge.relayed(&way, start + BEHIND_MAX + SECOND);
    assert_eq!(judge.violations_of("relayed for a dead grant"), 1);
}

#[test]
fn more_violations_than_anybody_reads_are_counted() {
    let judge = judge();
    for number in 0..VIOLATIONS_TOLD + 5 {
        judge.violation(LOST, number.to_string());
    }
    let (told, untold) = judge.violations();
    assert_eq!((told.len(), untold), (VIOLATIONS_TOLD, 5));
}
