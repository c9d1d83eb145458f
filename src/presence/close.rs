//! Closing a connection, whichever replica has it.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::Presence;
use super::answer::Closing;
use super::list::AWAY;
use crate::close::Cause;
use crate::refusal::Refusal;
use crate::registry::away;
use crate::registry::replicas::{Numbered, Wanted};
use crate::tenant::TenantId;

/// Closings of one tenant on other replicas that may wait for their turn.
const WAITING_MAX: usize = 64;
/// What each of them takes at least: every one is a notice to all replicas.
const TURN_MIN: Duration = Duration::from_millis(20);

/// What became of connections that were all to be closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// How many this call has closed.
    pub closed: usize,
    /// Where some of them may still run, and why.
    pub incomplete: Vec<String>,
}

impl Presence {
    /// Whether a connection of this tenant's can be where its id says: it is here, or on another
    /// replica that is known.
    #[must_use]
    pub fn may_have(&self, tenant: TenantId, connection: Numbered) -> bool {
        match connection.replica == self.id {
            true => self.live.entries_of(tenant).iter().any(|it| it.id == connection.number),
            false => self.others().find(connection.replica).is_some(),
        }
    }

    /// Ends these connections of this tenant's: those that are here at once, the others one after
    /// another, for at most [`super::Settings::closing_max`]. Those that have ended already are
    /// not counted. Never fails: what is left is named.
    pub async fn close_each(
        &self,
        tenant: TenantId,
        connections: &[Numbered],
        cause: Cause,
    ) -> Ended {
        let deadline = Instant::now() + self.settings.closing_max;
        let (own, others): (Vec<Numbered>, Vec<Numbered>) =
            connections.iter().partition(|it| it.replica == self.id);
        let own: HashSet<u64> = own.into_iter().map(|it| it.number).collect();
        let entries = self.live.entries_of(tenant);
        let here = entries.iter().filter(|entry| own.contains(&entry.id) && entry.close(cause));
        let mut ended = Ended { closed: here.count(), incomplete: Vec::new() };
        let mut silent = HashSet::new();
        for (tried, connection) in others.iter().enumerate() {
            // Each would be waited for as long as the first one.
            if silent.contains(&connection.replica) {
                continue;
            }
            if Instant::now() >= deadline {
                let left = others.len() - tried;
                ended.incomplete.push(format!("other replicas: no time was left for {left} more"));
                break;
            }
            match self.close(tenant, *connection, cause).await {
                Ok(true) => ended.closed += 1,
                Ok(false) | Err(Refusal::NotFound(_)) => {}
                Err(Refusal::ReplicaSilent(who)) => {
                    silent.insert(connection.replica);
                    ended.incomplete.push(who);
                }
                Err(Refusal::Overloaded(why)) => {
                    ended.incomplete.push(format!("other replicas: {why}"));
                    break;
                }
                Err(_) => {
                    ended.incomplete.push(AWAY.to_owned());
                    break;
                }
            }
        }
        ended
    }

    /// Ends a connection of this tenant's, wherever it is. Returns whether this call did it: else
    /// something else ends it already. Dropped before it returns, it may have done it or not.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]: the tenant has no such connection. [`Refusal::ReplicaSilent`]: the one
    /// that has it did not answer, and may have closed it or not. Or the registry is away, or there
    /// is too much to do; nothing was closed then.
    pub async fn close(
        &self,
        tenant: TenantId,
        connection: Numbered,
        cause: Cause,
    ) -> Result<bool, Refusal> {
        let closing = match connection.replica == self.id {
            true => self.close_own(tenant, connection.number, cause),
            false => self.close_elsewhere(tenant, connection, cause).await?,
        };
        match closing {
            Closing::Closed => Ok(true),
            Closing::Already => Ok(false),
            Closing::Absent => Err(Refusal::NotFound("no such connection")),
        }
    }

    async fn close_elsewhere(
        &self,
        tenant: TenantId,
        connection: Numbered,
        cause: Cause,
    ) -> Result<Closing, Refusal> {
        let replica = {
            let others = self.others();
            match others.find(connection.replica) {
                Some(replica) => replica,
                None if others.is_stale => {
                    let why = "which replicas there are cannot be read";
                    return Err(Refusal::RegistryAway(why.to_owned()));
                }
                None => return Ok(Closing::Absent),
            }
        };
        let place = self.closings.place(&tenant);
        if place.number > WAITING_MAX {
            return Err(Refusal::Overloaded("too many closings of this tenant wait"));
        }
        let _turn = place.turn().await;
        let busy = |_| Refusal::Overloaded("too many closings on other replicas");
        let _permit = self.closing_permits.try_acquire().map_err(busy)?;
        let about = replica.about.to_string();
        let asked = self.ask(Wanted::Close { tenant, connection, cause }, vec![replica]);
        let (answers, ()) = tokio::join!(asked, tokio::time::sleep(TURN_MIN));
        // What was listed of that replica is not true any more.
        self.flights.forget(tenant);
        let answer = answers.map_err(away)?.into_iter().find_map(|(_, answer)| answer);
        answer.ok_or_else(|| Refusal::ReplicaSilent(format!("{about} did not answer")))
    }
}
