//! What passwords and their hashes look like.

use std::ops::RangeInclusive;

use base64::Engine;
use bcrypt::{BASE_64, HashParts};
use subtle::ConstantTimeEq;

use zeroize::Zeroizing;

use super::rounds::{SALT_BYTES, raw_hash};
use crate::secret::Secret;

/// bcrypt's work factor for new hashes.
pub const COST: u32 = 12;
/// Work factors of hashes that are made elsewhere.
const COSTS: RangeInclusive<u32> = 4..=14;
const _: () = assert!(*COSTS.start() <= COST && COST <= *COSTS.end());
/// bcrypt ignores what is behind its 72nd byte, so longer passwords are refused.
pub const PASSWORD_BYTES_MAX: usize = 72;
/// A hash is `$2b$12$`, 22 characters of salt, and what bcrypt makes of that.
const RAW_HASH_AT: usize = 29;

/// Whether a password is the one of a hash; of one that [`check_hash`] refuses, none is. Takes as long as
/// the hash's cost says, or [`COST`].
#[must_use]
pub fn is_right(password: &Secret, hash: &str) -> bool {
    let Ok(parts) = parts_of(hash) else {
        work_for_nothing(COST);
        return false;
    };
    let made = raw_hash(password.expose().as_bytes(), parts.get_salt_raw(), parts.get_cost());
    // Encoded, since there is one text for each.
    let made = Zeroizing::new(BASE_64.encode(made));
    hash.as_bytes()[RAW_HASH_AT..].ct_eq(made.as_bytes()).into()
}

fn work_for_nothing(cost: u32) {
    std::hint::black_box(raw_hash(&[], [0; SALT_BYTES], cost));
}

/// Whether a hash was made with another cost than new ones are.
#[must_use]
pub fn is_outdated(hash: &str) -> bool {
    parts_of(hash).is_ok_and(|parts| parts.get_cost() != COST)
}

/// Lets a wrong password take as long as an unknown tenant's, whose decoy costs [`COST`]: an imported
/// hash may cost less. Each cost is twice the one below, so a check and all costs from its own up to
/// 11 make one of 12.
pub(super) fn even_out(hash: &str) {
    for cost in parts_of(hash).map_or(COST, |parts| parts.get_cost())..COST {
        work_for_nothing(cost);
    }
}

/// Says whether a text can be a password.
///
/// # Errors
/// Empty, longer than 72 bytes, or with a NUL byte.
pub fn check(password: &Secret) -> Result<(), &'static str> {
    match password.expose().as_bytes() {
        [] => Err("must not be empty"),
        bytes if bytes.len() > PASSWORD_BYTES_MAX => Err("must be at most 72 bytes long"),
        bytes if bytes.contains(&0) => Err("must not contain a NUL byte"),
        _ => Ok(()),
    }
}

/// Hashes a new password.
///
/// # Errors
/// See [`check`], or the system gives no randomness.
pub fn hash(password: &Secret) -> Result<String, &'static str> {
    check(password)?;
    hash_bytes(password.expose().as_bytes()).map_err(|_| "could not be hashed")
}

pub(super) fn hash_bytes(bytes: &[u8]) -> Result<String, getrandom::Error> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt)?;
    let made = raw_hash(bytes, salt, COST);
    Ok(format!("$2b${COST:02}${}{}", BASE_64.encode(salt), BASE_64.encode(made)))
}

/// Checks an imported hash's form.
///
/// # Errors
/// It is not bcrypt's, or costs more than a login may.
pub fn check_hash(hash: &str) -> Result<(), &'static str> {
    parts_of(hash).map(drop)
}

fn parts_of(hash: &str) -> Result<HashParts, &'static str> {
    let parts: HashParts = hash.parse().map_err(|_| "is not a bcrypt hash")?;
    match COSTS.contains(&parts.get_cost()) {
        true => Ok(parts),
        false => Err("has a bcrypt cost outside 4 to 14"),
    }
}
