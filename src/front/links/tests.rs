use std::io::{Read, Write};
use std::net::TcpListener;

use mio::{Events, Poll};

use super::*;
use crate::tenant::TenantId;

const WAIT_MAX: Duration = Duration::from_secs(60);
const MIKE: Destination = (TenantId(1), 1);

struct World {
    poll: Poll,
    listener: TcpListener,
    links: Links,
}

impl World {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { poll: Poll::new().unwrap(), listener, links: Links::new(Descriptors::of(1_000_000)) }
    }

    /// A link that has served a request of this slot, and its other end.
    fn link(&mut self, slot: usize) -> (usize, std::net::TcpStream) {
        let id = self.links.dial(self.listener.local_addr().unwrap(), None, slot).unwrap();
        self.links.watch(id, Watched::Reading, self.poll.registry()).unwrap();
        (id, self.listener.accept().unwrap().0)
    }

    /// Waits for an event of this link and has it noted.
    fn note(&mut self, id: usize) -> Option<usize> {
        let mut events = Events::with_capacity(16);
        loop {
            self.poll.poll(&mut events, Some(WAIT_MAX)).unwrap();
            assert!(!events.is_empty(), "no event came");
            for event in &events {
                if event.token() == token(id) {
                    return self.links.note(id, event);
                }
            }
        }
    }
}

#[test]
fn the_one_kept_last_is_taken_first_and_only_for_its_destination() {
    let mut world = World::new();
    let (first, _first) = world.link(1);
    let (second, _second) = world.link(2);
    world.links.keep(first, MIKE, Millis(0));
    world.links.keep(second, MIKE, Millis(0));
    for other in [(TenantId(1), 2), (TenantId(2), 1)] {
        assert_eq!(world.links.take_kept(other, 3), None);
    }
    assert_eq!(world.links.take_kept(MIKE, 3), Some(second));
    assert_eq!(world.links.take_kept(MIKE, 4), Some(first));
    assert_eq!(world.links.take_kept(MIKE, 5), None);
    world.links.sweep(Millis(0), false);
    assert!(world.links.idle.is_empty(), "nothing is remembered of where nothing is kept");
}

#[test]
fn one_that_its_runtime_ends_or_speaks_on_is_kept_no_more() {
    for speaks in [false, true] {
        let mut world = World::new();
        let (id, mut other) = world.link(1);
        world.links.keep(id, MIKE, Millis(0));
        match speaks {
            true => other.write_all(b"unasked").unwrap(),
            false => other.shutdown(std::net::Shutdown::Write).unwrap(),
        }
        assert_eq!(world.note(id), None);
        assert_eq!(world.links.take_kept(MIKE, 2), None);
        assert!(world.links.get(id).is_none());
    }
}

#[test]
fn one_in_use_tells_its_user() {
    let mut world = World::new();
    let (id, mut other) = world.link(7);
    other.write_all(b"answer").unwrap();
    assert_eq!(world.note(id), Some(7));
    assert!(world.links.get(id).unwrap().readable);
    drop(other);
    assert_eq!(world.note(id), Some(7));
    let link = world.links.get(id).unwrap();
    assert!(link.ended);
    let mut all = Vec::new();
    link.socket.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"answer");
    // A link that has ended is never kept.
    world.links.keep(id, MIKE, Millis(0));
    assert_eq!(world.links.take_kept(MIKE, 8), None);
}

#[test]
fn they_are_kept_for_a_while_and_not_too_many() {
    let mut world = World::new();
    let others: Vec<_> = (0..=IDLE_PER_INSTANCE_MAX)
        .map(|slot| {
            let (id, other) = world.link(slot);
            world.links.keep(id, MIKE, Millis(slot as u64));
            other
        })
        .collect();
    assert_eq!(world.links.idle_count, IDLE_PER_INSTANCE_MAX);
    let idle_ms = u64::try_from(IDLE_MAX.as_millis()).unwrap();
    world.links.sweep(Millis(idle_ms), false);
    assert_eq!(world.links.idle_count, IDLE_PER_INSTANCE_MAX - 1, "the oldest one has gone");
    world.links.sweep(Millis(idle_ms), true);
    assert_eq!((world.links.idle_count, world.links.links.len()), (0, 0));
    for mut other in others {
        other.set_read_timeout(Some(WAIT_MAX)).unwrap();
        assert_eq!(other.read(&mut [0]).unwrap(), 0, "its end is told to the runtime");
    }
}
