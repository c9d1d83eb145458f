//! Failed attempts to log in, as replicas tell each other: an expiring entry for each count that matters.
//!
//! A count is read and written when one of its passwords has been to bcrypt, so at that pace at most, and
//! at most `PER_SECOND_MAX` of them. What the registry does not take is counted here alone.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Registry;
use super::store::StoreError;
use crate::clock::Clock;
use crate::guessing::count::{FORGOTTEN_AFTER, Told};
use crate::guessing::{Guessing, Key};

/// Counts that are exchanged with the registry in a second.
const PER_SECOND_MAX: u32 = 100;
/// While the registry is away.
const PAUSE: Duration = Duration::from_secs(1);

/// A [`Told`], by the time of day.
#[derive(Serialize, Deserialize)]
struct Entry {
    failures: u32,
    since_unix_ms: u64,
    until_unix_ms: u64,
}

impl Entry {
    fn new(told: Told, unix_ms: u64) -> Self {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self {
            failures: told.failures,
            since_unix_ms: unix_ms.saturating_sub(ms(told.idle)),
            until_unix_ms: unix_ms.saturating_add(ms(told.wait)),
        }
    }

    fn told(&self, unix_ms: u64) -> Told {
        Told {
            failures: self.failures,
            idle: Duration::from_millis(unix_ms.saturating_sub(self.since_unix_ms)),
            wait: Duration::from_millis(self.until_unix_ms.saturating_sub(unix_ms)),
        }
    }
}

impl Registry {
    /// Exchanges what failed attempts this process and others have counted. Runs until it is dropped;
    /// ends at once where nobody else can have the registry.
    pub async fn share_guesses(&self, guessing: &Guessing, clock: Clock) {
        if !self.store().is_shared() {
            return;
        }
        guessing.share();
        let mut tick = tokio::time::interval(Duration::from_secs(1) / PER_SECOND_MAX);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let Some((key, is_forgiven)) = guessing.next_news() else {
                guessing.told.notified().await;
                continue;
            };
            tick.tick().await;
            if let Err(error) = self.share_guess(guessing, key, is_forgiven, clock).await {
                tracing::debug!(%error, "failed logins are not known to the other replicas");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn share_guess(
        &self,
        guessing: &Guessing,
        key: Key,
        is_forgiven: bool,
        clock: Clock,
    ) -> Result<(), StoreError> {
        let name = format!("guesses:{key}");
        let found = match is_forgiven {
            true => {
                self.store().take_expiring(&name).await?;
                None
            }
            false => self.store().get_expiring(&name).await?,
        };
        // What another version wrote says nothing.
        let found = found.and_then(|found| serde_json::from_slice::<Entry>(&found).ok());
        let told = found.map(|entry| entry.told(self.wall().unix_ms()));
        let Some((told, own)) = guessing.learn(key, told, clock.now()) else { return Ok(()) };
        let entry = Entry::new(told, self.wall().unix_ms());
        let body = serde_json::to_vec(&entry).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let put = self.store().put_expiring(&name, &body, FORGOTTEN_AFTER).await;
        if put.is_err() {
            guessing.untell(key, own);
        }
        put
    }
}

#[cfg(test)]
mod tests;
