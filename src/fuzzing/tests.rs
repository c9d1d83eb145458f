//! Every input that is kept, thrown again.

use std::path::{Path, PathBuf};

use super::TARGETS;

fn below(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder)
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|_| panic!("{}", folder.display()));
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<String> = entries.map(|entry| name(entry).into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_kept_input_holds() {
    for (name, target) in TARGETS {
        let corpus = below("corpus").join(name);
        let inputs = names_in(&corpus);
        assert!(inputs.len() >= 5, "{name} has a corpus");
        for input in inputs {
            let bytes = std::fs::read(corpus.join(&input)).unwrap();
            if std::panic::catch_unwind(|| target(&bytes)).is_err() {
                panic!("fuzz/corpus/{name}/{input} does not hold");
            }
        }
    }
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    let names: Vec<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let programs: Vec<String> = names.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names_in(&below("fuzz_targets")), programs);
    assert_eq!(names_in(&below("corpus")), names);
    let manifest = std::fs::read_to_string(below("Cargo.toml")).unwrap();
    for name in names {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} in fuzz/Cargo.toml");
    }
}

#[test]
fn little_and_nothing_hold() {
    for (_, target) in TARGETS {
        target(b"");
        for first in 0..=255 {
            target(&[first]);
            target(&[first, first]);
        }
    }
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % below.max(1)
    }

    /// `input` with a few bytes changed, cut, repeated or taken from `other`.
    fn near(&mut self, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..=self.roll(4) {
            let (at, length) = (self.roll(bytes.len()), self.roll(16) + 1);
            let end = (at + length).min(bytes.len());
            let (kind, value) = (self.roll(6), self.roll(256) as u8);
            match kind {
                0 if at < end => bytes[at] = value,
                1 if at < end => bytes[at] ^= 1 << (value % 8),
                2 => drop(bytes.drain(at.min(end)..end)),
                3 => {
                    let piece = bytes[at.min(end)..end].to_vec();
                    bytes.splice(at..at, piece).for_each(drop);
                }
                4 => {
                    let from = self.roll(other.len());
                    let piece = &other[from..(from + length).min(other.len())];
                    bytes.splice(at..at, piece.iter().copied()).for_each(drop);
                }
                _ => bytes.insert(at, b"\0\r\n;/%.\xff"[usize::from(value % 8)]),
            }
        }
        bytes
    }
}

/// A walk around what is kept, without the fuzzer's sense of direction. `NEAR_ROUNDS` makes it longer.
#[test]
fn what_is_near_a_kept_input_holds() {
    let rounds: usize = std::env::var("NEAR_ROUNDS").map_or(1, |text| text.parse().unwrap());
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ rounds as u64);
    for (name, target) in TARGETS {
        let corpus = below("corpus").join(name);
        let read = |input: &String| std::fs::read(corpus.join(input)).unwrap();
        let inputs: Vec<Vec<u8>> = names_in(&corpus).iter().map(read).collect();
        // An import is a thousand times slower than the rest.
        let tries = if name == "profiles" { 50 } else { 2000 };
        for _ in 0..tries * rounds {
            let [one, other] = [0, 0].map(|_| &inputs[dice.roll(inputs.len())]);
            let bytes = dice.near(one, other);
            if std::panic::catch_unwind(|| target(&bytes)).is_err() {
                panic!("{name}: {:?} does not hold: {bytes:?}", String::from_utf8_lossy(&bytes));
            }
        }
    }
}
