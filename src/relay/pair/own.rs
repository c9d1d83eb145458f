//! Frames of flowgate's own: when one is to go in, which, and what answers it.

use super::flow::Phase;
use super::{Pair, Side};
use crate::clock::Millis;
use crate::relay::control::Injection;
use crate::relay::walk::Header;

impl Pair {
    /// Whether a step without new bytes has something to write.
    #[must_use]
    pub fn wants_step(&self, from: Side) -> bool {
        self.must_inject(from) && !self.flows[from as usize].is_inside_frame()
    }

    pub(super) fn must_inject(&self, from: Side) -> bool {
        let flow = &self.flows[from as usize];
        let is_due = flow.ping_due || (flow.notice_due && flow.is_between_messages());
        flow.phase == Phase::Open && (self.closing.is_some() || is_due)
    }

    pub(super) fn inject(&mut self, from: Side, now: Millis) -> Injection {
        let [a, b, c, d, ..] = self.rules.seed;
        let mask = (from == Side::Client).then_some([a, b, c, d]);
        let asked = from.other();
        let flow = &mut self.flows[from as usize];
        if let Some(cause) = self.closing {
            flow.mute();
            return Injection::Close { cause, mask };
        }
        if !flow.ping_due {
            flow.notice_due = false;
            self.last_notice_at = now;
            return Injection::Notice;
        }
        flow.ping_due = false;
        let [sent, unanswered] = [&mut self.pings_sent, &mut self.pings_unanswered];
        let (sent, unanswered) = (&mut sent[asked as usize], &mut unanswered[asked as usize]);
        // Zero is kept for "none yet".
        *sent = sent.checked_add(1).unwrap_or(1);
        *unanswered = unanswered.saturating_add(1);
        let mut payload = [0; 8];
        payload[7] = *sent;
        payload[..7].copy_from_slice(&self.nonce(asked));
        self.last_ping_at[asked as usize] = now;
        Injection::Ping { payload, mask }
    }

    /// How our Pings to this side begin. Another for each: a side may use it for a Ping of its own, whose
    /// Pong it is to get.
    fn nonce(&self, asked: Side) -> [u8; 7] {
        let [_, _, _, _, nonce @ .., _] = self.rules.seed;
        match asked {
            Side::Client => nonce,
            Side::Runtime => nonce.map(|byte| !byte),
        }
    }

    /// Whether a Pong answers one of our own Pings: it carries our nonce.
    pub(super) fn is_own_pong(&self, from: Side, header: &Header, bytes: &[u8]) -> bool {
        if self.pings_sent[from as usize] == 0 || header.payload_bytes != 8 {
            return false;
        }
        let mask = header.mask.unwrap_or_default();
        let payload = &bytes[header.header_bytes..];
        let nonce = self.nonce(from);
        (0..7).all(|place| payload[place] ^ mask[place % 4] == nonce[place])
    }
}
