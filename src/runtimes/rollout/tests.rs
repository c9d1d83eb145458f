use super::super::testing::Shared;
use super::*;

#[test]
fn a_pace_has_bounds() {
    assert_eq!(serde_json::from_str::<Pace>("{}").unwrap(), Pace::default());
    for (wrong, is_good) in [
        (Pace { at_once: 0, ..Pace::default() }, false),
        (Pace { at_once: 16, ..Pace::default() }, true),
        (Pace { at_once: 17, ..Pace::default() }, false),
        (Pace { pause_seconds: 3601, ..Pace::default() }, false),
        (Pace { failures_max: 1_000_001, ..Pace::default() }, false),
    ] {
        assert_eq!(wrong.check().is_ok(), is_good, "{wrong:?}");
    }
}

fn none_yet(by: &str) -> Progress {
    Progress {
        stage: Stage::Running,
        by: by.to_owned(),
        pace: Pace::default(),
        begun_unix_ms: 0,
        told_unix_ms: 0,
        total: 0,
        restarted: 0,
        skipped: 0,
        failed: 0,
        failures: Vec::new(),
    }
}

#[tokio::test]
async fn two_who_begin_at_once_begin_one() {
    let runtimes = Shared::new().await.replica("a");
    let begin = || runtimes.begin_rollout("ops", Pace::default());
    let (first, second, third) = tokio::join!(begin(), begin(), begin());
    let begun = [first, second, third].map(|it| it.unwrap().is_some());
    assert_eq!(begun.iter().filter(|is_begun| **is_begun).count(), 1, "{begun:?}");
    let ended = async {
        while runtimes.rollout().await.unwrap().unwrap().stage == Stage::Running {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), ended).await.unwrap();
}

/// It says nothing any more, and what is asked of the other is not its own to hear.
#[tokio::test]
async fn one_that_was_held_up_leaves_the_next_alone() {
    let shared = Shared::new().await;
    let (late, next) = (shared.replica("late"), shared.replica("next"));
    let mut own = none_yet("late");
    assert_eq!(late.may_go_on(&mut own).await, Leave::GoesOn);
    shared.wall.advance(LEASE_TTL);
    assert_eq!(next.may_go_on(&mut none_yet("next")).await, Leave::GoesOn);
    late.halt_rollout().await.unwrap();
    assert_eq!(late.may_go_on(&mut own).await, Leave::Lost);
    assert_eq!(late.rollout().await.unwrap().unwrap().by, "next");
    assert_eq!(next.may_go_on(&mut none_yet("next")).await, Leave::Halted);
}
