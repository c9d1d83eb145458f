//! The nodes of a runtime that somebody else runs at several addresses: which one is next, and which are
//! set aside as they could not be reached.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::clock::Millis;

/// Most nodes of a runtime.
pub const NODES_MAX: usize = 16;
/// For how long a node is left alone that could not be reached, unless it is probed.
pub const ASIDE_FOR: Duration = Duration::from_secs(10);

/// What is asked of each node from time to time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// A path, whose answer has to be below 500.
    pub path: String,
    /// Between two questions, while the runtime is used.
    pub every: Duration,
}

/// A runtime's nodes. What is known of them is lost when the tenant's account changes.
#[derive(Debug)]
pub struct Nodes {
    nodes: Vec<Node>,
    /// Whether each new connection goes to the next one. Else all go to the first that is up: an editor
    /// that is at several of them would show one and deploy to another.
    by_turns: bool,
    /// How they are probed, if they are.
    pub probe: Option<Probe>,
    next: AtomicUsize,
    /// When one was chosen last.
    used_ms: AtomicU64,
    is_watched: AtomicBool,
}

#[derive(Debug)]
struct Node {
    host: String,
    port: u16,
    /// 0 for one that is up.
    aside_until_ms: AtomicU64,
}

impl PartialEq for Nodes {
    fn eq(&self, other: &Self) -> bool {
        let places = |nodes: &Self| -> Vec<(String, u16)> {
            nodes.nodes.iter().map(|node| (node.host.clone(), node.port)).collect()
        };
        (places(self), self.by_turns, &self.probe) == (places(other), other.by_turns, &other.probe)
    }
}

impl Eq for Nodes {}

impl Nodes {
    /// All of them up.
    #[must_use]
    pub fn new(places: Vec<(String, u16)>, by_turns: bool, probe: Option<Probe>) -> Self {
        let node = |(host, port)| Node { host, port, aside_until_ms: AtomicU64::new(0) };
        Self {
            nodes: places.into_iter().map(node).collect(),
            by_turns,
            probe,
            next: AtomicUsize::new(0),
            used_ms: AtomicU64::new(0),
            is_watched: AtomicBool::new(false),
        }
    }

    /// Hosts and ports, in their order.
    pub fn places(&self) -> impl Iterator<Item = (&str, u16)> {
        self.nodes.iter().map(|node| (node.host.as_str(), node.port))
    }

    /// The next node to try after those that were tried; those that are set aside come last, the one
    /// that has been so for the longest time first. Counts as use.
    #[must_use]
    pub fn choose(&self, tried: &[usize], now: Millis) -> Option<usize> {
        self.used_ms.fetch_max(now.0, Ordering::Relaxed);
        let first = match self.by_turns && tried.is_empty() {
            true => self.next.fetch_add(1, Ordering::Relaxed),
            false => self.next.load(Ordering::Relaxed).wrapping_sub(1),
        };
        let count = self.nodes.len().max(1);
        let begin = if self.by_turns { first % count } else { 0 };
        let left = || {
            let all = (0..self.nodes.len()).map(|step| (begin + step) % count);
            all.filter(|place| !tried.contains(place))
        };
        left()
            .find(|place| self.is_up(*place, now))
            .or_else(|| left().min_by_key(|place| self.aside_until(*place)))
    }

    fn aside_until(&self, place: usize) -> u64 {
        self.nodes[place].aside_until_ms.load(Ordering::Relaxed)
    }

    /// Whether a node is not set aside.
    #[must_use]
    pub fn is_up(&self, place: usize, now: Millis) -> bool {
        self.aside_until(place) <= now.0
    }

    /// Sets a node aside until then.
    pub fn set_aside(&self, place: usize, until: Millis) {
        self.nodes[place].aside_until_ms.store(until.0, Ordering::Relaxed);
    }

    /// It can be reached.
    pub fn take_back(&self, place: usize) {
        self.nodes[place].aside_until_ms.store(0, Ordering::Relaxed);
    }

    /// How long a node is left alone that could not be reached at this time: a probe finds it again.
    #[must_use]
    pub fn aside_from(&self, now: Millis) -> Millis {
        let probed = self.probe.as_ref().map(|probe| probe.every * 2);
        now.plus(probed.unwrap_or(ASIDE_FOR).max(ASIDE_FOR))
    }

    /// Whether one was chosen within that time.
    #[must_use]
    pub fn is_used(&self, now: Millis, within: Duration) -> bool {
        now.since(Millis(self.used_ms.load(Ordering::Relaxed))) <= within
    }

    /// Takes it upon the caller to probe them, if nobody has.
    #[must_use]
    pub fn watch(&self) -> bool {
        self.probe.is_some() && !self.is_watched.swap(true, Ordering::Relaxed)
    }

    /// Leaves that to others.
    pub fn unwatch(&self) {
        self.is_watched.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Millis = Millis(1000);

    fn nodes(by_turns: bool) -> Nodes {
        let places = (1..=3).map(|port| ("127.0.0.1".to_owned(), port)).collect();
        Nodes::new(places, by_turns, None)
    }

    fn choices(nodes: &Nodes, now: Millis) -> Vec<usize> {
        (0..6).map(|_| nodes.choose(&[], now).unwrap()).collect()
    }

    #[test]
    fn they_take_turns_or_the_first_has_all() {
        assert_eq!(choices(&nodes(true), AT), [0, 1, 2, 0, 1, 2]);
        assert_eq!(choices(&nodes(false), AT), [0; 6]);
    }

    #[test]
    fn one_that_is_set_aside_comes_last_until_its_time_is_over() {
        for by_turns in [true, false] {
            let nodes = nodes(by_turns);
            nodes.set_aside(0, nodes.aside_from(AT));
            assert!(!choices(&nodes, AT).contains(&0));
            nodes.set_aside(1, Millis(AT.plus(ASIDE_FOR).0 + 1));
            assert_eq!(choices(&nodes, AT), [2; 6]);
            let tried = |tried: &[usize]| nodes.choose(tried, AT);
            assert_eq!([tried(&[2]), tried(&[2, 0]), tried(&[2, 0, 1])], [Some(0), Some(1), None]);
            assert!(choices(&nodes, AT.plus(ASIDE_FOR)).contains(&0));
            nodes.take_back(1);
            assert!(nodes.is_up(1, AT));
        }
    }

    #[test]
    fn one_that_fails_is_followed_by_each_other_once() {
        let nodes = nodes(true);
        let mut tried = Vec::new();
        while let Some(place) = nodes.choose(&tried, AT) {
            tried.push(place);
        }
        tried.sort_unstable();
        assert_eq!(tried, [0, 1, 2]);
    }
}
