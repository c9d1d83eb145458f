//! How a thread hears of what it is to adopt.

use std::time::Duration;

use mio::Events;

use super::cluster::{Cluster, PATIENCE};
use crate::clock::Clock;
use crate::relay::plane::{Plane, Prepared};

#[test]
fn what_is_adopted_wakes_at_once() {
    let (plane, mut prepared) = Plane::prepare(1, PATIENCE, Clock::start()).unwrap();
    let Prepared { poll, .. } = &mut prepared[0];
    let (adoption, _) = Cluster::start(1).prepare([&[], &[]]);
    plane.reserve().unwrap().adopt(adoption);
    let mut events = Events::with_capacity(1);
    poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
    assert!(!events.is_empty());
}
