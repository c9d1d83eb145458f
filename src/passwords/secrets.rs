//! Random secrets: they cannot be guessed, but who tries is counted as with passwords.

use super::{Passwords, Verdict, mark};
use crate::guessing::{Claim, Guess, Ruling};
use crate::secret::Secret;

/// In the place of a hash, for secrets that have none.
const RANDOM_SECRET: &str = "a random secret";

impl Passwords {
    /// Counts a random secret that somebody was to know, and says whether it may be believed that it was
    /// wrong. No number of guesses finds such a secret, so the right one waits for nobody; wrong ones are
    /// counted as wrong passwords are.
    #[must_use]
    pub fn count_secret(&self, secret: &Secret, is_right: bool, claim: Claim<'_>) -> Verdict {
        let digest = self.memory.digest(RANDOM_SECRET, secret);
        let now = self.memory.clock.now();
        match self.guessing.rule(Guess::new(claim, mark(&digest)), is_right, now) {
            Ruling::Look(attempt) => {
                attempt.settle(is_right, now);
                if is_right { Verdict::Right } else { Verdict::Wrong }
            }
            Ruling::Wrong => Verdict::Wrong,
            Ruling::Later(wait) => Verdict::Later(wait),
        }
    }
}
