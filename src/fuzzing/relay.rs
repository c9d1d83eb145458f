//! The relay's walk and pair against [`super::relay_oracle`].

use std::time::Duration;

use super::relay_oracle::{Direction, Next, head};
use crate::clock::Millis;
use crate::close::Cause;
use crate::plan::Accounts;
use crate::relay::control::Injection;
use crate::relay::pair::{Check, HOLD_BYTES_MAX, LaneState, Pair, Patience, Rules, Side, Verdict};
use crate::relay::walk::{HEADER_BYTES_MAX, Kind, Reserved, parse, whole_messages};

const SEED: [u8; 12] = *b"maskNONCE78.";
const NONCE: [u8; 7] = *b"NONCE78";
const PATIENCE: Patience = Patience {
    frame_stall_max: Duration::from_secs(60),
    write_stall_max: Duration::from_secs(60),
    half_open_max: Duration::from_secs(60),
    ping_after: Some(Duration::from_secs(30)),
    ping_runtime_after: None,
    lifetime_max: None,
};

fn reserved(bits: u8) -> Reserved {
    match bits % 3 {
        0 => Reserved::None,
        1 => Reserved::Deflate,
        _ => Reserved::Any,
    }
}

/// The first byte says in what situation the others are a frame's header: it is read as the RFC
/// says, and no cut of it misleads.
pub fn walk(data: &[u8]) {
    let Some((situation, bytes)) = data.split_first() else { return };
    let (masked, in_message) = (situation & 1 != 0, situation & 2 != 0);
    let reserved = reserved(situation >> 2);
    let whole = parse(bytes, masked, in_message, reserved);
    for cut in 0..bytes.len().min(HEADER_BYTES_MAX + 1) {
        let early = parse(&bytes[..cut], masked, in_message, reserved);
        assert!(early == Ok(None) || early == whole, "{early:?} turned into {whole:?}");
    }
    let expected = head(bytes, masked, in_message, reserved);
    let seen = whole.map(|header| {
        header.map(|header| (header.fin, header.mask, header.payload_bytes, header.header_bytes))
    });
    let wanted = expected
        .map(|head| head.map(|head| (head.fin, head.mask, head.payload_bytes, head.header_bytes)));
    assert_eq!(seen, wanted);
    if let (Ok(Some(header)), Ok(Some(head))) = (whole, expected) {
        let kind = match head.opcode {
            0 => Kind::Continuation,
            8 => Kind::Close,
            9 => Kind::Ping,
            10 => Kind::Pong,
            _ => Kind::Start,
        };
        assert_eq!(header.kind, kind);
    }
    walk_together(bytes, masked, reserved);
}

/// What passes together is one whole frame for each message.
fn walk_together(bytes: &[u8], masked: bool, reserved: Reserved) {
    let found = whole_messages(bytes, masked, reserved, u64::MAX);
    let mut place = 0;
    for _ in 0..found.count {
        let head = head(&bytes[place..], masked, false, reserved);
        let Ok(Some(head)) = head else { panic!("{head:?} passed") };
        assert!(head.fin && matches!(head.opcode, 1 | 2), "{head:?} passed");
        place += head.header_bytes + head.payload_bytes as usize;
    }
    assert!(place == found.bytes && place <= bytes.len(), "{found:?} ends at {place}");
}

/// One connection, what its peers have still to send, and what must become of it.
struct Play {
    pair: Pair,
    directions: [Direction; 2],
    /// What has come and was not passed on yet.
    shown: [Vec<u8>; 2],
    pings: usize,
    now: Millis,
    /// Verdicts since the last bytes.
    steps: usize,
    /// The sockets were dropped.
    is_cut: bool,
}

impl Play {
    fn new(situation: u8) -> Self {
        let reserved = reserved(situation);
        let message_bytes_max = if situation & 0x80 == 0 { u64::MAX } else { 200 };
        let rules = Rules { reserved, keeps_context: [true; 2], message_bytes_max, seed: SEED };
        let direction = |from| Direction::new(from, reserved, message_bytes_max, NONCE);
        Self {
            pair: Pair::new(rules, Millis::default()),
            directions: Side::BOTH.map(direction),
            shown: [Vec::new(), Vec::new()],
            pings: 0,
            now: Millis::default(),
            steps: 0,
            is_cut: false,
        }
    }

    fn show(&mut self, from: Side, bytes: &[u8]) {
        if self.is_cut {
            return;
        }
        self.shown[from as usize].extend_from_slice(bytes);
        self.steps = 0;
        self.settle();
    }

    /// Steps both ways until nothing is to be done.
    fn settle(&mut self) {
        while Side::BOTH.map(|from| self.step(from)).contains(&true) {
            self.steps += 1;
            assert!(self.steps < 1 << 20, "it never rests");
        }
        for from in Side::BOTH {
            assert!(!self.pair.wants_step(from), "something was left to be written");
        }
    }

    /// Does what one verdict says; whether there may be another.
    fn step(&mut self, from: Side) -> bool {
        let was_pinged = self.pings > 0;
        let bytes = std::mem::take(&mut self.shown[from as usize]);
        let verdict = self.pair.step(from, &bytes, self.now, Accounts::default());
        let direction = &mut self.directions[from as usize];
        let next = || direction.next(&bytes, was_pinged);
        let done = match verdict {
            Verdict::Idle => {
                assert!(bytes.is_empty(), "idle with bytes at hand");
                return false;
            }
            Verdict::Forward(count) => {
                direction.forward(&bytes, count, was_pinged);
                count
            }
            Verdict::Hold(count) => {
                assert_eq!((next(), count), (Next::More, bytes.len()));
                assert!(count <= HOLD_BYTES_MAX && !direction.is_over);
                assert_eq!(direction.left_bytes, 0);
                self.shown[from as usize] = bytes;
                return false;
            }
            Verdict::Discard(count) => {
                if !direction.is_over {
                    assert_eq!((next(), direction.left_bytes), (Next::OwnPong(count), 0));
                }
                count
            }
            Verdict::Inject(injection) => {
                assert!(direction.left_bytes == 0 && !direction.is_over, "not at a boundary");
                self.injected(from, injection);
                0
            }
            Verdict::Close(cause) => {
                assert_eq!((next(), direction.left_bytes), (Next::Close(cause), 0));
                self.pair.close(cause, self.now);
                0
            }
            Verdict::PauseUntil(_) => panic!("there is no budget"),
        };
        self.shown[from as usize] = bytes[done..].to_vec();
        true
    }

    fn injected(&mut self, from: Side, injection: Injection) {
        let masked = match injection {
            Injection::Close { cause, mask } => {
                assert_eq!(self.pair.closing(), Some(cause));
                self.directions[from as usize].is_over = true;
                mask.is_some()
            }
            Injection::Ping { payload, mask } => {
                assert!(payload.starts_with(&NONCE) && self.pair.closing().is_none());
                self.pings += 1;
                mask.is_some()
            }
            Injection::Notice => panic!("nothing was left out"),
        };
        // Towards the runtime flowgate is the client.
        assert_eq!(masked, from == Side::Client);
        let wire = injection.encode();
        let read = head(wire.as_bytes(), masked, false, Reserved::None);
        let whole = read.map(|head| head.map(|it| it.header_bytes + it.payload_bytes as usize));
        assert_eq!(whole, Ok(Some(wire.as_bytes().len())));
    }

    /// Something happens beside the bytes.
    fn happen(&mut self, what: u8, side: Side) {
        match what % 8 {
            0 => self.pair.close(Cause::Drain, self.now),
            1 => self.pair.source_ended(side, self.now),
            2 => self.pair.sink_lost(side, self.now),
            3 => {
                self.pair.limit_messages(100);
                self.directions.iter_mut().for_each(|it| it.message_bytes_max = 100);
            }
            4 => self.pair.resumed(side, self.now),
            _ => {
                self.now = self.now.plus(Duration::from_secs(u64::from(what) % 32));
                let lane = LaneState { blocked_since: None, paused: false };
                let check = self.pair.check(self.now, &PATIENCE, [lane; 2]);
                self.is_cut |= check == Check::Cut;
            }
        }
        self.find_ended();
        if !self.is_cut {
            self.settle();
        }
    }

    /// What ended for want of somebody who takes it, in the middle of a frame perhaps.
    fn find_ended(&mut self) {
        for direction in &mut self.directions {
            if self.pair.is_finished(direction.from) {
                direction.is_over = true;
                direction.left_bytes = 0;
            }
        }
    }

    fn check_counts(&mut self) {
        for from in Side::BOTH {
            let (counts, direction) =
                (self.pair.take_counts(from), &self.directions[from as usize]);
            assert_eq!(u64::from(counts.messages), direction.messages);
            assert_eq!(u64::from(counts.bytes), direction.forwarded_bytes);
        }
    }
}

/// The first byte is the situation, the second counts the acts that follow; what is left are the
/// streams of client and runtime, halved. The acts feed pieces of them, and have other things happen.
pub fn pair(data: &[u8]) {
    let [situation, acts, rest @ ..] = data else { return };
    let (acts, streams) = rest.split_at(rest.len().min(usize::from(*acts)));
    let (client, runtime) = streams.split_at(streams.len() / 2);
    let mut left = [client, runtime];
    let mut play = Play::new(*situation);
    for act in acts {
        let side = Side::BOTH[usize::from(act & 1)];
        if act & 6 == 6 {
            play.happen(act >> 3, side);
            continue;
        }
        let stream = &mut left[side as usize];
        let (piece, after) = stream.split_at(stream.len().min(usize::from(act >> 1)));
        *stream = after;
        play.show(side, piece);
    }
    for side in Side::BOTH {
        play.show(side, left[side as usize]);
    }
    play.check_counts();
    for (side, stream) in Side::BOTH.into_iter().zip([streams, streams]) {
        whole_or_in_pieces(*situation, side, stream, acts);
    }
}

/// How a stream was cut must not matter.
fn whole_or_in_pieces(situation: u8, from: Side, stream: &[u8], cuts: &[u8]) {
    let mut whole = Play::new(situation);
    whole.show(from, stream);
    let mut pieces = Play::new(situation);
    let mut left = stream;
    for cut in cuts.iter().chain(std::iter::repeat(&1)) {
        if left.is_empty() {
            break;
        }
        let (piece, after) = left.split_at(left.len().min(usize::from(*cut % 16) + 1));
        left = after;
        pieces.show(from, piece);
    }
    let told =
        |play: &mut Play| (play.pair.ending(), play.pair.closing(), play.pair.take_counts(from));
    assert_eq!(told(&mut whole), told(&mut pieces));
}
