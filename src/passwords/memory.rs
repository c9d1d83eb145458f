//! What was right a short while ago.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::clock::{Clock, Millis};
use crate::guessing::bounded::Bounded;
use crate::secret::Secret;

/// For how long a right password costs no bcrypt.
pub(super) const REMEMBERED_FOR: Duration = Duration::from_secs(5 * 60);
/// For how long it is no guess, however many of those came from its address.
pub(super) const NO_GUESS_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// How many are remembered.
pub(super) const REMEMBERED_MAX: usize = 65_536;

pub(super) type Digest = [u8; 32];

/// Passwords that were right a short while ago, as keyed digests that cover the stored hash: they
/// tell nothing without the key, and a changed hash forgets them.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) key: [u8; 32],
    pub(super) clock: Clock,
    pub(super) right: Mutex<Bounded<Digest, Millis>>,
}

impl Memory {
    pub(super) fn new(key: [u8; 32], clock: Clock) -> Self {
        Self { key, clock, right: Mutex::new(Bounded::new(REMEMBERED_MAX)) }
    }

    pub(super) fn digest(&self, hash: &str, password: &Secret) -> Digest {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).unwrap_or_else(|_| {
            // HMAC takes keys of every length.
            unreachable!("a 32-byte key was refused")
        });
        mac.update(hash.as_bytes());
        mac.update(&[0]);
        mac.update(password.expose().as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// Whether it was right within this span before `now`.
    pub(super) fn is_within(&self, digest: &Digest, span: Duration, now: Millis) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.get(digest).is_some_and(|at| now.since(*at) < span)
    }

    pub(super) fn knows(&self, digest: &Digest) -> bool {
        self.is_within(digest, REMEMBERED_FOR, self.clock.now())
    }

    /// Whether it is no guess. It is still to be checked.
    pub(super) fn was_right(&self, digest: &Digest) -> bool {
        self.is_within(digest, NO_GUESS_FOR, self.clock.now())
    }

    pub(super) fn remember(&self, digest: Digest) {
        let now = self.clock.now();
        self.right.lock().unwrap_or_else(PoisonError::into_inner).put(digest, now);
    }
}
