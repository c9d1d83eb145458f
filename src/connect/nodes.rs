//! The nodes of an operator's API: which one is next, and which are set aside for a while.
//!
//! Calls are shared by weight, smoothly: a node of weight 5 does not get five in a row. A node that
//! cannot be reached is set aside, and the dial is tried at the next one: so far nothing was sent. What
//! a node does with a request that it has got sets nothing aside: a caller could choose one that every
//! node is slow with.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;

use super::Dialer;
use super::pool::Reuse;
use super::upgrade::Answer;
use crate::api::{Api, NodeAddress, Way};
use crate::clock::Millis;
use crate::grant::ApiId;
use crate::metrics::{Phase, Stopwatch};
use crate::refusal::Refusal;
use crate::tls::Stream;
use crate::upload::Upload;

/// For how long a node is left alone that could not be reached.
pub const ASIDE_FOR: Duration = Duration::from_secs(10);
/// Nodes that one call tries; each may take `connect_timeout`.
const DIALS_MAX: usize = 4;
/// APIs whose shares are remembered.
const APIS_MAX: usize = 20_000;

/// Whose turn it is, by API.
#[derive(Debug, Default)]
pub struct Shares(Mutex<HashMap<ApiId, Share>>);

#[derive(Debug)]
struct Share {
    /// The API's, when it was counted from the beginning.
    revision: u64,
    nodes: Vec<Turn>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    /// How much it is owed.
    credit: i64,
    aside_until: Option<Millis>,
}

impl Shares {
    /// The next node to try, after those that were tried. Those that are set aside come last, the one
    /// that has been so for the longest time first.
    fn next(
        &self,
        api: &Api,
        nodes: &[NodeAddress],
        tried: &[usize],
        now: Millis,
    ) -> Option<usize> {
        let mut shares = self.lock();
        if shares.len() >= APIS_MAX && !shares.contains_key(&api.id) {
            shares.clear();
        }
        let share = shares.entry(api.id).or_insert_with(|| Share::new(api.revision, nodes.len()));
        if share.revision != api.revision || share.nodes.len() != nodes.len() {
            *share = Share::new(api.revision, nodes.len());
        }
        let is_left = |place: &usize| !tried.contains(place);
        let is_up = |turn: &Turn| turn.aside_until.is_none_or(|until| now >= until);
        let up: Vec<usize> =
            (0..nodes.len()).filter(is_left).filter(|place| is_up(&share.nodes[*place])).collect();
        if up.is_empty() {
            let aside = (0..nodes.len()).filter(is_left);
            return aside.min_by_key(|place| share.nodes[*place].aside_until);
        }
        let mut total = 0;
        for place in &up {
            let weight = i64::from(nodes[*place].weight);
            share.nodes[*place].credit += weight;
            total += weight;
        }
        // The first of several that are owed the same.
        let next = up.into_iter().rev().max_by_key(|place| share.nodes[*place].credit)?;
        share.nodes[next].credit -= total;
        Some(next)
    }

    fn note(&self, api: &Api, place: usize, aside_until: Option<Millis>) {
        let mut shares = self.lock();
        let share = shares.get_mut(&api.id).filter(|share| share.revision == api.revision);
        if let Some(turn) = share.and_then(|share| share.nodes.get_mut(place)) {
            turn.aside_until = aside_until;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ApiId, Share>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    fn new(revision: u64, nodes: usize) -> Self {
        Self { revision, nodes: vec![Turn::default(); nodes] }
    }
}

impl Dialer {
    /// As [`Dialer::handshake`], at one of an API's nodes.
    ///
    /// # Errors
    /// As [`Dialer::handshake`]; unreachable if none of them was reached.
    pub async fn handshake_at_a_node(
        &self,
        api: &Api,
        mut request: Request<Empty<Bytes>>,
        watch: &mut Stopwatch,
    ) -> Result<Answer, Refusal> {
        let nodes = nodes(api)?;
        let (socket, place) = self.dial_a_node(api, nodes, watch).await?;
        watch.pass(Phase::Connect, self.clock.micros());
        address(&mut request, &nodes[place])?;
        self.switch_in_time(socket, request, watch).await
    }

    /// As [`Dialer::request`], at one of an API's nodes.
    ///
    /// # Errors
    /// As [`Dialer::request`]; unreachable if none of them was reached.
    pub async fn request_at_a_node(
        &self,
        api: &Api,
        mut request: Request<Upload>,
    ) -> Result<(Response<Incoming>, Reuse), Refusal> {
        let nodes = nodes(api)?;
        let (socket, place) = self.dial_a_node(api, nodes, &mut Stopwatch::default()).await?;
        address(&mut request, &nodes[place])?;
        self.request_over(socket, request).await
    }

    async fn dial_a_node(
        &self,
        api: &Api,
        nodes: &[NodeAddress],
        watch: &mut Stopwatch,
    ) -> Result<(Stream, usize), Refusal> {
        let mut tried = Vec::new();
        let mut last = Refusal::NoRuntime;
        while tried.len() < DIALS_MAX
            && let Some(place) = self.shares.next(api, nodes, &tried, self.clock.now())
        {
            match self.dial(&nodes[place].instance, watch).await {
                Ok(socket) => {
                    self.shares.note(api, place, None);
                    return Ok((socket, place));
                }
                Err(refusal) => {
                    let node = &nodes[place];
                    tracing::warn!(api = %api.id, %node, why = %refusal, "a node is set aside");
                    self.shares.note(api, place, Some(self.clock.now().plus(ASIDE_FOR)));
                    last = refusal;
                }
            }
            tried.push(place);
        }
        Err(last)
    }
}

fn nodes(api: &Api) -> Result<&[NodeAddress], Refusal> {
    match &api.way {
        Way::Nodes { nodes, .. } => Ok(nodes),
        Way::Runtime { .. } => Err(Refusal::NoRuntime),
    }
}

/// Makes a request one for this node: its path behind the node's base, and its Host.
fn address<T>(request: &mut Request<T>, node: &NodeAddress) -> Result<(), Refusal> {
    let behind = request.uri().path_and_query().map_or("", PathAndQuery::as_str);
    let behind = match behind.strip_prefix('/') {
        // The API's own root is the node's URL as it is written.
        Some(rest) if !node.base.is_empty() && (rest.is_empty() || rest.starts_with('?')) => rest,
        _ => behind,
    };
    let path = format!("{}{behind}", node.base);
    let path =
        PathAndQuery::try_from(path).map_err(|_| Refusal::Malformed("The path is malformed."))?;
    *request.uri_mut() = Uri::from(path);
    request.headers_mut().insert(HOST, node.host.clone());
    Ok(())
}

#[cfg(test)]
mod tests;
