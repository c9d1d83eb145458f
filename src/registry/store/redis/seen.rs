//! What this process knows of the registry's history: how far it saw, and how far that is sure to last.

/// A revision, and the tag of the call that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) revision: u64,
    pub(super) tag: String,
}

/// What was seen of the registry.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) epoch: String,
    /// The last revision.
    pub(super) last: Mark,
    /// The highest revision that is known to be confirmed. It never goes back within an epoch: what
    /// lacks it is not believed.
    pub(super) floor: Mark,
    /// Raised whenever something that was seen is gone, so that whatever was read before is not to be
    /// relied upon: a lost tail, or an adoption.
    pub(super) history: u64,
}

impl Seen {
    /// `confirmed` is what the registry says is; without that everything counts as confirmed.
    pub(super) fn new(epoch: String, last: Mark, confirmed: Option<Mark>) -> Self {
        let floor = confirmed.unwrap_or_else(|| last.clone());
        Self { epoch, last, floor, history: 0 }
    }

    /// Takes in what an answer says. Returns whether there is something new.
    pub(super) fn learn(&mut self, last: &Mark, confirmed: Option<&Mark>) -> bool {
        if let Some(confirmed) = confirmed
            && confirmed.revision > self.floor.revision
        {
            self.floor = confirmed.clone();
        }
        let is_new = last.revision > self.last.revision;
        if is_new {
            self.last = last.clone();
        }
        is_new
    }

    /// Notes that enough replicas have a revision that was made in this history. Returns `false` if
    /// something was lost since.
    pub(super) fn confirm(&mut self, made: &Mark, history: u64) -> bool {
        let is_same = self.history == history;
        if is_same && made.revision > self.floor.revision {
            self.floor = made.clone();
        }
        is_same
    }

    /// The same with the floor as the last revision: what a registry must have at least.
    pub(super) fn at_floor(&self) -> Self {
        Self { last: self.floor.clone(), ..self.clone() }
    }

    /// Goes over to what was found to have the floor of `asked_with`, though not everything behind it.
    /// Returns what was the last until now, unless somebody else went over or the floor is higher by
    /// now: then one has to look again.
    pub(super) fn rewind(
        &mut self,
        asked_with: &Self,
        found: &Mark,
        confirmed: Option<&Mark>,
    ) -> Option<Mark> {
        if self.history != asked_with.history || self.floor != asked_with.floor {
            return None;
        }
        let lost = std::mem::replace(&mut self.last, found.clone());
        self.history += 1;
        self.learn(found, confirmed);
        Some(lost)
    }
}

#[cfg(test)]
mod tests;
