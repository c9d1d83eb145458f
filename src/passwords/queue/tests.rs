use std::sync::Arc;

use super::*;
use crate::guessing::{Claim, Guess};

const STRANGER: bool = true;
const KNOWN: bool = false;

fn queue() -> Queue {
    Queue::new(Clock::start(), 1)
}

/// A check by an address, known by its mark.
fn job(done: Done, from: &str, mark: u64, is_stranger: bool, tries: u32) -> Job {
    let network = from.parse().unwrap();
    let flight = Guess::new(Claim { name: "mike", client: network }, mark).flight();
    let work = Work::Check(Check {
        hash: Arc::from(""),
        password: Secret::new(String::new()),
        digest: [0; 32],
        flight,
        waiters: vec![done],
        attempt: None,
    });
    Job { name: Some(1), tries, ..Job::new(network, is_stranger, work) }
}

fn try_bring(
    queue: &Queue,
    from: &str,
    mark: u64,
    is_stranger: bool,
    tries: u32,
) -> Option<oneshot::Receiver<Verdict>> {
    let (done, answer) = oneshot::channel();
    let made = job(done, from, mark, is_stranger, tries);
    match queue.put::<()>(made) {
        Entered::Waits => Some(answer),
        _ => None,
    }
}

fn bring(queue: &Queue, from: &str, mark: u64, is_stranger: bool) -> oneshot::Receiver<Verdict> {
    try_bring(queue, from, mark, is_stranger, 0).expect("there is room")
}

/// A stranger's check for another name than all others are for.
fn bring_for(
    queue: &Queue,
    name: u64,
    from: &str,
    mark: u64,
) -> Option<oneshot::Receiver<Verdict>> {
    let (done, answer) = oneshot::channel();
    let made = Job { name: Some(name), ..job(done, from, mark, STRANGER, 0) };
    matches!(queue.put::<()>(made), Entered::Waits).then_some(answer)
}

/// The mark of the next job, which is then over.
fn next(queue: &Queue) -> u64 {
    let flight = queue.next().unwrap().flight().unwrap();
    queue.finish(flight, None, 0);
    flight.1
}

#[test]
fn addresses_take_turns() {
    let queue = queue();
    let mut waiting: Vec<_> =
        (0..8).map(|mark| bring(&queue, "192.0.2.1", mark, STRANGER)).collect();
    waiting.extend((10..12).map(|mark| bring(&queue, "192.0.2.2", mark, STRANGER)));
    waiting.push(bring(&queue, "192.0.2.3", 20, STRANGER));
    let order: Vec<u64> = (0..11).map(|_| next(&queue)).collect();
    assert_eq!(order, [0, 10, 20, 1, 11, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn the_known_go_first_and_each_fourth_turn_is_a_strangers() {
    let queue = queue();
    let mut waiting = Vec::new();
    for mark in 0..8 {
        waiting.push(bring(&queue, &format!("192.0.2.{mark}"), mark, STRANGER));
    }
    for mark in 10..16 {
        waiting.push(bring(&queue, &format!("192.0.2.{mark}"), mark, KNOWN));
    }
    let order: Vec<u64> = (0..9).map(|_| next(&queue)).collect();
    assert_eq!(order, [10, 11, 12, 0, 13, 14, 15, 1, 2]);
}

#[test]
fn who_was_wrong_often_goes_last_and_gives_way() {
    let queue = queue();
    let mut waiting = Vec::new();
    for mark in 0..LANE_MAX as u64 {
        let (from, tries) = (format!("10.0.0.{mark}"), if mark == 77 { 2 } else { 1 });
        waiting.push(try_bring(&queue, &from, mark, STRANGER, tries).unwrap());
    }
    assert!(try_bring(&queue, "192.0.2.1", 900, STRANGER, 2).is_none(), "nobody is behind it");
    let fresh = bring(&queue, "192.0.2.1", 901, STRANGER);
    assert!(waiting[77].try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Closed));
    assert!(bring(&queue, "192.0.2.9", 902, KNOWN).try_recv().is_err(), "a lane of its own");
    assert_eq!(queue.next().unwrap().network.to_string(), "192.0.2.1");
    drop(fresh);
}

#[test]
fn a_crowd_that_was_wrong_before_does_not_keep_a_newcomer_waiting() {
    let queue = queue();
    let from = |number: u64| format!("2001:db8:0:{number:x}::");
    let mut waiting = Vec::new();
    // They come back again and again, each as soon as one of them had a turn.
    for mark in 0..LANE_MAX as u64 {
        waiting.push(try_bring(&queue, &from(mark), mark, STRANGER, 1).unwrap());
    }
    for mark in 1000..1020 {
        next(&queue);
        waiting.push(try_bring(&queue, &from(mark), mark, STRANGER, 1).unwrap());
    }
    let newcomer = bring(&queue, "192.0.2.1", 900, STRANGER);
    let order: Vec<u64> = (0..2).map(|_| next(&queue)).collect();
    assert!(order.contains(&900), "{order:?}");
    // Who was wrong once is not kept waiting for ever by those who never were.
    let fresh: Vec<_> =
        (2000..2020).map(|mark| bring(&queue, &from(mark), mark, STRANGER)).collect();
    let order: Vec<u64> = (0..10).map(|_| next(&queue)).collect();
    assert_eq!(order.iter().filter(|mark| **mark < 2000).count(), 2, "{order:?}");
    drop((waiting, newcomer, fresh));
}

#[test]
fn guesses_at_one_name_leave_places_for_others() {
    let queue = queue();
    let from = |number: u64| format!("2001:db8:0:{number:x}::");
    let mut waiting: Vec<_> =
        (0..LANE_MAX as u64).map(|mark| bring(&queue, &from(mark), mark, STRANGER)).collect();
    assert!(try_bring(&queue, &from(999), 999, STRANGER, 0).is_none(), "they are all as good");
    let half = LANE_MAX as u64 / 2;
    for mark in 1000..1000 + half {
        waiting.push(bring_for(&queue, mark, &from(mark), mark).expect("one of the crowd goes"));
    }
    let count = queue.lock().waiting.iter().filter(|job| job.name == Some(1)).count();
    assert_eq!((count as u64, queue.count()), (LANE_MAX as u64 - half, LANE_MAX));
    assert!(try_bring(&queue, &from(999), 999, STRANGER, 0).is_none(), "the crowd pushes nobody");
}

#[test]
fn turns_that_are_remembered_are_bounded() {
    let queue = queue();
    for mark in 0..10 * LAST_MAX as u64 {
        // Whoever has been let in leaves.
        drop(bring(&queue, &format!("10.0.{}.{}", mark >> 8, mark & 255), mark, STRANGER));
        assert!(queue.lock().lanes[1].last.len() <= LAST_MAX);
    }
}

#[test]
fn nobody_waits_for_long() {
    let queue = queue();
    let waiting = bring(&queue, "192.0.2.1", 1, STRANGER);
    let state = queue.lock();
    let came = state.waiting[0].came;
    assert!(!state.waiting[0].is_over(Micros(came.0 + WAIT_MICROS_MAX - 1)));
    assert!(state.waiting[0].is_over(Micros(came.0 + WAIT_MICROS_MAX)));
    drop((state, waiting));
}

#[test]
fn an_address_has_few_places_in_each_lane() {
    let queue = queue();
    let mut waiting: Vec<_> =
        (0..PER_ADDRESS_MAX as u64).map(|mark| bring(&queue, "::1", mark, STRANGER)).collect();
    assert!(try_bring(&queue, "::1", 100, STRANGER, 0).is_none());
    waiting.push(bring(&queue, "::1", 101, KNOWN));
    waiting.push(bring(&queue, "::2", 102, STRANGER));
    drop(waiting.remove(0));
    assert!(try_bring(&queue, "::1", 103, STRANGER, 0).is_some(), "nobody waits for one of them");
}

#[test]
fn a_name_has_a_share_in_each_lane() {
    let queue = queue();
    let waiting =
        [bring(&queue, "192.0.2.1", 1, STRANGER), bring(&queue, "192.0.2.2", 2, STRANGER)];
    let first = queue.next().unwrap();
    queue.finish(first.flight().unwrap(), first.share(), 10 * SHARE_BURST_MICROS);
    let state = queue.lock();
    let now = queue.clock.micros();
    assert_eq!(state.next(now, 1), None, "they have used theirs");
    let later = Micros(now.0 + SHARE * 9 * SHARE_BURST_MICROS + 1_000_000);
    assert_eq!(state.next(later, 1), Some(0));
    drop(state);
    let known = bring(&queue, "192.0.2.3", 3, KNOWN);
    assert_eq!(next(&queue), 3);
    let answer = bring_for(&queue, 2, "192.0.2.4", 4).expect("there is room");
    assert_eq!(next(&queue), 4, "another name's");
    drop((waiting, known, answer));
}

#[test]
fn the_same_is_done_once() {
    let queue = queue();
    let flight = Guess::new(Claim { name: "mike", client: "::1".parse().unwrap() }, 7).flight();
    let mut answers = Vec::new();
    for place in 0..WAITERS_MAX {
        let (done, answer) = oneshot::channel();
        let entered = queue.enter(flight, done, |done| match place {
            0 => Ok(job(done, "::1", 7, STRANGER, 0)),
            _ => Err("it was ruled on twice"),
        });
        assert!(matches!(entered, Entered::Waits), "{entered:?}");
        answers.push(answer);
        if place == 3 {
            assert_eq!(queue.next().unwrap().flight(), Some(flight), "it runs already");
        }
    }
    let entered = queue.enter(flight, oneshot::channel().0, |_| Err::<Job, _>(()));
    assert!(matches!(entered, Entered::Full));
    assert_eq!(queue.count(), 1);
    let waiters = queue.finish(flight, None, 0);
    assert_eq!((waiters.len(), queue.count()), (WAITERS_MAX, 0));
}

#[test]
fn a_closed_queue_is_emptied_first() {
    let queue = queue();
    let waiting = bring(&queue, "::1", 1, STRANGER);
    let left = bring(&queue, "::2", 2, STRANGER);
    drop(left);
    queue.close();
    assert_eq!(next(&queue), 1);
    assert!(queue.next().is_none(), "nobody waits for the other");
    drop(waiting);
}
