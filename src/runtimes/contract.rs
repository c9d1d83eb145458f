//! The contract between flowgate and whatever runs runtimes: what a provider is asked for, and what it
//! says when it cannot.
//!
//! A provider does what it is told and decides nothing: who may run a runtime, when it is started, when it
//! sleeps and how often it is tried again is said by [`super::Runtimes`], which calls it under a lease.

use std::fmt;
use std::future::Future;

use super::place::Place;
use crate::clock::UnixMillis;
use crate::tenant::{Instance, Provider, TenantId, Username};

/// Whatever runs runtimes: the processes of this machine, a cluster, or somebody else at an address.
///
/// Whoever implements it passes the one suite of tests, `tests/all/wake_contract.rs`.
pub trait RuntimeProvider: fmt::Debug + Send + Sync {
    /// One that it has started.
    type Running: RunningRuntime;

    /// Starts a tenant's runtime and waits until it answers: a request for [`Order::probe_path`] gets an
    /// answer, whatever it says. One that runs already is taken over if the provider's runtimes live
    /// longer than flowgate, else ended before. An order whose [`Order::fence`] is lower than that of an
    /// order that was carried out, by whichever replica, changes nothing.
    ///
    /// It takes no longer than a limit of the provider's own. Dropping the future undoes what was begun,
    /// at once or with the next order for the same tenant.
    ///
    /// # Errors
    /// Why it does not run, in words for its tenant, and the end of what it wrote.
    fn start(
        &self,
        order: &Order,
    ) -> impl Future<Output = Result<Self::Running, StartFault>> + Send;

    /// How a tenant's runtime is, whoever has started it. Changes nothing.
    fn condition(&self, order: &Order) -> impl Future<Output = Condition> + Send;

    /// The end of what a tenant's runtime wrote last, whether it runs or not, at most 8 KiB: its own
    /// bytes, whatever they are. Empty if nothing is known.
    fn log_tail(&self, order: &Order) -> impl Future<Output = Vec<u8>> + Send;

    /// Whose runtimes run, as far as they live longer than the flowgate that started them. Somebody has
    /// to own those again, lest they never sleep. Asked at the start and once a minute.
    fn left_running(&self) -> impl Future<Output = Vec<TenantId>> + Send;

    /// Of whose runtimes anything is kept outside of flowgate, whether they run or not, if it falls to this
    /// replica to look after that; else of nobody. Asked at the start and every few minutes.
    fn kept(&self) -> impl Future<Output = Vec<TenantId>> + Send {
        std::future::ready(Vec::new())
    }

    /// Whether [`RuntimeProvider::settle`] would do anything.
    fn needs_settling(&self, _tenant: TenantId, _due: Due) -> bool {
        false
    }

    /// Does with what is kept what is due, under a lease of that fence as an [`Order`] has it. What
    /// cannot be done now stays for another time.
    fn settle(
        &self,
        _tenant: TenantId,
        _due: Due,
        _fence: u64,
        _now: UnixMillis,
    ) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// What is to become of what is kept of a tenant's runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The tenant has it.
    Stays,
    /// The tenant has it and may not use it.
    Sleeps,
    /// Nobody has it: it must not run, and is removed once that has been so for long enough.
    Goes,
}

/// A runtime that was ready. What becomes of it when it is dropped is as with [`RunningRuntime::leave`],
/// but not waited for.
pub trait RunningRuntime: fmt::Debug + Send {
    /// Where it is reached, for as long as it runs.
    fn place(&self) -> Place;

    /// The end of what it wrote, as [`RuntimeProvider::log_tail`] has it.
    fn log_tail(&self) -> impl Future<Output = Vec<u8>> + Send;

    /// Waits until it does not run any more without having been told to end, and says how that came, in
    /// a few words for its tenant. All that it wrote is in the log then. Cancel safe.
    fn ended(&mut self) -> impl Future<Output = String> + Send;

    /// Ends it: in order if it does that in time, else by force. Nobody answers at its place when this
    /// returns, and whatever it had started has ended. One that is somebody else's runs on.
    fn stop(self) -> impl Future<Output = ()> + Send;

    /// This replica owns it no more, as flowgate stops. One whose life is bound to flowgate's ends as
    /// with [`RunningRuntime::stop`]; any other runs on, for [`RuntimeProvider::left_running`] to tell.
    fn leave(self) -> impl Future<Output = ()> + Send;
}

/// How a runtime is, as its provider sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing runs, or nobody knows of anything.
    Down,
    /// Something runs, and does not answer.
    Silent,
    /// It answers.
    Answers,
}

/// Whose runtime, and how to see that it answers.
#[derive(Clone, Debug)]
pub struct Order {
    /// Whose.
    pub tenant: TenantId,
    /// Their name.
    pub username: Username,
    /// Who is asked, and what that one has to know.
    pub provider: Provider,
    /// A path that is asked for until it is answered, whatever the answer.
    pub probe_path: String,
    /// Of the lease under which it is given. One of a lease that somebody else has had since is not
    /// carried out.
    pub fence: u64,
}

impl Order {
    /// For a tenant's instance.
    #[must_use]
    pub fn new(tenant: TenantId, username: &Username, instance: &Instance, fence: u64) -> Self {
        // No flow of anybody's is there to be set off.
        let probe_path = format!("{}/.flowgate/ready", instance.node_root);
        let provider = instance.provider;
        Self { tenant, username: username.clone(), provider, probe_path, fence }
    }
}

/// Why a runtime did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartFault {
    /// In a few words, for its tenant.
    pub why: String,
    /// The end of what it wrote: its own bytes, whatever they are.
    pub log_tail: Vec<u8>,
}

impl StartFault {
    /// One of a runtime that wrote nothing.
    #[must_use]
    pub fn new(why: &str) -> Self {
        Self { why: why.to_owned(), log_tail: Vec::new() }
    }
}

impl fmt::Display for StartFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// What a runtime wrote, so that nothing in it moves a cursor or changes a colour: control bytes and
/// what is no UTF-8 are spelt out, but for line ends and tabs.
#[must_use]
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' | '\t' => text.push(character),
                '\r' => {}
                // Also those that turn the direction of writing.
                _ if character.is_control() || is_format(character) => {
                    text.extend(character.escape_unicode());
                }
                _ => text.push(character),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

fn is_format(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_log_moves_a_cursor() {
        for (written, shown) in [
            (&b"Welcome to Node-RED\r\n\tok"[..], "Welcome to Node-RED\n\tok"),
            (b"\x1b[31mred\x07\0", "\\u{1b}[31mred\\u{7}\\u{0}"),
            (b"\xff\xfegr\xc3\xbc\xc3\x9fe", "\\xff\\xfegrüße"),
            ("\u{202e}evil\u{85}".as_bytes(), "\\u{202e}evil\\u{85}"),
        ] {
            assert_eq!(escaped(written), shown);
        }
    }
}
