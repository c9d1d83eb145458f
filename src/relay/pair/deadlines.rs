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
        if self.cut_at.is_some_and(|cut_at| now >= cut_at) {
            return Check::Cut;
        }
        let last_byte_at = self.flows[0].last_byte_at.max(self.flows[1].last_byte_at);
        let is_waiting = lanes.iter().any(|lane| lane.blocked_since.is_some() || lane.paused);
        let ended = self.flows.iter().filter(|flow| flow.phase != Phase::Open).count();
        let silence_max = match ended {
            0 => Duration::MAX,
            _ if is_waiting || self.cut_at.is_some() => Duration::MAX,
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
        let Some(ping_after) = patience.ping_after else {
            return Check::Fine;
        };
        let [from_client, from_runtime] = lanes;
        let not_reading = from_client.blocked_since.is_some() || from_client.paused;
        let [client, runtime] = &mut self.flows;
        let both_open = client.phase == Phase::Open && runtime.phase == Phase::Open;
        let heard_at = client.last_byte_at.max(self.last_ping_at);
        if !both_open
            || not_reading
            || from_runtime.blocked_since.is_some()
            || runtime.ping_due
            || now.since(heard_at) < ping_after
        {
            return Check::Fine;
        }
        if self.pings_unanswered >= PINGS_UNANSWERED_MAX {
            self.close(Cause::ClientSilent, now);
        } else {
            runtime.ping_due = true;
        }
        Check::Step
    }
}
