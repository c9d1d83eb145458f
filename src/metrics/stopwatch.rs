//! Where the time of a handshake went.

use crate::clock::Micros;

/// The parts of a handshake, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Up to where it is decided that it may be made: the row, the credential, the grant.
    Auth,
    /// Up to where it is known where to dial: limits, the tenant read again, the instance's addresses.
    Resolve,
    /// Until the runtime has accepted the connection, with TLS if it speaks that.
    Connect,
    /// Until the runtime has answered the handshake.
    Upstream,
}

impl Phase {
    /// All, in their order.
    pub const ALL: [Self; 4] = [Self::Auth, Self::Resolve, Self::Connect, Self::Upstream];

    /// For metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Upstream => "upstream",
        }
    }
}

/// Measures one request. Plain data; whoever passes a phase says when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stopwatch {
    began: Micros,
    lapped: Micros,
    laps: [u64; 4],
    passed: usize,
}

impl Stopwatch {
    /// Begins with the first phase.
    #[must_use]
    pub fn start(now: Micros) -> Self {
        Self { began: now, lapped: now, ..Self::default() }
    }

    /// A phase is over. One that was passed before, as in a second attempt, counts with the next one.
    pub fn pass(&mut self, phase: Phase, now: Micros) {
        let place = phase as usize;
        if place < self.passed {
            return;
        }
        self.laps[place] = now.since(self.lapped);
        (self.lapped, self.passed) = (now, place + 1);
    }

    /// How long the phases took up to now, in microseconds: those that were passed and, if it came no
    /// further than that, the one that it is in.
    pub fn phases(&self, now: Micros) -> impl Iterator<Item = (Phase, u64)> {
        let begun = (self.passed + 1).min(Phase::ALL.len());
        let mut laps = self.laps;
        if let Some(last) = laps.get_mut(self.passed) {
            *last = now.since(self.lapped);
        }
        Phase::ALL.into_iter().zip(laps).take(begun)
    }

    /// How long all of it took up to now, in microseconds.
    #[must_use]
    pub fn elapsed(&self, now: Micros) -> u64 {
        now.since(self.began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_microsecond_is_in_one_phase() {
        let mut watch = Stopwatch::start(Micros(100));
        let phases = |watch: &Stopwatch, now| watch.phases(Micros(now)).collect::<Vec<_>>();
        assert_eq!(phases(&watch, 107), [(Phase::Auth, 7)]);
        watch.pass(Phase::Auth, Micros(110));
        watch.pass(Phase::Resolve, Micros(111));
        watch.pass(Phase::Auth, Micros(112));
        assert_eq!(
            phases(&watch, 120),
            [(Phase::Auth, 10), (Phase::Resolve, 1), (Phase::Connect, 9)]
        );
        watch.pass(Phase::Connect, Micros(130));
        watch.pass(Phase::Upstream, Micros(150));
        let all = phases(&watch, 1_000);
        let sum: u64 = all.iter().map(|(_, span)| span).sum();
        assert_eq!((all.len(), sum), (4, 50));
        assert_eq!(watch.elapsed(Micros(150)), 50);
    }
}
