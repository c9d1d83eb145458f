//! The keys that sign access tokens: made when they are first needed, rotated by age or by an operator.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::keeping::Record;
use super::record::application::{SigningKeyRecord, SigningRecord};
use crate::api::signing::{Fresh, SigningKey, TOKEN_LIFE_MAX, Use, kid, sealed_for};
use crate::clock::UnixMillis;
use crate::registry::audit::Act;
use crate::registry::documents::CHANGE_ATTEMPTS_MAX;
use crate::registry::record::SIGNING;
use crate::registry::store::{Expected, StoreError};
use crate::registry::{ChangeError, Registry};
use crate::sealing::Sealing;

/// The one document.
const ID: &str = "keys";
/// For how long a key is told after the last of its tokens: clocks of replicas differ.
const SLACK: Duration = Duration::from_secs(5 * 60);
/// Previous keys that are kept at once; a rotation more often than this ends tokens early.
const PREVIOUS_MAX: usize = 16;

/// Why there are no keys to sign with, or not others.
#[derive(Debug)]
pub enum SigningError {
    /// There is no key to seal them with.
    NoSealing,
    /// None of the sealing keys opens the one that signs.
    Sealed,
    /// The system has no randomness to give.
    NoRandomness,
    /// The store did not do it.
    Store(StoreError),
}

impl From<StoreError> for SigningError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn fresh(sealing: &Sealing, used: Use, now: UnixMillis) -> Result<SigningKeyRecord, SigningError> {
    let fresh = Fresh::make().map_err(|_| SigningError::NoRandomness)?;
    let sealed = sealing.seal(&sealed_for(fresh.id), &*fresh.private);
    Ok(SigningKeyRecord {
        kid: kid(fresh.id),
        used,
        public: BASE64_URL_SAFE_NO_PAD.encode(fresh.public),
        sealed: sealed.map_err(|_| SigningError::NoRandomness)?,
        created_unix_ms: now.0,
        current_unix_ms: (used == Use::Current).then_some(now.0),
        until_unix_ms: None,
    })
}

/// The next key signs from now on, and another one is made to be next. With `revoke` all that were are
/// gone, and with them every token.
fn rotate(
    record: &mut SigningRecord,
    sealing: &Sealing,
    now: UnixMillis,
    revoke: bool,
) -> Result<(), SigningError> {
    if revoke {
        record.keys.clear();
    }
    record.keys.retain(|key| key.until_unix_ms.is_none_or(|until| now.0 < until));
    let has_next = record.keys.iter().any(|key| key.used == Use::Next);
    for key in &mut record.keys {
        match key.used {
            Use::Current => {
                key.used = Use::Previous;
                key.until_unix_ms = Some(now.plus(TOKEN_LIFE_MAX + SLACK).0);
            }
            Use::Next => (key.used, key.current_unix_ms) = (Use::Current, Some(now.0)),
            Use::Previous => {}
        }
    }
    if !has_next {
        record.keys.push(fresh(sealing, Use::Current, now)?);
    }
    record.keys.push(fresh(sealing, Use::Next, now)?);
    let previous = record.keys.iter().filter(|key| key.used == Use::Previous).count();
    let mut surplus = previous.saturating_sub(PREVIOUS_MAX);
    record.keys.retain(|key| {
        let goes = key.used == Use::Previous && surplus > 0;
        surplus -= usize::from(goes);
        !goes
    });
    Ok(())
}

impl Registry {
    /// Sees to it that there is a key that signs, and that it is not older than this.
    ///
    /// # Errors
    /// There is nothing to seal it with, or the store's.
    pub async fn keep_signing_keys(&self, age_max: Duration) -> Result<(), SigningError> {
        self.know_apis().await?;
        let now = self.wall.now();
        let current = self.directory.signing_keys();
        let since = current.current().and_then(|key| key.current_since);
        if since.is_some_and(|since| now < since.plus(age_max)) {
            return Ok(());
        }
        let sealing = self.sealing().ok_or(SigningError::NoSealing)?;
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let document = self.store.get(SIGNING, ID).await?;
            let (mut record, expected) = match &document {
                Some(document) => (
                    SigningRecord::from_body(&document.body)?,
                    Expected::Revision(document.revision),
                ),
                None => (SigningRecord::default(), Expected::Absent),
            };
            let ring = record.to_ring()?;
            let since = ring.current().and_then(|key| key.current_since);
            // Another replica may have done so.
            if since.is_none_or(|since| now >= since.plus(age_max)) {
                rotate(&mut record, sealing, now, false)?;
                match self.store.write(vec![record.put(ID, expected)?]).await {
                    Err(StoreError::Conflict { .. }) => continue,
                    written => written?,
                };
                tracing::info!("another key signs access tokens from now on");
            }
            self.read_back(SIGNING, ID).await;
            return Ok(());
        }
        Ok(())
    }

    /// Rotates the keys for an operator; with `revoke`, every token ends.
    ///
    /// # Errors
    /// There is nothing to seal them with, or the store's.
    pub async fn rotate_signing_keys(&self, act: &Act, revoke: bool) -> Result<(), SigningError> {
        let sealing = self.sealing().ok_or(SigningError::NoSealing)?;
        let now = self.wall.now();
        self.keep_signing_keys(Duration::MAX).await?;
        let change = |record: &mut SigningRecord, _| rotate(record, sealing, now, revoke);
        let check = |record: &SigningRecord| record.to_ring().map(|_| ());
        match self.change_record(act, ID, change, check).await {
            Ok(_) => Ok(()),
            Err(ChangeError::Refused(error)) => Err(error),
            Err(ChangeError::Store(error)) => Err(error.into()),
            Err(ChangeError::Gone | ChangeError::Busy) => {
                let why = "the signing keys were removed meanwhile".to_owned();
                Err(StoreError::Unavailable(why).into())
            }
        }
    }

    /// The private half of the key that signs, and the key.
    ///
    /// # Errors
    /// There is none, or none that can be opened here; or the store's.
    pub async fn signing_key(
        &self,
        age_max: Duration,
    ) -> Result<(SigningKey, Zeroizing<Vec<u8>>), SigningError> {
        let sealing = self.sealing().ok_or(SigningError::NoSealing)?;
        self.know_apis().await?;
        if self.directory.signing_keys().current().is_none() {
            self.keep_signing_keys(age_max).await?;
        }
        let ring = self.directory.signing_keys();
        let key = ring.current().ok_or(SigningError::Sealed)?.clone();
        let private = sealing.open(&sealed_for(key.id), &key.sealed);
        Ok((key, private.map_err(|_| SigningError::Sealed)?))
    }
}
