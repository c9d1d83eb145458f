//! What this process knows of the registry, and the one way in which scripts are run on it.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError, Value};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::Options;
use super::address::Address;
use super::link::{Link, describe, run};
use super::reply::{Reply, unreadable};
use super::scripts::{Arguments, Script};
use crate::clock::Clock;
use crate::registry::store::error::StoreError;

/// Calls under way or waiting; further ones are refused.
const CALLS_MAX: usize = 4096;

/// What was seen of the registry. Its revision never goes back, whatever a server says.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) epoch: String,
    pub(super) revision: u64,
    /// Of the call that wrote that revision.
    pub(super) tag: String,
}

#[derive(Debug)]
pub(super) struct Contact {
    pub(super) address: Address,
    pub(super) options: Options,
    /// 32 hexadecimal digits.
    pub(super) id: String,
    pub(super) clock: Clock,
    pub(super) changes: watch::Sender<u64>,
    seen: Mutex<Seen>,
    /// Or why there is none.
    link: RwLock<Result<Arc<Link>, String>>,
    /// What was wrong with the registry at the last look.
    wrong: Mutex<Option<StoreError>>,
    calls: Semaphore,
}

/// What a script may leave behind when its answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Nothing,
    Writes,
}

/// What the guard let through.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) revision: u64,
    pub(super) reply: Reply,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Contact {
    pub(super) fn new(address: Address, options: Options, id: String, seen: Seen) -> Self {
        Self {
            address,
            options,
            id,
            clock: Clock::start(),
            changes: watch::Sender::new(seen.revision),
            seen: Mutex::new(seen),
            link: RwLock::new(Err("not connected yet".to_owned())),
            wrong: Mutex::new(None),
            calls: Semaphore::new(CALLS_MAX),
        }
    }

    pub(super) fn seen(&self) -> Seen {
        locked(&self.seen).clone()
    }

    pub(super) fn set_link(&self, link: Result<Arc<Link>, String>) {
        *self.link.write().unwrap_or_else(PoisonError::into_inner) = link;
    }

    pub(super) fn link(&self) -> Result<Arc<Link>, StoreError> {
        let link = self.link.read().unwrap_or_else(PoisonError::into_inner).clone();
        let link = link.map_err(|why| self.away(&why))?;
        self.check_link(&link)?;
        Ok(link)
    }

    /// A link may be of no use any more before its keeper has taken it away.
    fn check_link(&self, link: &Link) -> Result<(), StoreError> {
        link.why_broken().map_or(Ok(()), |why| Err(self.away(&why)))
    }

    /// Makes readers of the feed look, whether or not anything is new.
    pub(super) fn wake(&self) {
        self.changes.send_modify(|_| {});
    }

    pub(super) fn away(&self, why: &str) -> StoreError {
        StoreError::Unavailable(format!("{}: {why}", self.address))
    }

    /// Runs a script that changes nothing.
    pub(super) async fn read(
        &self,
        script: &Script,
        arguments: &Arguments,
    ) -> Result<Answer, StoreError> {
        let _call = self.admit()?;
        let link = self.link()?;
        let connection = link.reader.clone();
        self.exchange(&link, connection, script, arguments, Effect::Nothing).await
    }

    /// Runs a script that changes something, and waits for the replicas. Must not be dropped before
    /// its end.
    pub(super) async fn write(
        &self,
        script: &Script,
        arguments: &Arguments,
    ) -> Result<Answer, StoreError> {
        let _call = self.admit()?;
        let link = self.link()?;
        let _turn = self.turn(&link).await?;
        let connection = link.writer.clone();
        let answer = self.exchange(&link, connection, script, arguments, Effect::Writes).await?;
        self.wait_for_replicas(&link).await?;
        Ok(answer)
    }

    pub(super) fn admit(&self) -> Result<tokio::sync::SemaphorePermit<'_>, StoreError> {
        self.calls.try_acquire().map_err(|_| self.away("too many calls wait for it"))
    }

    /// A turn on the writing connection.
    pub(super) async fn turn<'l>(
        &self,
        link: &'l Link,
    ) -> Result<tokio::sync::SemaphorePermit<'l>, StoreError> {
        let turn = timeout(self.options.command_timeout, link.writes.acquire()).await;
        // Whoever had it before may have found that nobody answers.
        self.check_link(link)?;
        match turn {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(self.away("others have been writing for too long")),
        }
    }

    /// Runs a script, again if an operator adopted the registry meanwhile.
    pub(super) async fn exchange(
        &self,
        link: &Link,
        mut connection: MultiplexedConnection,
        script: &Script,
        arguments: &Arguments,
        effect: Effect,
    ) -> Result<Answer, StoreError> {
        let until = Instant::now() + self.options.command_timeout;
        let timeout_ms = u64::try_from(self.options.command_timeout.as_millis());
        let until_ms = self.clock.now().0.saturating_add(timeout_ms.unwrap_or(u64::MAX));
        loop {
            let seen = self.seen();
            let deadline_ms = (effect == Effect::Writes).then(|| link.in_server_ms(until_ms));
            let known = self.guarded_by(&seen, deadline_ms);
            let given = [&known, arguments];
            let sent = self.send(&mut connection, script, &given);
            let answer = match timeout_at(until, sent).await {
                Ok(Ok(value)) => self.judge(&seen, value),
                Ok(Err(error)) => Err(self.failure(link, &error, effect)),
                Err(_) => {
                    let why = "Redis did not answer in time";
                    link.give_up(why);
                    Err(self.lost(why, effect))
                }
            }?;
            if let Some(answer) = answer {
                return Ok(answer);
            }
        }
    }

    /// What the guard is given.
    fn guarded_by(&self, seen: &Seen, deadline_ms: Option<u64>) -> Arguments {
        let known = Arguments::default()
            .text(&self.address.prefix)
            .text(&self.id)
            .text(&seen.epoch)
            .number(seen.revision)
            .text(&seen.tag)
            .text(&self.options.driven_ms().map_or_else(String::new, |ms| ms.to_string()));
        match deadline_ms {
            Some(deadline_ms) => known.number(deadline_ms),
            None => known.text(""),
        }
    }

    async fn send(
        &self,
        connection: &mut MultiplexedConnection,
        script: &Script,
        arguments: &[&Arguments],
    ) -> Result<Value, RedisError> {
        async fn query(
            connection: &mut MultiplexedConnection,
            command: Cmd,
        ) -> Result<Value, RedisError> {
            connection.send_packed_command(&command).await.and_then(Value::extract_error)
        }
        match query(connection, script.by_digest(arguments)).await {
            Err(error) if error.code() == Some("NOSCRIPT") => {
                query(connection, script.by_source(arguments)).await
            }
            answer => answer,
        }
    }

    /// What the guard found. `None` is another epoch that has been taken over.
    fn judge(&self, asked_with: &Seen, value: Value) -> Result<Option<Answer>, StoreError> {
        let judged = self.verdict(asked_with, value);
        let wrong = match &judged {
            Err(error @ (StoreError::Stale(_) | StoreError::Foreign(_))) => Some(error.clone()),
            Err(_) => return judged,
            Ok(_) => None,
        };
        let mut before = locked(&self.wrong);
        if *before != wrong {
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
        judged
    }

    fn verdict(&self, asked_with: &Seen, value: Value) -> Result<Option<Answer>, StoreError> {
        let mut reply = Reply::new(value)?;
        let place = &self.address;
        match reply.text()?.as_str() {
            "ok" => {
                let (revision, tag) = (reply.number()?, reply.text()?);
                self.learn(revision, tag);
                Ok(Some(Answer { revision, reply }))
            }
            "epoch" => {
                let (epoch, revision, tag) = (reply.text()?, reply.number()?, reply.text()?);
                self.take_over(asked_with, Seen { epoch, revision, tag }).map(|()| None)
            }
            "stale" => Err(StoreError::Stale(format!(
                "the registry at {place} is at revision {}, but revision {} was seen: held until 'flowgate registry adopt'",
                reply.number()?,
                asked_with.revision
            ))),
            "parted" => Err(StoreError::Stale(format!(
                "the registry at {place} has another revision {} than the one that was seen: held until 'flowgate registry adopt'",
                asked_with.revision
            ))),
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

    fn learn(&self, revision: u64, tag: String) {
        let mut seen = locked(&self.seen);
        if revision > seen.revision {
            seen.revision = revision;
            seen.tag = tag;
            self.tell(revision);
        }
    }

    /// Under the lock of `seen`, so that it does not go back.
    fn tell(&self, revision: u64) {
        self.changes.send_if_modified(|last| std::mem::replace(last, revision) != revision);
    }

    /// Goes over to what an operator adopted.
    pub(super) fn take_over(&self, asked_with: &Seen, new: Seen) -> Result<(), StoreError> {
        let mut seen = locked(&self.seen);
        if seen.epoch != asked_with.epoch {
            // Somebody else did.
            return Ok(());
        }
        if new.revision < seen.revision {
            return Err(StoreError::Stale(format!(
                "the registry at {} was adopted at revision {}, but revision {} was seen: held until 'flowgate registry adopt'",
                self.address, new.revision, seen.revision
            )));
        }
        tracing::warn!(revision = new.revision, "registry adopted as it is");
        self.tell(new.revision);
        *seen = new;
        Ok(())
    }

    /// What an error of the server's or of the connection's means.
    pub(super) fn failure(&self, link: &Link, error: &RedisError, effect: Effect) -> StoreError {
        let why = describe(error);
        let Some(code) = error.code() else {
            link.give_up(&why);
            return self.lost(&why, effect);
        };
        // Redis before 7 has the code of what failed within a script in its words only.
        let words = format!("{code} {}", error.detail().unwrap_or_default());
        let has = |word: &str| words.contains(word);
        if has("WRONGTYPE") {
            return StoreError::Corrupt(format!("{}: {why}", self.address));
        }
        if ["READONLY", "NOAUTH", "LOADING", "MASTERDOWN"].into_iter().any(has) {
            link.give_up(&why);
        }
        const BEFORE_ANYTHING: [&str; 9] = [
            "READONLY",
            "NOAUTH",
            "LOADING",
            "MASTERDOWN",
            "OOM",
            "MISCONF",
            "NOREPLICAS",
            "BUSY",
            "NOSCRIPT",
        ];
        if BEFORE_ANYTHING.into_iter().any(has) { self.away(&why) } else { self.lost(&why, effect) }
    }

    pub(super) fn lost(&self, why: &str, effect: Effect) -> StoreError {
        match effect {
            Effect::Nothing => self.away(why),
            Effect::Writes => StoreError::Unknown(format!("{}: {why}", self.address)),
        }
    }

    /// Waits until enough replicas have what this connection wrote.
    pub(super) async fn wait_for_replicas(&self, link: &Link) -> Result<(), StoreError> {
        let wanted = self.address.wait_replicas;
        if wanted == 0 {
            return Ok(());
        }
        let span = self.options.command_timeout;
        let mut command = redis::cmd("WAIT");
        command.arg(wanted).arg(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        let mut connection = link.writer.clone();
        let unknown = |why: &str| self.lost(why, Effect::Writes);
        match timeout(2 * span, run(&mut connection, &command)).await {
            Ok(Ok(Value::Int(had))) if had >= i64::from(wanted) => Ok(()),
            Ok(Ok(Value::Int(had))) => {
                Err(unknown(&format!("{had} replicas have it, {wanted} should")))
            }
            Ok(Ok(_)) => Err(unreadable()),
            Ok(Err(error)) => {
                link.give_up(&error.to_string());
                Err(unknown(&error.to_string()))
            }
            Err(_) => {
                link.give_up("Redis did not answer in time");
                Err(unknown("Redis did not answer in time"))
            }
        }
    }
}

/// What is said of a registry that another flowgate made.
pub(super) fn other_format(place: &Address, format: &str) -> StoreError {
    StoreError::Foreign(format!(
        "the registry at {place} has format version {format:?}; this flowgate reads version {}",
        super::FORMAT
    ))
}
