//! What replicas tell each other of runtimes: who may run one, how it is, and that it is in use.
//!
//! Whoever holds a runtime's lease runs it and says in an entry that ends by itself how it is. An owner
//! that dies says nothing more, and the lease goes to whoever wants it next.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::alive::Alive;
use crate::clock::UnixMillis;
use crate::registry::Registry;
use crate::registry::store::StoreError;
use crate::runtimes::state::{Asked, Caller};
use crate::tenant::TenantId;

/// How long an owner is believed to be there without a word.
pub(super) const LEASE_TTL: Duration = Duration::from_secs(10);
/// Between two words of an owner.
pub(super) const RENEW_EVERY: Duration = Duration::from_secs(3);
/// How long it is remembered when a runtime was used by another replica, beyond the time after which it
/// sleeps.
const USED_BEYOND: Duration = Duration::from_secs(24 * 60 * 60);
/// But no longer than so.
const USED_TTL_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// How long a replica is believed to follow without a word.
const FOLLOWED_TTL: Duration = Duration::from_secs(30);
/// How long an owner has time to hear what is asked of it.
const ASKED_TTL: Duration = Duration::from_secs(15);
/// Starts of one tenant's runtime within an hour.
const STARTS_MAX: u64 = 120;
/// Of those, starts for others than its tenant, and for nobody.
const OTHERS_STARTS_MAX: u64 = 80;
const STARTS_WINDOW: Duration = Duration::from_secs(60 * 60);

/// How a runtime is, as its owner says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Told {
    /// It is being started.
    Starting,
    /// It answers there.
    Ready {
        /// On that machine; `None` if it is reached from everywhere.
        #[serde(default)]
        machine: Option<String>,
        /// At that host name or address.
        host: String,
        /// At that port.
        port: u16,
        /// In the network of that process, which has that number, if not in the machine's.
        #[serde(default)]
        network: Option<(u32, u64)>,
        /// Since then.
        since: UnixMillis,
    },
    /// It did not start or crashed, and is tried again after a while.
    Failing {
        /// What happened, for its tenant.
        why: String,
        /// Until then nobody tries.
        until: UnixMillis,
    },
    /// It is being ended.
    Stopping,
}

/// What is said of a runtime, and by whom.
#[derive(Debug, Serialize, Deserialize)]
struct Word {
    told: Told,
    holder: String,
    by: Option<Alive>,
}

/// What replicas share.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    pub(super) registry: &'a Registry,
    pub(super) holder: &'a str,
    pub(super) tenant: TenantId,
}

impl Shared<'_> {
    fn name(&self) -> String {
        format!("runtime:{}", self.tenant)
    }

    fn used(&self) -> String {
        format!("runtime-used:{}", self.tenant)
    }

    fn followed(&self) -> String {
        format!("runtime-followed:{}", self.tenant)
    }

    fn asked_name(&self) -> String {
        format!("runtime-asked:{}", self.tenant)
    }

    /// Asks its owner, whichever replica that is.
    pub(super) async fn ask(&self, asked: Asked) -> Result<(), StoreError> {
        let value = serde_json::to_vec(&asked);
        let value = value.map_err(|error| StoreError::Invalid(error.to_string()))?;
        self.registry.store().put_expiring(&self.asked_name(), &value, ASKED_TTL).await
    }

    /// What another replica has asked, for the owner. Nobody hears it a second time.
    pub(super) async fn asked(&self) -> Result<Option<Asked>, StoreError> {
        let value = self.registry.store().take_expiring(&self.asked_name()).await?;
        // Another version's words are as good as none.
        Ok(value.and_then(|value| serde_json::from_slice(&value).ok()))
    }

    /// What was asked of an owner that is one no more is not for the next.
    pub(super) async fn forget_asked(&self) {
        if self.registry.is_shared()
            && let Err(error) = self.asked().await
        {
            tracing::debug!(tenant = %self.tenant, %error, "what was asked of a runtime stays");
        }
    }

    /// Has nobody wait any longer after a failure.
    pub(super) async fn forgive(&self) -> Result<(), StoreError> {
        if let Some(Told::Failing { .. }) = self.told().await? {
            self.registry.store().take_expiring(&self.name()).await?;
        }
        Ok(())
    }

    /// Takes the runtime, or stays its owner: the lease's fence. `None` if somebody else is.
    pub(super) async fn own(&self) -> Result<Option<u64>, StoreError> {
        self.registry.store().acquire(&self.name(), self.holder, LEASE_TTL).await
    }

    /// Stays its owner. False if somebody else is or may have been meanwhile.
    pub(super) async fn keep(&self, fence: u64) -> Result<bool, StoreError> {
        let kept = self.own().await?;
        // Nobody else is there to have had it, where the registry is ours alone.
        Ok(kept.is_some_and(|kept| kept == fence || !self.registry.is_shared()))
    }

    /// Counts a start; false if there were too many, for whomever it is.
    pub(super) async fn may_start(&self, caller: Caller) -> Result<bool, StoreError> {
        let store = self.registry.store();
        if caller < Caller::Own {
            let others = format!("runtime-starts-others:{}", self.tenant);
            if store.count(&others, STARTS_WINDOW).await? > OTHERS_STARTS_MAX {
                return Ok(false);
            }
        }
        let starts = format!("runtime-starts:{}", self.tenant);
        Ok(store.count(&starts, STARTS_WINDOW).await? <= STARTS_MAX)
    }

    /// Says how it is, until the lease would end or, after a failure, it may be tried again.
    pub(super) async fn tell(&self, told: &Told) -> Result<(), StoreError> {
        let word =
            Word { told: told.clone(), holder: self.holder.to_owned(), by: Alive::ours().ok() };
        let value = serde_json::to_vec(&word);
        let value = value.map_err(|error| StoreError::Invalid(error.to_string()))?;
        let ttl = match told {
            Told::Failing { until, .. } => LEASE_TTL.max(until.since(self.registry.wall().now())),
            _ => LEASE_TTL,
        };
        self.registry.store().put_expiring(&self.name(), &value, ttl).await
    }

    /// What went wrong when another replica tried last, and for how long nobody is to try.
    pub(super) async fn others_failure(&self) -> Option<(String, Duration)> {
        match self.word().await {
            Ok(Some(Word { told: Told::Failing { why, until }, holder, .. }))
                if holder != self.holder =>
            {
                let wait = until.since(self.registry.wall().now());
                (!wait.is_zero()).then_some((why, wait))
            }
            _ => None,
        }
    }

    /// How it is; `None` if nobody says.
    pub(super) async fn told(&self) -> Result<Option<Told>, StoreError> {
        Ok(self.word().await?.map(|word| word.told))
    }

    /// What was said last, and by whom. An owner on this machine that is gone has nothing to say any
    /// more, and its lease is nobody's.
    async fn word(&self) -> Result<Option<Word>, StoreError> {
        let store = self.registry.store();
        let value = store.get_expiring(&self.name()).await?;
        // Another version's words are as good as none.
        let word: Option<Word> = value.and_then(|value| serde_json::from_slice(&value).ok());
        let Some(word) = word else { return Ok(None) };
        if word.by.as_ref().is_none_or(|by| by.is_alive() != Some(false)) {
            return Ok(Some(word));
        }
        let holder = word.holder;
        tracing::info!(tenant = %self.tenant, holder, "a runtime's owner is gone");
        // The word first: whoever has the lease may say another.
        store.take_expiring(&self.name()).await?;
        store.release(&self.name(), &holder).await?;
        Ok(None)
    }

    /// Leaves it to others. What cannot be said ends by itself.
    pub(super) async fn release(&self) {
        if let Err(error) = self.registry.store().release(&self.name(), self.holder).await {
            tracing::debug!(tenant = %self.tenant, %error, "a runtime's lease ends by itself");
        }
    }

    /// Says why it does not run, and leaves it to others.
    pub(super) async fn give_up(&self, last_word: &Told) {
        if let Err(error) = self.tell(last_word).await {
            tracing::debug!(tenant = %self.tenant, %error, "nobody is told why a runtime does not run");
        }
        self.release().await;
    }

    /// Has nothing said of it any more, and leaves it to others, if it is ours still. What cannot be said
    /// ends by itself.
    pub(super) async fn leave(&self, fence: u64) {
        let said = match self.keep(fence).await {
            Ok(true) => self.registry.store().take_expiring(&self.name()).await.map(|_| ()),
            // What is said is somebody else's.
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        match said {
            Ok(()) => self.release().await,
            Err(error) => {
                tracing::debug!(tenant = %self.tenant, %error, "a runtime's lease ends by itself");
            }
        }
    }

    /// Says that this replica goes by what the owner says.
    pub(super) async fn note_following(&self) -> Result<(), StoreError> {
        let store = self.registry.store();
        store.put_expiring(&self.followed(), self.holder.as_bytes(), FOLLOWED_TTL).await
    }

    /// Whether any replica does.
    pub(super) async fn is_followed(&self) -> Result<bool, StoreError> {
        Ok(self.registry.store().get_expiring(&self.followed()).await?.is_some())
    }

    /// Says that it is in use, where its owner does not see it; for as long as that keeps it awake.
    pub(super) async fn note_use(
        &self,
        at: UnixMillis,
        sleep_after: Duration,
    ) -> Result<(), StoreError> {
        let at = at.0.to_string();
        let ttl = sleep_after.saturating_add(USED_BEYOND).min(USED_TTL_MAX);
        self.registry.store().put_expiring(&self.used(), at.as_bytes(), ttl).await
    }

    /// When it was last used on another replica.
    pub(super) async fn last_use(&self) -> Result<Option<UnixMillis>, StoreError> {
        let at = self.registry.store().get_expiring(&self.used()).await?;
        Ok(at.and_then(|at| String::from_utf8(at).ok()?.parse().ok()).map(UnixMillis))
    }
}
