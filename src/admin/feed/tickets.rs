//! Tickets for live feeds: in this process's memory, since the feed is this process's.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::header::{HeaderMap, HeaderValue, ORIGIN};

use crate::admin::tokens::AdminToken;
use crate::clock::Millis;
use crate::refusal::{OperatorRefusal, Refusal};
use crate::secret::{Secret, SecretDigest};

/// How long a ticket can be used.
pub(super) const LIFE: Millis = Millis(30_000);
/// Tickets that wait to be used.
const TICKETS_MAX: usize = 256;

/// Those that were given out and wait to be used.
#[derive(Debug, Default)]
pub(in crate::admin) struct Tickets(Mutex<HashMap<String, Ticket>>);

#[derive(Debug)]
struct Ticket {
    /// By which it was asked for.
    token: AdminToken,
    /// Of the page that asked for it, if a page did.
    origin: Option<HeaderValue>,
    until: Millis,
}

impl Tickets {
    /// A ticket for whoever asks with this token.
    pub fn issue(
        &self,
        token: AdminToken,
        headers: &HeaderMap,
        now: Millis,
    ) -> Result<Secret, Refusal> {
        let ticket = Secret::generate_ticket().map_err(|_| Refusal::Overloaded("no randomness"))?;
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.retain(|_, ticket| now < ticket.until);
        if tickets.len() >= TICKETS_MAX {
            return Err(Refusal::Overloaded("256 tickets for live feeds wait to be used"));
        }
        let known =
            Ticket { token, origin: headers.get(ORIGIN).cloned(), until: Millis(now.0 + LIFE.0) };
        tickets.insert(SecretDigest::of(&ticket).to_hex(), known);
        Ok(ticket)
    }

    /// Takes a ticket, whether it is good or not: there is no second try. Returns the token by which
    /// it was asked for, which may be none any more.
    pub fn take(
        &self,
        ticket: &Secret,
        headers: &HeaderMap,
        now: Millis,
    ) -> Result<AdminToken, Refusal> {
        // By digest: how long the look-up takes says nothing of the tickets there are.
        let digest = SecretDigest::of(ticket).to_hex();
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
        let is_good = |known: &Ticket| {
            let is_its_page =
                known.origin.as_ref().is_none_or(|own| Some(own) == headers.get(ORIGIN));
            now < known.until && is_its_page
        };
        let known = known.filter(is_good).ok_or(Refusal::Operator(OperatorRefusal::Ticket))?;
        Ok(known.token)
    }
}
