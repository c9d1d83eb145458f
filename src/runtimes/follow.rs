//! The others' part: what is known of a runtime that another replica owns.

use std::time::Duration;

use tokio::time::sleep;

use super::Runtimes;
use super::activity::Activity;
use super::place::Place;
use super::shared::{Shared, Told};
use super::state::{Slot, State};
use crate::clock::Millis;
use crate::live::Kind;
use crate::own_network::Network;

/// Between two questions while somebody waits.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// Between two questions while it answers.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Within that time all who follow have heard that it stops.
pub(super) const HEARD_WITHIN: Duration = Duration::from_secs(2);
/// Between two words to its owner that it is in use.
const NOTE_EVERY: Duration = Duration::from_secs(2);
/// Between two words to its owner that somebody follows.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// Without use for so long it is not followed any more.
const FOLLOWED_FOR: Duration = Duration::from_secs(30);
/// How long it is believed that it runs where it cannot be reached.
const ELSEWHERE_FOR: Duration = Duration::from_secs(5);
/// Nobody says anything: its owner may be about to say something.
const SILENCES_MAX: u32 = 5;
/// The same after the registry was away: its owner has to find that out first.
const SILENCES_AFTER_AWAY_MAX: u32 = 25;

/// What a follower remembers between two questions.
struct Memory {
    silences_left: u32,
    noted_at: Millis,
    said_at: Option<Millis>,
    activity: Activity,
}

impl Runtimes {
    /// Goes by what the owner says until nobody here needs it or nobody owns it.
    pub(super) async fn follow(&self, shared: &Shared<'_>, slot: &Slot) {
        let mut memory = Memory {
            silences_left: SILENCES_MAX,
            noted_at: Millis(0),
            said_at: None,
            activity: Activity::default(),
        };
        loop {
            if *self.stop.borrow() {
                return slot.set(State::Asleep);
            }
            // Before it is asked: an owner that stops looks for followers after it has said so.
            self.say_following(shared, &mut memory).await;
            let told = shared.told().await;
            let now = self.clock.now();
            match &told {
                Ok(Some(_)) => memory.silences_left = SILENCES_MAX,
                Ok(None) if memory.silences_left == 0 => return slot.set(State::Asleep),
                Ok(None) => memory.silences_left -= 1,
                Err(_) => memory.silences_left = SILENCES_AFTER_AWAY_MAX,
            }
            match told {
                Ok(Some(Told::Ready { machine, host, port, network, .. }))
                    if machine.as_deref().is_none_or(|it| it == self.machine())
                        && reaches(network) =>
                {
                    let found = network.and_then(|at| Some((find(at)?, at.0)));
                    let place = Place { host, port, network: found, is_local: machine.is_some() };
                    self.arrive(slot, place, now);
                    let used_at = self.used_at(slot, &mut memory.activity, now);
                    self.note_use(shared, used_at, &mut memory.noted_at).await;
                    if slot.stop_if(|| self.is_unused(slot)) {
                        return slot.set(State::Asleep);
                    }
                    sleep(LOOK_EVERY).await;
                    continue;
                }
                Ok(Some(Told::Ready { .. })) => {
                    let why = "it runs on another machine, where this replica cannot reach it";
                    let until = now.plus(ELSEWHERE_FOR);
                    return slot.set(slot.fail_until(why.to_owned(), until));
                }
                Ok(Some(Told::Failing { why, until })) => {
                    let until = now.plus(until.since(self.registry.wall().now()));
                    return slot.set(slot.fail_until(why, until));
                }
                Ok(Some(Told::Starting)) => {
                    // One that has outlived its owner is taken over as it runs.
                    self.depart(slot, !self.outlives_owner(slot));
                    slot.has_turn(now);
                }
                Ok(Some(Told::Stopping)) => {
                    self.depart(slot, true);
                    slot.set(State::Stopping);
                }
                Ok(None) => {
                    self.depart(slot, false);
                    if slot.state() == State::Stopping {
                        return slot.set(State::Asleep);
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "it could not be asked how a runtime is");
                }
            }
            sleep(ASK_EVERY).await;
        }
    }

    /// It answers there.
    fn arrive(&self, slot: &Slot, place: Place, now: Millis) {
        if !matches!(slot.state(), State::Ready { place: known, .. } if known == place) {
            slot.set(State::Ready { place, since: now });
            slot.answer();
        }
    }

    fn outlives_owner(&self, slot: &Slot) -> bool {
        let tenant = self.registry.cached(slot.tenant);
        let instance = tenant.as_ref().and_then(|tenant| tenant.instance.as_ref());
        instance.is_some_and(|instance| instance.provider.outlives_flowgate())
    }

    /// It answers no more where it did: nobody is sent there, who calls waits for what comes next. If its
    /// owner ends it, what is connected is told.
    fn depart(&self, slot: &Slot, is_ended: bool) {
        if !matches!(slot.state(), State::Ready { .. }) {
            return;
        }
        slot.begin_again(self.clock.now());
        let tenant = self.registry.cached(slot.tenant).filter(|_| is_ended);
        if let Some(instance) = tenant.and_then(|tenant| tenant.instance.clone()) {
            // Requests under way have their answers before it ends.
            self.close_all(slot, &instance, &[Kind::Connection]);
        }
    }

    /// Tells the owner from time to time that somebody follows.
    async fn say_following(&self, shared: &Shared<'_>, memory: &mut Memory) {
        let now = self.clock.now();
        if memory.said_at.is_some_and(|at| now.since(at) < SAY_EVERY) {
            return;
        }
        match shared.note_following().await {
            Ok(()) => memory.said_at = Some(now),
            Err(error) => tracing::debug!(%error, "an owner could not be told who follows"),
        }
    }

    /// Tells the owner that it is in use here, if it is.
    async fn note_use(&self, shared: &Shared<'_>, used_at: Millis, noted_at: &mut Millis) {
        let now = self.clock.now();
        if used_at <= *noted_at || now.since(*noted_at) < NOTE_EVERY {
            return;
        }
        let at = self.registry.wall().now().minus(now.since(used_at));
        let tenant = self.registry.cached(shared.tenant);
        let sleep_after = tenant.and_then(|tenant| tenant.plan.sleep_after()).unwrap_or_default();
        match shared.note_use(at, sleep_after).await {
            Ok(()) => *noted_at = now,
            Err(error) => tracing::debug!(%error, "a runtime's use could not be told"),
        }
    }

    fn used_at(&self, slot: &Slot, activity: &mut Activity, now: Millis) -> Millis {
        let instance = self.registry.cached(slot.tenant).and_then(|tenant| tenant.instance.clone());
        let Some(instance) = instance else { return slot.used_at() };
        let glance = activity.look(&self.live, slot.tenant, &instance);
        match glance.requests {
            0 => slot.used_at().max(glance.last_data_at.unwrap_or_default()),
            _ => now,
        }
    }

    fn is_unused(&self, slot: &Slot) -> bool {
        self.live.entries_of(slot.tenant).is_empty()
            && self.clock.now().since(slot.used_at()) >= FOLLOWED_FOR
    }
}

/// The network of a process, if it is the one of that number.
fn find((pid, number): (u32, u64)) -> Option<Network> {
    Network::of(pid).ok().flatten().filter(|network| network.number() == number)
}

/// Whether what is in that network can be reached from here. In our own it may be at the same address
/// of somebody else's.
fn reaches(network: Option<(u32, u64)>) -> bool {
    network.is_none_or(|network| find(network).is_some())
}
