//! What one relay thread has relayed. The thread alone writes it, so that counting takes no lock, and
//! nobody else's cache line; anybody may read it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::pair::Side;
use crate::metrics::{Lifetimes, Spans};
use crate::row::Row;

const ROWS: usize = Row::ALL.len();
const ENDED_BY: [&str; 3] = ["client", "runtime", "flowgate"];
/// Close codes as they are counted: a peer may send any of thousands (RFC 6455 section 7.4).
const CODES: [&str; 20] = [
    "1000", "1001", "1002", "1003", "1004", "1005", "1006", "1007", "1008", "1009", "1010", "1011",
    "1012", "1013", "1014", "1015", "3xxx", "4008", "4xxx", "other",
];

/// One thread's counts.
#[derive(Debug)]
#[repr(align(128))]
pub struct Counts {
    /// By side that they came from.
    messages: [AtomicU64; 2],
    bytes: [AtomicU64; 2],
    /// Pauses, and messages left out.
    throttled: [AtomicU64; 2],
    began: [AtomicU64; ROWS],
    over: [AtomicU64; ROWS],
    ends: [AtomicU64; ENDED_BY.len() * CODES.len()],
    lifetimes: Lifetimes,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            messages: Default::default(),
            bytes: Default::default(),
            throttled: Default::default(),
            began: Default::default(),
            over: Default::default(),
            ends: std::array::from_fn(|_| AtomicU64::new(0)),
            lifetimes: Lifetimes::default(),
        }
    }
}

/// There is one writer, so nothing can come between the two.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

impl Counts {
    /// So many messages and bytes came from a side since the last call.
    pub(super) fn relayed(&self, from: Side, (messages, bytes): (u64, u64)) {
        if bytes > 0 {
            add(&self.messages[from as usize], messages);
            add(&self.bytes[from as usize], bytes);
        }
    }

    /// Plans had reading pause so often, and so many messages left out.
    pub(super) fn throttled(&self, paced: u64, dropped: u64) {
        for (count, more) in self.throttled.iter().zip([paced, dropped]) {
            add(count, more);
        }
    }

    /// A connection was adopted.
    pub(super) fn began(&self, row: Row) {
        add(&self.began[row as usize], 1);
    }

    /// It has ended.
    pub(super) fn ended(&self, row: Row, by: &str, code: u16, lived: Duration) {
        add(&self.over[row as usize], 1);
        let by = ENDED_BY.iter().position(|known| *known == by).unwrap_or(ENDED_BY.len() - 1);
        add(&self.ends[by * CODES.len() + place_of_code(code)], 1);
        self.lifetimes.note(u64::try_from(lived.as_micros()).unwrap_or(u64::MAX));
    }

    /// What was counted so far.
    pub(super) fn load(&self) -> Load {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let over = self.over.each_ref().map(read);
        Load {
            messages: self.messages.each_ref().map(read),
            bytes: self.bytes.each_ref().map(read),
            throttled: self.throttled.each_ref().map(read),
            // Read last, so that it is not behind those that are over.
            began: self.began.each_ref().map(read),
            over,
            ends: self.ends.iter().map(read).collect(),
            lifetimes: self.lifetimes.spans(),
        }
    }
}

fn place_of_code(code: u16) -> usize {
    let named = match code {
        1000..=1015 => return usize::from(code - 1000),
        4008 => "4008",
        3000..=3999 => "3xxx",
        4000..=4999 => "4xxx",
        _ => "other",
    };
    CODES.iter().position(|known| *known == named).unwrap_or(CODES.len() - 1)
}

/// What a thread, or all of them, has relayed.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Whole data messages, from clients and from runtimes.
    pub messages: [u64; 2],
    /// Bytes on the wire, the same.
    pub bytes: [u64; 2],
    /// How often plans had reading pause, and how many messages they left out.
    pub throttled: [u64; 2],
    /// Connections adopted, in the order of [`Row::ALL`].
    pub began: [u64; ROWS],
    /// Those of them that are over.
    pub over: [u64; ROWS],
    ends: Vec<u64>,
    /// How long they lived.
    pub lifetimes: Spans,
}

impl Load {
    /// Connections that are live.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.began.iter().sum::<u64>().saturating_sub(self.over.iter().sum())
    }

    /// Connections that ended, by who ended them and by close code.
    pub fn ends(&self) -> impl Iterator<Item = ([&'static str; 2], u64)> {
        let labels = ENDED_BY.into_iter().flat_map(|by| CODES.map(|code| [by, code]));
        labels.zip(self.ends.iter().copied())
    }

    /// Takes another thread's in.
    pub fn add(&mut self, other: &Self) {
        let add = |all: &mut [u64], more: &[u64]| {
            all.iter_mut().zip(more).for_each(|(all, more)| *all += more);
        };
        add(&mut self.messages, &other.messages);
        add(&mut self.bytes, &other.bytes);
        add(&mut self.throttled, &other.throttled);
        add(&mut self.began, &other.began);
        add(&mut self.over, &other.over);
        self.ends.resize(other.ends.len(), 0);
        add(&mut self.ends, &other.ends);
        self.lifetimes.add(&other.lifetimes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::close::Cause;

    #[test]
    fn threads_add_up() {
        let (one, two) = (Counts::default(), Counts::default());
        for counts in [&one, &two] {
            counts.began(Row::Api);
            counts.began(Row::Editor);
            counts.relayed(Side::Client, (2, 30));
            counts.relayed(Side::Runtime, (0, 7));
        }
        one.ended(Row::Api, "client", 1000, Duration::from_secs(5));
        let mut all = Load::default();
        all.add(&one.load());
        all.add(&two.load());
        assert_eq!((all.messages, all.bytes), ([4, 0], [60, 14]));
        assert_eq!(
            (all.began, all.over, all.live()),
            ([0, 2, 0, 0, 2, 0, 0], [0, 1, 0, 0, 0, 0, 0], 3)
        );
        let ends: Vec<_> = all.ends().filter(|(_, count)| *count > 0).collect();
        assert_eq!(ends, [(["client", "1000"], 1)]);
        assert_eq!((all.lifetimes.count(), all.lifetimes.seconds), (1, 5.0));
    }

    #[test]
    fn no_code_is_counted_as_another() {
        for (code, counted) in [
            (0, "other"),
            (999, "other"),
            (1000, "1000"),
            (1015, "1015"),
            (1016, "other"),
            (2999, "other"),
            (3000, "3xxx"),
            (4007, "4xxx"),
            (4008, "4008"),
            (4999, "4xxx"),
            (5000, "other"),
            (u16::MAX, "other"),
        ] {
            assert_eq!(CODES[place_of_code(code)], counted, "{code}");
        }
        for cause in Cause::all() {
            assert_eq!(CODES[place_of_code(cause.code())], cause.code().to_string());
        }
    }
}
