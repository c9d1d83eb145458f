//! What will be broken, when, and for how long: all of it follows from the seed.

use std::time::Duration;

use crate::dice::Dice;
use crate::world::{CLOCKED, REPLICAS, RUNTIMES, SOLO};

/// A way to break something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `kill -9` of a flowgate.
    KillReplica,
    /// SIGSTOP of one, later SIGCONT.
    StopReplica,
    /// SIGTERM of one: it drains and ends, and another takes its place.
    DrainReplica,
    /// `kill -9` of a runtime.
    KillRuntime,
    /// SIGSTOP of one.
    StopRuntime,
    /// `kill -9` of Redis.
    KillRedis,
    /// SIGSTOP of Redis.
    StopRedis,
    /// A replica is cut off from Redis, and knows.
    CutRegistry,
    /// The same, and nobody says so.
    SilenceRegistry,
    /// A slow way to Redis.
    SlowRegistry,
    /// Clients' connections are reset, and new ones for a while.
    CutClients,
    /// Nothing passes between clients and a replica.
    SilenceClients,
    /// Clients' bytes come late and in small pieces.
    SlowClients,
    /// Connections to a runtime are reset, and new ones for a while.
    CutRuntime,
    /// Nothing passes between replicas and a runtime.
    SilenceRuntime,
    /// A slow way to a runtime.
    SlowRuntime,
    /// The disk below the registry's file is full.
    FillDisk,
    /// A replica is told another time of day.
    JumpClock,
    /// A flowgate can open no more files.
    TakeFiles,
}

/// All of them.
pub const KINDS: [Kind; 19] = [
    Kind::KillReplica,
    Kind::StopReplica,
    Kind::DrainReplica,
    Kind::KillRuntime,
    Kind::StopRuntime,
    Kind::KillRedis,
    Kind::StopRedis,
    Kind::CutRegistry,
    Kind::SilenceRegistry,
    Kind::SlowRegistry,
    Kind::CutClients,
    Kind::SilenceClients,
    Kind::SlowClients,
    Kind::CutRuntime,
    Kind::SilenceRuntime,
    Kind::SlowRuntime,
    Kind::FillDisk,
    Kind::JumpClock,
    Kind::TakeFiles,
];

/// What must not be broken in two ways at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// A flowgate process.
    Replica(usize),
    /// Its way to Redis.
    Registry(usize),
    /// Its way to clients.
    Clients(usize),
    /// A runtime's process.
    Runtime(usize),
    /// The way to it.
    ToRuntime(usize),
    /// Redis.
    Redis,
}

/// Something that will be broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When, from the begin.
    pub at: Duration,
    /// For how long.
    pub lasts: Duration,
    /// In which way.
    pub kind: Kind,
    /// Where.
    pub place: Place,
}

/// The shortest and the longest pause between two.
const PAUSE_MS: (u64, u64) = (1500, 4500);
/// The same where there is little time.
const SHORT_PAUSE_MS: (u64, u64) = (700, 2300);
const SHORT: Duration = Duration::from_secs(120);
/// Between two at one place.
const REST: Duration = Duration::from_secs(4);

impl Kind {
    /// How long it may last, in milliseconds. Nothing of flowgate's own patience ends within.
    fn lasts_ms(self) -> (u64, u64) {
        match self {
            Self::KillReplica | Self::KillRuntime | Self::DrainReplica => (200, 4_000),
            Self::CutClients | Self::CutRuntime => (10, 3_000),
            // Longer than registry_stale_max, too.
            Self::KillRedis
            | Self::StopRedis
            | Self::CutRegistry
            | Self::SilenceRegistry
            | Self::StopReplica => (1_000, 18_000),
            Self::FillDisk | Self::TakeFiles | Self::JumpClock => (4_000, 9_000),
            _ => (2_000, 12_000),
        }
    }

    fn place(self, dice: &mut Dice) -> Place {
        match self {
            // The first one lives through everything, so that what it holds at the end tells something.
            Self::KillReplica | Self::DrainReplica => Place::Replica(1 + dice.below(SOLO)),
            Self::StopReplica => Place::Replica(dice.below(SOLO + 1)),
            Self::TakeFiles => Place::Replica(dice.below(SOLO + 1)),
            Self::JumpClock => Place::Replica(CLOCKED),
            Self::FillDisk => Place::Replica(SOLO),
            Self::KillRuntime | Self::StopRuntime => Place::Runtime(dice.below(RUNTIMES)),
            Self::KillRedis | Self::StopRedis => Place::Redis,
            Self::CutRegistry | Self::SilenceRegistry | Self::SlowRegistry => {
                Place::Registry(dice.below(REPLICAS))
            }
            Self::CutClients | Self::SilenceClients | Self::SlowClients => {
                Place::Clients(dice.below(SOLO + 1))
            }
            Self::CutRuntime | Self::SilenceRuntime | Self::SlowRuntime => {
                Place::ToRuntime(dice.below(RUNTIMES))
            }
        }
    }
}

/// A plan of what is possible here; each kind comes once before any comes twice.
pub fn make(dice: &mut Dice, time: Duration, possible: &[Kind]) -> Vec<Planned> {
    let mut plan: Vec<Planned> = Vec::new();
    let (mut at, mut deck) = (Duration::ZERO, Vec::new());
    let (least_ms, most_ms) = if time < SHORT { SHORT_PAUSE_MS } else { PAUSE_MS };
    loop {
        if deck.is_empty() {
            deck = possible.to_vec();
            dice.shuffle(&mut deck);
        }
        let Some(kind) = deck.pop() else { return plan };
        let (least, most) = kind.lasts_ms();
        let lasts = dice.span_ms(least, most);
        if at + lasts > time {
            // A short one may still fit, but not for ever.
            if at + Duration::from_secs(1) > time || deck.is_empty() {
                return plan;
            }
            continue;
        }
        let is_free = |place: Place, plan: &[Planned]| {
            plan.iter().all(|one| one.place != place || one.at + one.lasts + REST <= at)
        };
        let mut tries = (0..8).map(|_| kind.place(dice));
        if let Some(place) = tries.find(|place| is_free(*place, &plan)) {
            plan.push(Planned { at, lasts, kind, place });
        } else {
            // Its turn comes again.
            deck.insert(0, kind);
        }
        at += dice.span_ms(least_ms, most_ms);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_is_a_plan_in_which_everything_breaks_and_nothing_twice_at_once() {
        for seed in 0..200 {
            let plan =
                |seconds| make(&mut Dice::from_seed(seed), Duration::from_secs(seconds), &KINDS);
            let long = plan(600);
            assert_eq!(long, plan(600));
            let kinds: BTreeSet<Kind> = long.iter().map(|one| one.kind).collect();
            assert_eq!(kinds.len(), KINDS.len());
            for (index, one) in long.iter().enumerate() {
                assert!(one.at + one.lasts <= Duration::from_secs(600));
                let before = long[..index].iter().filter(|other| other.place == one.place);
                assert!(before.map(|other| other.at + other.lasts).all(|end| end < one.at));
                let ends = matches!(one.kind, Kind::KillReplica | Kind::DrainReplica);
                assert!(!ends || one.place != Place::Replica(0));
            }
        }
    }

    #[test]
    fn what_is_not_possible_is_left_out() {
        let plan = make(&mut Dice::from_seed(1), Duration::from_secs(100), &[Kind::KillRedis]);
        assert!(plan.len() > 2 && plan.iter().all(|one| one.kind == Kind::KillRedis));
        assert!(make(&mut Dice::from_seed(1), Duration::from_secs(100), &[]).is_empty());
    }
}
