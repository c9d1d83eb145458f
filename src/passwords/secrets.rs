//! Random secrets: they cannot be guessed, but who tries is counted as with passwords.
//!
//! Apart from those: a wrong secret costs no bcrypt, so that whoever makes up thousands could have the
//! counts of passwords forgotten. Nothing rests on these counts, so few are kept, and other replicas are
//! not told.

use std::sync::Arc;

use super::{Passwords, Verdict, mark};
use crate::guessing::{Claim, Guess, Guessing, Ruling};
use crate::secret::Secret;

/// In the place of a hash, for secrets that have none.
const RANDOM_SECRET: &str = "a random secret";
/// Counts of wrong secrets that are kept, and (name, address) that are known.
pub(super) const ENTRIES_MAX: usize = 4096;

pub(super) fn guessing() -> Arc<Guessing> {
    Arc::new(Guessing::with_room(ENTRIES_MAX, ENTRIES_MAX))
}

impl Passwords {
    /// Counts a random secret that somebody was to know, and says whether it may be believed that it was
    /// wrong. No number of guesses finds such a secret, so the right one waits for nobody; wrong ones are
    /// counted as wrong passwords are.
    #[must_use]
    pub fn count_secret(&self, secret: &Secret, is_right: bool, claim: Claim<'_>) -> Verdict {
        let digest = self.memory.digest(RANDOM_SECRET, secret);
        let now = self.memory.clock.now();
        match self.guessing_secrets.rule(Guess::new(claim, mark(&digest)), is_right, now) {
            Ruling::Look(attempt) => {
                attempt.settle(is_right, now);
                if is_right { Verdict::Right } else { Verdict::Wrong }
            }
            Ruling::Wrong => Verdict::Wrong,
            Ruling::Later(wait) => Verdict::Later(wait),
        }
    }
}
