//! What passwords and their hashes look like.

use crate::secret::Secret;

/// bcrypt's work factor for new hashes.
pub const COST: u32 = 12;
/// bcrypt ignores what is behind its 72nd byte, so longer passwords are refused.
pub const PASSWORD_BYTES_MAX: usize = 72;

/// Whether a password is the one of a hash. Takes as long as the hash's cost says.
#[must_use]
pub fn is_right(password: &Secret, hash: &str) -> bool {
    bcrypt::verify(password.expose(), hash).unwrap_or(false)
}

/// Whether a hash was made with another cost than new ones are.
#[must_use]
pub fn is_outdated(hash: &str) -> bool {
    let parts: Result<bcrypt::HashParts, _> = hash.parse();
    parts.is_ok_and(|parts| parts.get_cost() != COST)
}

/// Lets a wrong password take as long as an unknown tenant's, whose decoy costs [`COST`]: an imported
/// hash may cost less. Each cost is twice the one below, so a check and all costs from its own up to
/// 11 make one of 12.
pub(super) fn even_out(hash: &str) {
    let parts: Result<bcrypt::HashParts, _> = hash.parse();
    for cost in parts.map_or(COST, |parts| parts.get_cost())..COST {
        let _ = bcrypt::hash("", cost);
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
/// See [`check`].
pub fn hash(password: &Secret) -> Result<String, &'static str> {
    check(password)?;
    hash_bytes(password.expose().as_bytes()).map_err(|_| "could not be hashed")
}

pub(super) fn hash_bytes(bytes: &[u8]) -> Result<String, bcrypt::BcryptError> {
    bcrypt::hash(bytes, COST)
}

/// Checks an imported hash's form.
///
/// # Errors
/// It is not bcrypt's, or costs more than a login may.
pub fn check_hash(hash: &str) -> Result<(), &'static str> {
    const COST_MIN: u32 = 4;
    const COST_MAX: u32 = 14;
    let parts: bcrypt::HashParts = hash.parse().map_err(|_| "is not a bcrypt hash")?;
    match parts.get_cost() {
        COST_MIN..=COST_MAX => Ok(()),
        _ => Err("has a bcrypt cost outside 4 to 14"),
    }
}
