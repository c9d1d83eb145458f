//! How long the sides of a pair may let each other wait.

use std::time::Duration;

use super::flow::Phase;
use super::{CLOSE_GRACE, Pair, Side};
use crate::clock::Millis;
use crate::close::Cause;

/// Pings that may stay unanswered before the client counts as dead.
const PINGS_UNANSWERED_MAX: u8 = 2;

/// How long a side may let the other wait. All are checked about once a second.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// A frame that is begun must bring a byte within this time.
    pub frame_stall_max: Duration,
    /// A side that has bytes waiting must take one within this time.
    pub write_stall_max: Duration,
    /// Once one side has ended, the other may stay silent this long.
    pub half_open_max: Duration,
    /// A client that has been silent this long gets a Ping; `None` sends none.
    pub ping_after: Option<Duration>,
    /// The same for a runtime.
    pub ping_runtime_after: Option<Duration>,
    /// A connection is closed once it has lived this long; see [`Patience::lifetime`].
    pub lifetime_max: Option<Duration>,
}

impl Patience {
    /// How long this connection may live: up to a tenth less than the most, so that those that began
    /// together do not end together.
    #[must_use]
    pub fn lifetime(&self, connection: u64) -> Option<Duration> {
        const STEPS_BITS: u32 = 10;
        let max = self.lifetime_max?;
        // Neighbours are far apart (Knuth, Sorting and Searching, section 6.4).
        let step = connection.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - STEPS_BITS);
        let step = u32::try_from(step).unwrap_or(0);
        Some(max - max / 10 * step / (1 << STEPS_BITS))
    }
}

/// What a driver knows of one direction and the pair does not.
#[derive(Clone, Copy, Debug)]
pub struct LaneState {
    /// Since when the receiving side has taken nothing, if bytes are waiting for it.
    pub blocked_since: Option<Millis>,
    /// Reading is paused by the plan.
    pub paused: bool,
}

/// What [`Pair::check`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// All is well.
    Fine,
    /// Step both directions: something is to be written.
    Step,
    /// Drop both sockets.
    Cut,
}

impl Pair {
    /// Applies the deadlines. `lanes` are the directions from client and from runtime.
    pub fn check(&mut self, now: Millis, patience: &Patience, lanes: [LaneState; 2]) -> Check {
        if now >= self.cut_at {
            return Check::Cut;
        }
        let last_byte_at = self.flows[0].last_byte_at.max(self.flows[1].last_byte_at);
        let is_waiting = lanes.iter().any(|lane| lane.blocked_since.is_some() || lane.paused);
        let ended = self.flows.iter().filter(|flow| flow.phase != Phase::Open).count();
        let silence_max = match ended {
            0 => Duration::MAX,
            _ if is_waiting || self.is_ending() => Duration::MAX,
            1 => patience.half_open_max,
            // Nothing more can pass either way: all that is missing is for the peers to hang up.
            _ => CLOSE_GRACE,
        };
        if now.since(last_byte_at) >= silence_max {
            return Check::Cut;
        }
        if self.closing.is_some() {
            return Check::Fine;
        }
        if let Some(cause) = self.stalled(now, patience, lanes) {
            self.close(cause, now);
            return Check::Step;
        }
        self.check_pings(now, patience, lanes)
    }

    fn stalled(&self, now: Millis, patience: &Patience, lanes: [LaneState; 2]) -> Option<Cause> {
        for from in Side::BOTH {
            let flow = &self.flows[from as usize];
            let lane = lanes[from as usize];
            match lane.blocked_since {
                Some(since) if now.since(since) >= patience.write_stall_max => {
                    return Some(match from {
                        Side::Client => Cause::RuntimeStalled,
                        Side::Runtime => Cause::ClientStalled,
                    });
                }
                None if flow.mid_frame()
                    && !lane.paused
                    && now.since(flow.last_byte_at) >= patience.frame_stall_max =>
                {
                    return Some(Cause::FrameStalled);
                }
                _ => {}
            }
        }
        None
    }

    fn check_pings(&mut self, now: Millis, patience: &Patience, lanes: [LaneState; 2]) -> Check {
        let mut check = Check::Fine;
        for (side, after) in
            [(Side::Client, patience.ping_after), (Side::Runtime, patience.ping_runtime_after)]
        {
            if after.is_some_and(|after| self.is_to_be_asked(side, now, after, lanes)) {
                self.ask(side, now);
                check = Check::Step;
            }
        }
        check
    }

    /// A side is silent although nothing keeps it from being heard, or from hearing us.
    fn is_to_be_asked(
        &self,
        side: Side,
        now: Millis,
        after: Duration,
        lanes: [LaneState; 2],
    ) -> bool {
        let [from_it, to_it] = [side, side.other()].map(|side| lanes[side as usize]);
        let is_open = self.flows.iter().all(|flow| flow.phase == Phase::Open);
        let is_asked = self.flows[side.other() as usize].ping_due;
        let heard_at = self.flows[side as usize].last_byte_at;
        let heard_at = heard_at.max(self.last_ping_at[side as usize]);
        is_open
            && !is_asked
            && from_it.blocked_since.is_none()
            && !from_it.paused
            && to_it.blocked_since.is_none()
            && now.since(heard_at) >= after
    }

    fn ask(&mut self, side: Side, now: Millis) {
        if self.pings_unanswered[side as usize] < PINGS_UNANSWERED_MAX {
            self.flows[side.other() as usize].ping_due = true;
        } else {
            let cause = match side {
                Side::Client => Cause::ClientSilent,
                Side::Runtime => Cause::RuntimeSilent,
            };
            self.close(cause, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_spread_over_a_tenth() {
        let max = Duration::from_secs(1000);
        let patience = |lifetime_max| Patience {
            frame_stall_max: max,
            write_stall_max: max,
            half_open_max: max,
            ping_after: None,
            ping_runtime_after: None,
            lifetime_max,
        };
        assert_eq!(patience(None).lifetime(7), None);
        let patience = patience(Some(max));
        let lifetimes: Vec<_> = (0..1000).map(|id| patience.lifetime(id).unwrap()).collect();
        assert!(lifetimes.iter().all(|it| (max - max / 10..=max).contains(it)));
        // In each hundredth of the tenth there is somebody, and nowhere are many.
        for part in 0..100_u32 {
            let (from, to) = (max - max / 1000 * (part + 1), max - max / 1000 * part);
            let count = lifetimes.iter().filter(|it| (from..to).contains(*it)).count();
            assert!((1..30).contains(&count), "{part}: {count}");
        }
    }
}
