//! The store in Redis, for many processes at once.
//!
//! Everything goes through Lua scripts, each of which is atomic and begins with the same guard: the
//! registry must be the one that was opened, and no older than what this process saw of it. What was
//! seen and not confirmed may be lost (see `seen.rs`). `docs/redis.md` describes the layout.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::error::StoreError;
use crate::secret::Secret;
use contact::{Answer, Contact};
use scripts::{Arguments, Script};

mod address;
mod adopt;
mod check;
mod contact;
mod documents;
mod keeper;
mod link;
mod open;
mod passing;
mod replication;
mod reply;
mod scripts;
mod seen;
mod sentinel;
mod series;
mod tls;
mod verdict;

pub use address::redacted;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

/// The version of the layout.
const FORMAT: &str = "1";

/// How to go to Redis, where the URL does not say it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Makes a registry where there is none.
    pub create: bool,
    /// Certificates of the only authority to trust (PEM), instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// A client certificate with its chain (PEM).
    pub client_cert_file: Option<PathBuf>,
    /// Its key (PEM).
    pub client_key_file: Option<PathBuf>,
    /// The password, where the URL has none.
    pub password: Option<Secret>,
    /// How long a command may take.
    pub command_timeout: Duration,
    /// The time of day, instead of the server's.
    #[cfg(test)]
    pub wall: Option<crate::clock::Wall>,
    /// Notices that the feed keeps.
    #[cfg(test)]
    pub feed_kept: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            create: false,
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            password: None,
            command_timeout: Duration::from_secs(2),
            #[cfg(test)]
            wall: None,
            #[cfg(test)]
            feed_kept: super::limits::FEED_KEPT,
        }
    }
}

#[cfg(test)]
impl Options {
    fn driven_ms(&self) -> Option<u64> {
        self.wall.as_ref().map(crate::clock::Wall::unix_ms)
    }

    fn feed_kept(&self) -> u64 {
        self.feed_kept
    }
}

#[cfg(not(test))]
impl Options {
    /// The server's clock is the only one.
    #[allow(clippy::unused_self, reason = "tests drive the time")]
    fn driven_ms(&self) -> Option<u64> {
        None
    }

    #[allow(clippy::unused_self, reason = "tests keep fewer")]
    fn feed_kept(&self) -> u64 {
        super::limits::FEED_KEPT
    }
}

/// Whether a URL names a registry in Redis; without I/O.
///
/// # Errors
/// One line that says what is wrong with it, without its password.
pub(super) fn check_url(url: &str) -> Result<(), String> {
    address::Address::parse(url).map(|_| ())
}

/// Whether a URL is one of a registry in Redis.
pub(super) fn is_one(url: &str) -> bool {
    address::is_one(url)
}

/// A registry in Redis. Copies share it.
#[derive(Clone, Debug)]
pub struct Redis {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    contact: Arc<Contact>,
    id: u128,
    keeper: AbortHandle,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Redis {
    /// Connects, and opens the registry that is there.
    ///
    /// # Errors
    /// See [`super::Store::open_with`].
    pub async fn open(url: &str, options: &Options) -> Result<Self, StoreError> {
        let (contact, link, drivers) = open::open(url, options).await?;
        let id = u128::from_str_radix(&contact.id, 16)
            .map_err(|_| StoreError::Corrupt(format!("its id is {:?}", contact.id)))?;
        // Before the keeper's first step, since the first call may come earlier.
        contact.set_link(Ok(Arc::clone(&link)));
        let keeper = tokio::spawn(keeper::keep(Arc::clone(&contact), link, drivers));
        let shared = Shared { contact, id, keeper: keeper.abort_handle() };
        Ok(Self { shared: Arc::new(shared) })
    }

    async fn read(&self, script: &Script, arguments: Arguments) -> Result<Answer, StoreError> {
        self.shared.contact.read(script, &arguments).await
    }

    /// In a task of its own: whoever asked may go away, what was begun comes to its end.
    async fn change(
        &self,
        script: &'static Script,
        arguments: Arguments,
        tag: Option<String>,
    ) -> Result<Answer, StoreError> {
        let shared = Arc::clone(&self.shared);
        let change = async move { shared.contact.write(script, &arguments, tag.as_deref()).await };
        let died = |_| StoreError::Unknown("the task that wrote died".to_owned());
        tokio::spawn(change).await.map_err(died)?
    }

    pub(super) fn id(&self) -> u128 {
        self.shared.id
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.contact.changes.subscribe()
    }

    pub(super) async fn last_revision(&self) -> Result<u64, StoreError> {
        Ok(self.read(&scripts::TOUCH, Arguments::default()).await?.last.revision)
    }
}
