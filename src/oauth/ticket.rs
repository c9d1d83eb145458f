//! One-time tickets for browsers, which cannot send a header with a WebSocket handshake: whoever has an
//! access token gets one for one path and one page's origin.

use std::sync::{Mutex, PoisonError};

use axum::extract::State;
use http::StatusCode;
use http::header::HeaderMap;
use serde::Deserialize;

use super::{At, unkept};
use crate::api::context::is_reserved;
use crate::authenticate::Authority;
use crate::clock::Millis;
use crate::grant::{Grant, SubscriptionId};
use crate::guessing::bounded::Bounded;
use crate::json::Input;
use crate::refusal::Refusal;
use crate::registry::away;
use crate::registry::tickets::{BAD_ORIGIN, TICKET_TTL, Ticket, is_origin};
use crate::route::PATH_BYTES_MAX;

/// Tickets of one subscription within [`TICKET_TTL`], on one replica. What is issued is in the registry
/// until it is over.
const PER_SUBSCRIPTION_MAX: u32 = 500;
/// Subscriptions whose tickets are counted; the one whose first ticket is the oldest makes room.
const SUBSCRIPTIONS_MAX: usize = 65_536;

/// How many tickets were issued lately, by subscription: tokens are as many as somebody asks for.
#[derive(Debug)]
pub struct Tickets(Mutex<Bounded<SubscriptionId, Window>>);

#[derive(Clone, Copy, Debug)]
struct Window {
    began: Millis,
    count: u32,
}

impl Default for Tickets {
    fn default() -> Self {
        Self(Mutex::new(Bounded::new(SUBSCRIPTIONS_MAX)))
    }
}

impl Tickets {
    /// Counts one that is about to be issued.
    fn count(&self, subscription: SubscriptionId, now: Millis) -> Result<(), Refusal> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match windows.get_mut(&subscription).filter(|it| now.since(it.began) < TICKET_TTL) {
            None => windows.put(subscription, Window { began: now, count: 1 }),
            Some(window) if window.count < PER_SUBSCRIPTION_MAX => window.count += 1,
            Some(_) => return Err(Refusal::Overloaded("too many tickets of one subscription")),
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTicket {
    path: String,
    origin: Option<String>,
}

/// `POST /oauth2/tickets`
pub(super) async fn issue(
    State(desk): At,
    headers: HeaderMap,
    Input(wanted): Input<NewTicket>,
) -> Result<axum::response::Response, Refusal> {
    const BAD: &str = "The path must be the handshake's, that of a published API, without query.";
    let NewTicket { path, origin } = wanted;
    if !origin.as_deref().is_none_or(is_origin) {
        return Err(Refusal::BadInput(BAD_ORIGIN.to_owned()));
    }
    let is_path = path.starts_with('/')
        && path.len() <= PATH_BYTES_MAX
        && !path.contains('?')
        && !is_reserved(&path);
    let api = match is_path {
        true => desk.registry.api_at(&path).await.map_err(away)?,
        false => None,
    };
    let api = api.ok_or_else(|| Refusal::BadInput(BAD.to_owned()))?;
    let authority = Authority { registry: &desk.registry, passwords: &desk.passwords };
    let grant = authority.check_bearer(&headers, &api)?;
    if let Grant::Token { subscription, .. } = grant {
        desk.tickets.count(subscription, desk.registry.clock().now())?;
    }
    let ticket = Ticket::new(api.account_id(), path, origin, grant);
    let secret = desk.registry.issue_ticket(&ticket).await.map_err(away)?;
    Ok(unkept(StatusCode::CREATED, &ticket.told(&secret)))
}

#[cfg(test)]
mod tests;
