//! What the plan makes of a data frame: it passes, it waits, its message is left out, or the
//! connection ends.

use std::time::Duration;

use super::flow::Phase;
use super::{Pair, Side, Verdict};
use crate::clock::Millis;
use crate::close::Cause;
use crate::plan::{Accounts, Cost, Over};
use crate::relay::walk::{Header, Kind, Reserved};

/// Between two notices to a client that messages were left out.
const NOTICE_EVERY: Duration = Duration::from_secs(1);

/// What becomes of a frame whose header has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Pass,
    Drop,
}

impl Pair {
    /// What the plan says about a data frame. A message that has begun to pass passes whole: the rest
    /// of it can wait, but is not dropped.
    pub(super) fn fate(
        &self,
        from: Side,
        header: &Header,
        now: Millis,
        accounts: Accounts<'_>,
    ) -> Result<Fate, Verdict> {
        let is_start = header.kind == Kind::Start;
        if !is_start && self.flows[from as usize].dropping {
            return Ok(Fate::Drop);
        }
        if accounts.is_empty() {
            return Ok(Fate::Pass);
        }
        let cost = match is_start {
            true => Cost::message(header.payload_bytes),
            false => Cost::fragment(header.payload_bytes),
        };
        let Err(shortage) = accounts.take(cost, now) else { return Ok(Fate::Pass) };
        match shortage.over {
            Over::Close => Err(Verdict::Close(Cause::BudgetExhausted)),
            Over::Drop if is_start && self.may_drop(from, header) => Ok(Fate::Drop),
            Over::Drop | Over::Pace => Err(Verdict::PauseUntil(shortage.from)),
        }
    }

    /// Whether the receiver understands what follows without this message.
    fn may_drop(&self, from: Side, header: &Header) -> bool {
        match self.rules.reserved {
            Reserved::None => true,
            Reserved::Deflate => !(header.compressed && self.rules.keeps_context[from as usize]),
            // Its messages may have to do with each other in ways of their own.
            Reserved::Any => false,
        }
    }

    /// A frame that is left out begins.
    pub(super) fn drop_frame(&mut self, from: Side, header: &Header, now: Millis) -> Verdict {
        self.flows[from as usize].enter(header, true);
        let last = self.last_notice_at;
        if last == Millis(0) || now.since(last) >= NOTICE_EVERY {
            let to_client = &mut self.flows[Side::Runtime as usize];
            to_client.notice_due |= to_client.phase == Phase::Open;
        }
        Verdict::Discard(header.header_bytes)
    }

    /// Goes on inside of a frame that is left out. The other side has nothing of it, so that a frame of
    /// our own may go in.
    pub(super) fn leave_out(&mut self, from: Side, bytes: &[u8], now: Millis) -> Verdict {
        if self.must_inject(from) {
            return Verdict::Inject(self.inject(from, now));
        }
        match self.flows[from as usize].discard_payload(bytes.len()) {
            0 => Verdict::Idle,
            discarded => Verdict::Discard(discarded),
        }
    }
}
