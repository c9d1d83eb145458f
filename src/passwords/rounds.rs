//! bcrypt's arithmetic (Provos and Mazières, "A Future-Adaptable Password Scheme", USENIX 1999), in
//! stints.
//!
//! The crate `bcrypt` does a hash of cost 12 in one go, a quarter of a second in which its thread waits for
//! nothing. A thread that relays and has just had its share of the core gets it back at the next tick of
//! the kernel's clock then, after up to 4 ms. So we go through the rounds ourselves, with the key schedule
//! of the crate `blowfish`, on which `bcrypt` stands as well.

use blowfish::Blowfish;
use zeroize::Zeroizing;

use super::PASSWORD_BYTES_MAX;
use crate::scheduling::{PASSWORD_STINT_MICROS, in_stints};

pub(super) const SALT_BYTES: usize = 16;
/// Of the 24 that come out, the last is not kept.
const RAW_HASH_BYTES: usize = 23;

/// "OrpheanBeholderScryDoubt".
const TEXT: [[u32; 2]; 3] =
    [[0x4f72_7068, 0x6561_6e42], [0x6568_6f6c, 0x6465_7253], [0x6372_7944, 0x6f75_6274]];
const TIMES_ENCRYPTED: usize = 64;

/// What bcrypt makes of a password, of which no more than 72 bytes count.
pub(super) fn raw_hash(password: &[u8], salt: [u8; SALT_BYTES], cost: u32) -> [u8; RAW_HASH_BYTES] {
    // With the NUL byte at its end, where there is room for it.
    let mut key = Zeroizing::new([0; PASSWORD_BYTES_MAX]);
    let counted = password.len().min(PASSWORD_BYTES_MAX);
    key[..counted].copy_from_slice(&password[..counted]);
    let key = &key[..(counted + 1).min(PASSWORD_BYTES_MAX)];

    let mut state = Blowfish::bc_init_state();
    state.salted_expand_key(&salt, key);
    for _ in 0..1_u32 << cost {
        // About a sixteenth of a millisecond.
        in_stints(PASSWORD_STINT_MICROS, || {
            state.bc_expand_key(key);
            state.bc_expand_key(&salt);
        });
    }

    let mut made = [0; RAW_HASH_BYTES + 1];
    let words = TEXT.iter().flat_map(|block| encrypt(&state, *block));
    for (bytes, word) in made.chunks_exact_mut(size_of::<u32>()).zip(words) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    let [kept @ .., _] = made;
    kept
}

fn encrypt(state: &Blowfish, block: [u32; 2]) -> [u32; 2] {
    (0..TIMES_ENCRYPTED).fold(block, |block, _| state.bc_encrypt(block))
}

#[cfg(test)]
mod tests {
    use base64::Engine;

    use super::*;

    #[test]
    fn it_is_what_the_crate_makes() {
        let passwords = [
            String::new(),
            "a".into(),
            "pässword".into(),
            "x".repeat(71),
            "x".repeat(72),
            "y".repeat(100),
        ];
        for (number, password) in passwords.iter().enumerate() {
            for cost in 4..7 {
                let salt =
                    std::array::from_fn(|place| (number * 41 + place * 7 + cost as usize) as u8);
                let theirs = bcrypt::hash_with_salt(password, cost, salt).unwrap().to_string();
                let ours = bcrypt::BASE_64.encode(raw_hash(password.as_bytes(), salt, cost));
                assert!(theirs.ends_with(&ours), "{password:?}, cost {cost}");
            }
        }
    }
}
