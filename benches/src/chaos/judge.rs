//! Decides whether what a client has seen is what flowgate promises, from what is known of accounts and
//! of what was disturbed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flowgate_bench::clock::now;

use crate::accounts::{Credential, Home, Tenant};
use crate::incidents::{Incidents, Part};
use crate::link::Cuts;
use crate::report::progress;

/// How far a replica may be behind while nothing disturbs it. Documented are milliseconds; this machine
/// may have other things to do.
pub const BEHIND_MAX: Duration = Duration::from_secs(5);
/// Replicas run with this `registry_stale_max`.
pub const STALE_MAX: Duration = Duration::from_secs(12);
/// How long after a disturbance everything must be in order again.
pub const GRACE: Duration = Duration::from_secs(10);
/// How long a message may take while nothing disturbs its way.
pub const MESSAGE_MAX: Duration = Duration::from_secs(20);
/// The kind of violation that must never be: somebody was let in who is not allowed.
pub const ACCEPTED: &str = "accepted what should be refused";
/// Somebody was told for good that a credential is wrong.
pub const REFUSED: &str = "refused as wrong what is right";
/// A connection did not live as long as its peers.
pub const ENDED: &str = "ended without a cause";
/// A message was taken and never came.
pub const LOST: &str = "a message did not come back";
/// More are only counted.
const VIOLATIONS_TOLD: usize = 100;

/// What came of asking for something with a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was let in.
    Opened,
    /// It was answered with another status, and a refusal's code.
    Refused(u16, String),
    /// There was no answer, and why.
    Broken(String),
}

/// One attempt to come in.
pub struct Attempt<'a> {
    /// Through which replica.
    pub replica: usize,
    /// Whether through its link.
    pub by_link: bool,
    /// To whom.
    pub tenant: &'a Tenant,
    /// With what.
    pub credential: &'a Credential,
    /// When it was sent.
    pub sent: Instant,
    /// When its outcome was known.
    pub got: Instant,
}

/// A connection, for whoever judges what becomes of it.
#[derive(Clone)]
pub struct Way {
    /// What links know it by.
    pub id: u64,
    /// Through which replica.
    pub replica: usize,
    /// To whom.
    pub tenant: Arc<Tenant>,
    /// With what.
    pub credential: Arc<Credential>,
    /// Since when.
    pub opened: Instant,
}

/// How a connection ended that its client did not end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With a Close frame: code and reason.
    Closed(u16, String),
    /// Without.
    Torn(String),
}

/// Something that must not be.
#[derive(Clone, Debug)]
pub struct Violation {
    /// How long after the begin.
    pub after: Duration,
    /// What kind.
    pub kind: &'static str,
    /// What exactly.
    pub what: String,
}

/// What was seen.
#[derive(Default)]
struct Seen {
    violations: Vec<Violation>,
    untold: u64,
    kinds: BTreeMap<&'static str, usize>,
    counts: BTreeMap<String, u64>,
    spans: BTreeMap<&'static str, Vec<Duration>>,
}

/// The judge.
pub struct Judge {
    /// What was disturbed.
    pub incidents: Arc<Incidents>,
    /// What links have cut.
    pub cuts: Arc<Cuts>,
    begun: Instant,
    seen: Mutex<Seen>,
    is_quiet: AtomicBool,
}

impl Judge {
    /// From now on.
    pub fn new(incidents: Arc<Incidents>, cuts: Arc<Cuts>) -> Self {
        let is_quiet = AtomicBool::new(false);
        Self { incidents, cuts, begun: now(), seen: Mutex::default(), is_quiet }
    }

    /// From now on violations are no news.
    pub fn keep_quiet(&self) {
        self.is_quiet.store(true, Ordering::SeqCst);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long it has been going on.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Counts something.
    pub fn count(&self, what: &str) {
        self.add(what, 1);
    }

    /// Counts several.
    pub fn add(&self, what: &str, count: u64) {
        let mut seen = self.seen();
        match seen.counts.get_mut(what) {
            Some(sum) => *sum += count,
            None => _ = seen.counts.insert(what.to_owned(), count),
        }
    }

    /// Keeps how long something took.
    pub fn took(&self, what: &'static str, span: Duration) {
        self.seen().spans.entry(what).or_default().push(span);
    }

    /// Something must not be.
    pub fn violation(&self, kind: &'static str, what: String) {
        let after = self.elapsed();
        let mut seen = self.seen();
        *seen.kinds.entry(kind).or_default() += 1;
        if seen.violations.len() == VIOLATIONS_TOLD {
            seen.untold += 1;
            return;
        }
        if !self.is_quiet.load(Ordering::SeqCst) {
            progress(&format!("{:7.2} s: VIOLATION: {kind}: {what}", after.as_secs_f64()));
        }
        seen.violations.push(Violation { after, kind, what });
    }

    /// All violations that are told, and how many more there were.
    pub fn violations(&self) -> (Vec<Violation>, u64) {
        let seen = self.seen();
        (seen.violations.clone(), seen.untold)
    }

    /// How many violations of a kind there were.
    pub fn violations_of(&self, kind: &str) -> usize {
        self.seen().kinds.get(kind).copied().unwrap_or(0)
    }

    /// All counts.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.seen().counts.clone()
    }

    /// All spans, in order of length.
    pub fn spans(&self) -> BTreeMap<&'static str, Vec<Duration>> {
        let mut spans = self.seen().spans.clone();
        spans.values_mut().for_each(|spans| spans.sort_unstable());
        spans
    }

    /// Whether a replica may not have heard of everything, between two moments.
    fn may_be_behind(&self, replica: usize, home: Home, from: Instant, to: Instant) -> bool {
        let is_it = |part| match part {
            Part::Redis => home == Home::Shared,
            Part::Replica(one) | Part::RegistryLink(one) | Part::Disk(one) | Part::Files(one) => {
                one == replica
            }
            // That the time of day jumps is no excuse: nothing here rests on it.
            _ => false,
        };
        self.incidents.touched(is_it, from, to, GRACE)
    }

    /// How far a replica may be behind in what it lets in.
    fn window(&self, replica: usize, home: Home, from: Instant, to: Instant) -> Duration {
        match self.may_be_behind(replica, home, from, to) {
            true => STALE_MAX + BEHIND_MAX,
            false => BEHIND_MAX,
        }
    }

    /// Whether anything on the way to a tenant's runtime was disturbed.
    fn way_was_disturbed(
        &self,
        replica: usize,
        by_link: bool,
        tenant: &Tenant,
        from: Instant,
        to: Instant,
    ) -> bool {
        let is_it = |part| match part {
            Part::Redis => tenant.home == Home::Shared,
            Part::Replica(one)
            | Part::Drain(one)
            | Part::RegistryLink(one)
            | Part::Disk(one)
            | Part::Files(one) => one == replica,
            Part::Clients(one) => by_link && one == replica,
            Part::Runtime(one) | Part::RuntimeLink(one) => one == tenant.runtime,
            Part::Clock(_) => false,
        };
        self.incidents.touched(is_it, from, to, GRACE)
    }

    /// Judges whether somebody could be let in, or not.
    pub fn attempt(&self, attempt: &Attempt<'_>, outcome: &Outcome) {
        let Attempt { replica, by_link, tenant, credential, sent, got } = *attempt;
        let window = self.window(replica, tenant.home, sent, got);
        let whose = format!("{} through replica {replica}", tenant.name);
        match outcome {
            Outcome::Opened => {
                self.count("let in");
                if !tenant.may_open(credential, sent, got, window) {
                    let dead = credential.fact().since().map(|since| sent - since);
                    let text = format!(
                        "{whose}: a credential that is dead for {dead:?}, or a tenant who is disabled"
                    );
                    self.violation(ACCEPTED, text);
                }
            }
            Outcome::Refused(401, code) => {
                self.count("refused with 401");
                if !tenant.may_stay_shut(credential, sent, got, window) {
                    let text = format!("{whose}: 401 {code} for a right credential");
                    self.violation(REFUSED, text);
                }
            }
            Outcome::Refused(status @ (429 | 502 | 503 | 504), code) => {
                self.count(&format!("refused with {status} {code}"));
                if !self.way_was_disturbed(replica, by_link, tenant, sent, got) {
                    let text = format!("{whose}: {status} {code}, though nothing was disturbed");
                    self.violation("refused without a cause", text);
                }
            }
            Outcome::Refused(status, code) => {
                self.violation("an unexpected answer", format!("{whose}: {status} {code}"));
            }
            Outcome::Broken(why) => {
                self.count("broken attempts");
                if !self.way_was_disturbed(replica, by_link, tenant, sent, got) {
                    let text = format!("{whose}: {why}, though nothing was disturbed");
                    self.violation("no answer without a cause", text);
                }
            }
        }
    }

    /// Judges a message that was sent at a moment and has come back: its connection's grant must not
    /// have been dead for longer than it takes to hear of it.
    pub fn relayed(&self, way: &Way, sent: Instant) {
        let Way { replica, tenant, credential, .. } = way;
        if self.may_be_behind(*replica, tenant.home, sent, sent) {
            return;
        }
        if !tenant.may_open(credential, sent, sent, BEHIND_MAX) {
            let text = format!("{} through replica {replica}", tenant.name);
            self.violation("relayed for a dead grant", text);
        }
    }

    /// Whether a message that was sent then and is not back yet is lost.
    pub fn is_overdue(&self, way: &Way, sent: Instant) -> bool {
        let at = now();
        let Some(from) = at.checked_sub(MESSAGE_MAX) else { return false };
        sent < from && !self.way_was_disturbed(way.replica, true, &way.tenant, from, at)
    }

    /// Judges an end that its client did not ask for. Whether the client has looked for it all the time
    /// says `is_prompt`.
    pub fn end(&self, way: &Way, end: &End, is_prompt: bool) {
        let Way { id, replica, tenant, credential, opened } = way;
        let (at, replica) = (now(), *replica);
        let window = self.window(replica, tenant.home, *opened, at);
        let happened = |part, what| self.incidents.has(part, what, *opened, at);
        let is_cut = self.cuts.has(*id);
        let runtime_died = happened(Part::Runtime(tenant.runtime), "killed");
        let replica_died = happened(Part::Replica(replica), "killed");
        let has_ended = tenant.may_stay_shut(credential, *opened, at, window);
        let drains = happened(Part::Drain(replica), "drained");
        let (name, is_explained) = match end {
            End::Closed(1001, _) => ("1001", drains),
            End::Closed(1008, reason) => {
                let since = credential.fact().since();
                let is_by_key = reason == "API key regenerated" || reason == "API key revoked";
                if let Some(since) = since.filter(|_| is_by_key && is_prompt) {
                    let took = at.saturating_duration_since(since);
                    let what = match self.way_was_disturbed(replica, true, tenant, since, at) {
                        true => "a revocation, to a Close frame, where something was in its way",
                        false => "a revocation, from its answer to a Close frame",
                    };
                    self.took(what, took);
                }
                ("1008", has_ended)
            }
            End::Closed(1014, _) => ("1014", runtime_died || is_cut),
            End::Closed(..) => ("another code", false),
            End::Torn(_) => {
                ("no Close", is_cut || runtime_died || replica_died || has_ended || drains)
            }
        };
        self.count(&format!("connections ended: {name}"));
        if !is_explained {
            let text = format!(
                "{} through replica {replica}, connection {id}, {:.1} s old: {end:?}",
                tenant.name,
                (at - *opened).as_secs_f64()
            );
            self.violation(ENDED, text);
        }
    }
}

#[cfg(test)]
mod tests;
