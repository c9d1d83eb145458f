//! What a conversation does when nothing happens for too long.

use super::super::Story;
use super::super::passage::Progress;
use super::super::step::{Outcome, Step};
use super::{Conversation, State, Tools};

impl<S: Story> Conversation<S> {
    /// Applies the deadlines and the closing level; a turn must follow [`Step::On`].
    pub(in crate::front) fn check(&mut self, tools: &mut Tools<S>) -> Step {
        if self.client.watch(&tools.registry).is_err() {
            return Step::End(Outcome::Over);
        }
        let now = tools.now;
        let stalled_since = self.client.blocked_since().map(|since| now.since(since));
        if stalled_since.is_some_and(|span| span >= tools.settings.write_stall_max) {
            return Step::End(Outcome::Over);
        }
        let timed_out = match &self.state {
            State::Head { deadline, .. } | State::Lingering { deadline } if now >= *deadline => {
                return Step::End(Outcome::Over);
            }
            State::Passage(passage)
                if passage.is_switch_late(now) || passage.is_stuck(&tools.settings, now) =>
            {
                return Step::End(Outcome::Over);
            }
            State::Passage(passage) => passage.timed_out(now),
            _ => None,
        };
        match (timed_out, self.obey_level(tools)) {
            (Some(refusal), Step::Wait) => self.after(Progress::Refuse(refusal), tools),
            // Systems tell of room only when there is much of it, hence a try.
            (None, Step::Wait) if self.client.is_blocked() || self.try_again(tools) => Step::On,
            (_, step) => step,
        }
    }

    fn try_again(&mut self, tools: &mut Tools<S>) -> bool {
        match &mut self.state {
            State::Passage(passage) => passage.try_again(tools),
            _ => false,
        }
    }

    /// Whether it waits for a request of which not all has come, as far as is known.
    pub(in crate::front) fn is_waiting_for_a_request(&self) -> bool {
        let is_waiting = matches!(&self.state, State::Head { .. });
        is_waiting && !self.client.is_blocked() && !self.client.readable
    }

    /// Whether it waits for a request of which nothing has come.
    pub(in crate::front) fn is_idle(&self) -> bool {
        let has_none = matches!(&self.state, State::Head { part, .. } if part.is_empty());
        has_none && self.is_waiting_for_a_request()
    }
}
