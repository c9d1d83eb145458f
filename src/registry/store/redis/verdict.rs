//! What the guard of every script says, and what follows from it for what this process knows.

use redis::Value;

use super::address::Address;
use super::contact::{Answer, Contact, Effect, locked};
use super::reply::{Reply, unreadable};
use super::seen::{Mark, Seen};
use crate::registry::store::error::StoreError;

/// What the guard found.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It let the script run.
    Passed { last: Mark, confirmed: Option<Mark>, reply: Reply },
    /// Another epoch.
    Adopted { epoch: String, last: Mark, confirmed: Option<Mark> },
    /// The registry lacks the last revision that it was asked with.
    Behind(StoreError),
}

/// A revision and its tag, if they are there.
pub(super) fn optional_mark(reply: &mut Reply) -> Result<Option<Mark>, StoreError> {
    let (revision, tag) = (reply.optional()?, reply.optional()?);
    let (Some(revision), Some(tag)) = (revision, tag) else { return Ok(None) };
    let revision = std::str::from_utf8(&revision).ok().and_then(|text| text.parse().ok());
    let tag = String::from_utf8(tag).ok();
    revision.zip(tag).map(|(revision, tag)| Some(Mark { revision, tag })).ok_or_else(unreadable)
}

pub(super) fn mark(reply: &mut Reply) -> Result<Mark, StoreError> {
    optional_mark(reply)?.ok_or_else(unreadable)
}

impl Contact {
    pub(super) fn verdict(&self, asked_with: &Seen, value: Value) -> Result<Verdict, StoreError> {
        let mut reply = Reply::new(value)?;
        let place = &self.address;
        let wanted = asked_with.last.revision;
        match reply.text()?.as_str() {
            "ok" => {
                let (last, confirmed) = (mark(&mut reply)?, optional_mark(&mut reply)?);
                Ok(Verdict::Passed { last, confirmed, reply })
            }
            "epoch" => {
                let (epoch, last) = (reply.text()?, mark(&mut reply)?);
                Ok(Verdict::Adopted { epoch, last, confirmed: optional_mark(&mut reply)? })
            }
            "stale" => Ok(Verdict::Behind(StoreError::Stale(format!(
                "the registry at {place} is at revision {}, but revision {wanted} was seen: held until 'flowgate registry adopt'",
                reply.number()?,
            )))),
            "parted" => Ok(Verdict::Behind(StoreError::Stale(format!(
                "the registry at {place} has another revision {wanted} than the one that was seen: held until 'flowgate registry adopt'",
            )))),
            "late" => Err(self.away("the write came too late and was not made")),
            "corrupt" => Err(StoreError::Corrupt(format!("{place}: {:?}", reply.text()?))),
            other => Err(self.foreign(other, &mut reply)),
        }
    }

    /// What the guard says of what is no registry of ours.
    pub(super) fn foreign(&self, verdict: &str, reply: &mut Reply) -> StoreError {
        let place = &self.address;
        match verdict {
            "empty" => StoreError::Foreign(format!("the registry at {place} is gone")),
            "format" => other_format(place, &reply.text().unwrap_or_default()),
            "foreign" => StoreError::Foreign(format!("{place} has another registry than before")),
            _ => unreadable(),
        }
    }

    /// Tells the log, and whoever reads the feed, when a registry becomes one to be held, or is in
    /// order again.
    pub(super) fn note<T>(&self, judged: &Result<T, StoreError>) {
        let wrong = match judged {
            Err(error @ (StoreError::Stale(_) | StoreError::Foreign(_))) => Some(error.clone()),
            Err(_) => return,
            Ok(_) => None,
        };
        let mut before = locked(&self.wrong);
        if *before == wrong {
            return;
        }
        match &wrong {
            Some(error) => tracing::error!(%error, "registry held"),
            None => tracing::info!(registry = %self.address, "registry in order again"),
        }
        let is_well_again = wrong.is_none();
        *before = wrong;
        drop(before);
        if is_well_again {
            self.wake();
        }
    }

    /// Takes in what a script said that ran. `None` must be asked again: what was asked with is no
    /// longer what is known, so that the answer may be of a history that was given up since.
    pub(super) fn learn(
        &self,
        asked_with: &Seen,
        (last, confirmed): (Mark, Option<Mark>),
        reply: Reply,
        effect: Effect,
    ) -> Result<Option<Answer>, StoreError> {
        // Where nobody waits for replicas, all is as good as confirmed.
        let confirmed =
            if self.address.wait_replicas == 0 { Some(&last) } else { confirmed.as_ref() };
        let mut seen = locked(&self.seen);
        if seen.history != asked_with.history {
            return match effect {
                Effect::Nothing => Ok(None),
                Effect::Writes => Err(self.lost("other writes were lost meanwhile", effect)),
            };
        }
        if seen.learn(&last, confirmed) {
            self.tell(last.revision);
        }
        Ok(Some(Answer { last, history: seen.history, reply }))
    }

    /// Under the lock of `seen`, so that what is told is what is known.
    fn tell(&self, revision: u64) {
        self.changes.send_if_modified(|last| std::mem::replace(last, revision) != revision);
    }

    /// Goes over to what an operator adopted.
    pub(super) fn take_over(
        &self,
        asked_with: &Seen,
        epoch: String,
        last: Mark,
        confirmed: Option<Mark>,
    ) -> Result<(), StoreError> {
        let mut seen = locked(&self.seen);
        if seen.epoch != asked_with.epoch {
            // Somebody else did.
            return Ok(());
        }
        if last.revision < seen.last.revision {
            return Err(StoreError::Stale(format!(
                "the registry at {} was adopted at revision {}, but revision {} was seen: held until 'flowgate registry adopt'",
                self.address, last.revision, seen.last.revision
            )));
        }
        tracing::warn!(revision = last.revision, "registry adopted as it is");
        self.tell(last.revision);
        let confirmed = confirmed.filter(|_| self.address.wait_replicas > 0);
        *seen = Seen { history: seen.history + 1, ..Seen::new(epoch, last, confirmed) };
        Ok(())
    }

    /// Goes over to a registry that has all that was confirmed, as `asked_with` knows it, but not all
    /// that was seen. The next to read the feed is told of a gap.
    pub(super) fn rewind(&self, asked_with: &Seen, found: &Mark, confirmed: Option<&Mark>) {
        let mut seen = locked(&self.seen);
        let Some(lost) = seen.rewind(asked_with, found, confirmed) else { return };
        tracing::warn!(
            registry = %self.address,
            seen = lost.revision,
            confirmed = seen.floor.revision,
            found = found.revision,
            "the registry lost writes that were not confirmed: everything is looked at anew"
        );
        // Also if another revision has the same number.
        self.changes.send_replace(found.revision);
    }
}

/// What is said of a registry that another flowgate made.
pub(super) fn other_format(place: &Address, format: &str) -> StoreError {
    StoreError::Foreign(format!(
        "the registry at {place} has format version {format:?}; this flowgate reads version {}",
        super::FORMAT
    ))
}
