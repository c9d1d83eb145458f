//! What this process knows of the registry, and the one way in which scripts are run on it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError, Value};
use tokio::sync::{Semaphore, watch};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};

use super::Options;
use super::address::Address;
use super::link::{Link, describe};
use super::reply::Reply;
use super::scripts::{Arguments, Script, TOUCH};
use super::seen::{Mark, Seen};
use super::verdict::Verdict;
use crate::clock::Clock;
use crate::registry::store::error::StoreError;

/// Calls under way or waiting; further ones are refused.
const CALLS_MAX: usize = 4096;

#[derive(Debug)]
pub(super) struct Contact {
    pub(super) address: Address,
    pub(super) options: Options,
    /// 32 hexadecimal digits.
    pub(super) id: String,
    pub(super) clock: Clock,
    pub(super) changes: watch::Sender<u64>,
    pub(super) seen: Mutex<Seen>,
    /// The last history that a reader of the feed was told of.
    told: AtomicU64,
    /// Or why there is none.
    link: RwLock<Result<Arc<Link>, String>>,
    /// What was wrong with the registry at the last look.
    pub(super) wrong: Mutex<Option<StoreError>>,
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
    /// The registry's last revision.
    pub(super) last: Mark,
    /// As in [`Seen`].
    pub(super) history: u64,
    pub(super) reply: Reply,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Contact {
    pub(super) fn new(address: Address, options: Options, id: String, seen: Seen) -> Self {
        Self {
            address,
            options,
            id,
            clock: Clock::start(),
            changes: watch::Sender::new(seen.last.revision),
            told: AtomicU64::new(seen.history),
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

    /// Runs a script that changes something, and waits for the replicas. `tag` is that of the
    /// revisions which it makes. Must not be dropped before its end.
    pub(super) async fn write(
        &self,
        script: &Script,
        arguments: &Arguments,
        tag: Option<&str>,
    ) -> Result<Answer, StoreError> {
        let _call = self.admit()?;
        let link = self.link()?;
        let _turn = self.turn(&link).await?;
        let connection = link.writer.clone();
        let answer = self.exchange(&link, connection, script, arguments, Effect::Writes).await?;
        self.wait_for_replicas(&link).await?;
        // One that was refused shows what others made, of which nothing is known.
        if tag == Some(answer.last.tag.as_str()) {
            self.confirm(&link, &answer).await?;
        }
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

    /// Runs a script, again if the registry was found to be another than was known: adopted by an
    /// operator, or without the last writes, of which none was confirmed.
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
            let sent = timeout_at(until, self.send(&mut connection, script, &given)).await;
            let answer = self.answered(link, sent, effect)?;
            let judged = match self.verdict(&seen, answer) {
                Ok(Verdict::Passed { last, confirmed, reply }) => {
                    self.learn(&seen, (last, confirmed), reply, effect)
                }
                Ok(Verdict::Adopted { epoch, last, confirmed }) => {
                    self.take_over(&seen, epoch, last, confirmed).map(|()| None)
                }
                Ok(Verdict::Behind(error)) => {
                    let given = [&self.guarded_by(&seen.at_floor(), None)];
                    let sent = timeout_at(until, self.send(&mut connection, &TOUCH, &given)).await;
                    // The script itself was held back: nothing is left behind.
                    let answer = self.answered(link, sent, Effect::Nothing)?;
                    self.look_at_floor(&seen, error, answer).map(|()| None)
                }
                Err(error) => Err(error),
            };
            self.note(&judged);
            if let Some(answer) = judged? {
                return Ok(answer);
            }
        }
    }

    /// What a server said, unless it said nothing.
    fn answered(
        &self,
        link: &Link,
        answer: Result<Result<Value, RedisError>, Elapsed>,
        effect: Effect,
    ) -> Result<Value, StoreError> {
        match answer {
            Ok(answer) => answer.map_err(|error| self.failure(link, &error, effect)),
            Err(_) => {
                let why = "Redis did not answer in time";
                link.give_up(why);
                Err(self.lost(why, effect))
            }
        }
    }

    /// Decides about a registry that lacks what was seen, by what the guard said of its floor: it is
    /// gone over to, or is `error`.
    fn look_at_floor(
        &self,
        seen: &Seen,
        error: StoreError,
        answer: Value,
    ) -> Result<(), StoreError> {
        match self.verdict(&seen.at_floor(), answer)? {
            Verdict::Passed { last, confirmed, .. } => {
                self.rewind(seen, &last, confirmed.as_ref());
                Ok(())
            }
            Verdict::Adopted { epoch, last, confirmed } => {
                self.take_over(seen, epoch, last, confirmed)
            }
            Verdict::Behind(_) => Err(error),
        }
    }

    /// Whether whoever reads the feed has to be told that something was lost, once.
    pub(super) fn has_to_tell(&self, history: u64) -> bool {
        self.told.fetch_max(history, Ordering::SeqCst) < history
    }

    /// What the guard is given.
    fn guarded_by(&self, seen: &Seen, deadline_ms: Option<u64>) -> Arguments {
        let known = Arguments::default()
            .text(&self.address.prefix)
            .text(&self.id)
            .text(&seen.epoch)
            .number(seen.last.revision)
            .text(&seen.last.tag)
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
}
