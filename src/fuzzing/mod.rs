//! What the fuzzer throws bytes at, and what must hold whatever they are. Only tests and the fuzzer
//! (`fuzz/`, `--cfg fuzzing`) compile this; `cargo test` runs every input that is kept in
//! `fuzz/corpus`.

mod bodies;
mod headers;
mod origin;
mod paths;
mod profiles;
mod relay;
mod relay_oracle;
mod uploads;

pub use bodies::bodies;
pub use headers::{credentials, headers};
pub use origin::{forwarded, proxy};
pub use paths::paths;
pub use profiles::profiles;
pub use relay::{pair, walk};
pub use uploads::uploads;

/// Throws, as it were, one input; panics where something does not hold.
pub type Target = fn(&[u8]);

/// Every target, by the name of its program in `fuzz/fuzz_targets` and of its folder in `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 10] = [
    ("bodies", bodies),
    ("credentials", credentials),
    ("forwarded", forwarded),
    ("headers", headers),
    ("pair", pair),
    ("paths", paths),
    ("profiles", profiles),
    ("proxy", proxy),
    ("uploads", uploads),
    ("walk", walk),
];

#[cfg(test)]
mod tests;
