//! Requests that are carried on by the front: the same steps in the same order, as far as none of them
//! has to wait. What would have to wait begins anew on the other path.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{AUTHORIZATION, COOKIE, HeaderValue};
use http::request::Parts;
use mio::event::Event;
use tokio::sync::mpsc;

use super::admission::{Admitted, Decision, towards};
use super::published::Destination;
use super::steps::Step;
use super::trail::Trail;
use super::websocket::Agreed;
use super::{Journey, ended, handshake, plain, refusal_for, websocket};
use crate::accept::{self, Peer};
use crate::carriers::{TICKET_PARAMETER, is_our_cookie, is_parameter, read_basic};
use crate::client::Client;
use crate::clock::Millis;
use crate::close::Cause;
use crate::connect::upgrade::{check_switch, expected_accept};
use crate::exchange::headers::{offers_our_subprotocol, rewrite_answer};
use crate::front::head::Written;
use crate::front::{
    Answer, Companion, Forward, HandedOver, Received, Reception, Story, Switched, Wait,
};
use crate::live::{Entry, Kind, Registered};
use crate::metrics::Phase;
use crate::own_network::Network;
use crate::refusal::{Refusal, wants_page};
use crate::relay::plane::{Adoption, Relay};
use crate::relay::wire::Wire;
use crate::row::Row;
use crate::tenant::{Tenant, Username};

mod head;

use head::{Content, put_request_line, rewrite};

/// Decides for the front, and takes from it what has to wait.
#[derive(Debug)]
pub struct FrontDesk {
    /// Everything a request meets.
    pub journey: Arc<Journey>,
    /// Where connections go that the front does not serve.
    pub others: mpsc::Sender<accept::HandedOver>,
}

/// What is remembered of a request while its runtime works on it.
#[derive(Debug)]
pub struct Errand {
    client: Client,
    trail: Trail,
    wants_page: bool,
    row: Row,
    registered: Registered,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Plain {
        manner: plain::Manner,
    },
    Handshake {
        /// The right answer to the key.
        accept: String,
        ours_offered: bool,
        /// Once the runtime has switched.
        agreed: Option<Agreed>,
        /// The plan leaves messages out.
        drops: bool,
    },
}

impl Errand {
    fn is_handshake(&self) -> bool {
        matches!(self.way, Way::Handshake { .. })
    }
}

fn has_one_of_ours(cookies: &HeaderValue) -> bool {
    let mut pairs = cookies.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    pairs.any(is_our_cookie)
}

/// What a future that has nothing to wait for comes to. One that has is dropped.
fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// The relay goes on with a handshake on the thread that has carried it on so far.
impl Companion for Relay {
    fn note(&mut self, event: &Event) -> bool {
        self.note(event)
    }

    fn patience_with_events(&self) -> Duration {
        self.patience_with_events()
    }

    fn round(&mut self, now: Millis) {
        self.round(now);
    }

    fn run(self, poll: mio::Poll, is_cut: impl Fn() -> bool) {
        self.run(poll, is_cut);
    }
}

impl Story for FrontDesk {
    type Errand = Errand;
    type Companion = Relay;

    fn receive(&self, request: Received<'_>, out: &mut Vec<u8>) -> Reception<Errand> {
        let journey = &self.journey;
        let Received { parts, written, address, has_body, has_more, waited_since } = request;
        let is_handshake = handshake::is_upgrade(parts);
        if (has_more && !is_handshake) || !journey.may_be_tried(parts) {
            return Reception::HandOver;
        }
        let client = journey.client(address, false, &parts.headers);
        let wants_page = wants_page(&parts.headers);
        let begun = waited_since.map_or_else(|| journey.clock.micros(), Into::into);
        let mut trail = Trail::start(begun);
        let decided = match journey.limits.judge(parts) {
            Ok(()) => at_once(journey.admission().decide(parts, client, &mut trail)),
            Err(refusal) => Some(Err(refusal)),
        };
        let admitted = match decided {
            Some(Ok(Decision::Runtime(admitted))) => Ok(admitted),
            Some(Ok(_)) => return Reception::HandOver,
            None if waited_since.is_none() => {
                return Reception::Wait(journey.look_up(parts, client));
            }
            None => return Reception::HandOver,
            Some(Err(refusal)) => Err(refusal),
        };
        let sent = admitted.and_then(|admitted| {
            if is_handshake {
                trail.watch.pass(Phase::Auth, journey.clock.micros());
            }
            let asking = Asking { parts, written, client, has_body };
            match is_handshake {
                true => journey.begin_handshake(asking, admitted, out),
                false => journey.begin_plain(asking, admitted, out),
            }
        });
        if is_handshake && matches!(sent, Ok(Some(_))) {
            trail.watch.pass(Phase::Resolve, journey.clock.micros());
        }
        match sent {
            Ok(Some(sent)) => {
                let Sent { row, registered, way, .. } = sent;
                Reception::Forward(Box::new(Forward {
                    errand: Errand { client, trail, wants_page, row, registered, way },
                    destination: (sent.tenant.id, sent.tenant.revision),
                    addresses: sent.addresses,
                    network: sent.network,
                    changes_nothing: sent.changes_nothing,
                    is_handshake,
                }))
            }
            Ok(None) => Reception::HandOver,
            Err(refusal) => {
                journey.log_refusal(&trail, client, is_handshake, &refusal);
                Reception::Refuse(refusal_for(&refusal, client, is_handshake, wants_page))
            }
        }
    }

    fn refuse_unread(&self, address: SocketAddr, refusal: Refusal) -> Response<Bytes> {
        let client =
            Client { address, over_tls: false, request_id: self.journey.request_ids.next() };
        self.journey.log_refusal(&Trail::default(), client, false, &refusal);
        refusal_for(&refusal, client, false, false)
    }

    fn entry(errand: &Errand) -> &Entry {
        errand.registered.entry()
    }

    fn connected(&self, errand: &mut Errand) {
        errand.trail.watch.pass(Phase::Connect, self.journey.clock.micros());
    }

    fn refuse(&self, errand: &mut Errand, refusal: Refusal) -> Response<Bytes> {
        let is_handshake = errand.is_handshake();
        self.journey.log_refusal(&errand.trail, errand.client, is_handshake, &refusal);
        refusal_for(&refusal, errand.client, is_handshake, errand.wants_page)
    }

    fn refuse_closed(&self, errand: &mut Errand, cause: Cause) -> Response<Bytes> {
        let refusal = ended(errand.row, cause);
        self.refuse(errand, refusal)
    }

    fn pass(&self, errand: &mut Errand, answer: Answer<'_>) -> Result<(), Refusal> {
        match &errand.way {
            Way::Plain { manner } => {
                plain::rewrite_plain_answer(answer.headers, errand.row, *manner);
            }
            Way::Handshake { .. } => rewrite_answer(answer.headers, errand.row),
        }
        let is_handshake = errand.is_handshake();
        self.journey.log_answer(&errand.trail, errand.client, is_handshake, answer.status);
        Ok(())
    }

    fn switch(&self, errand: &mut Errand, answer: Answer<'_>) -> Result<(), Refusal> {
        let Way::Handshake { accept, ours_offered, agreed, drops } = &mut errand.way else {
            return Err(Refusal::RuntimeBroke("it switched protocols unasked".into()));
        };
        check_switch(answer.headers, accept)?;
        self.journey.reach_at_once(Step::Answered);
        let rewritten =
            websocket::rewrite_switch(answer.headers, errand.row, *ours_offered, *drops);
        *agreed = Some(rewritten);
        self.journey.log_answer(&errand.trail, errand.client, true, answer.status);
        Ok(())
    }

    fn adopt(&self, errand: Errand, switched: Switched, relay: &mut Relay, now: Millis) {
        self.journey.reach_at_once(Step::Switched);
        let request_id = errand.client.request_id;
        let Way::Handshake { agreed: Some(agreed), .. } = errand.way else { return };
        let Switched { sockets: [client, runtime], is_watched, read_ahead, permit } = switched;
        let rules = runtime
            .set_nodelay(true)
            .and_then(|()| websocket::rules(agreed, errand.registered.entry()));
        match rules {
            Ok(rules) => {
                let adoption = Adoption {
                    row: errand.row,
                    sockets: [Wire::ready(client), Wire::ready(runtime)],
                    is_watched,
                    read_ahead,
                    rules,
                    registered: errand.registered,
                    permit: permit.into(),
                };
                relay.seat(adoption, now);
            }
            Err(error) => {
                tracing::info!(%request_id, %error, "a side was gone before frames could flow");
            }
        }
    }

    fn hand_over(&self, connection: HandedOver) {
        let HandedOver { socket, read, address, permit, requests } = connection;
        tracing::debug!(client = %address, "handed over");
        let peer = Peer { address, over_tls: false, permit, no_place: None };
        let handed_over = accept::HandedOver { socket, read, peer, requests };
        if self.others.try_send(handed_over).is_err() {
            // As many fit in as there are places.
            tracing::error!(client = %address, "a connection was lost on its way");
        }
    }
}

/// A request, and who sent it.
struct Asking<'a> {
    parts: &'a mut Parts,
    written: Written<'a>,
    client: Client,
    has_body: bool,
}

/// What is known of a request whose head for the runtime has been written.
struct Sent {
    row: Row,
    registered: Registered,
    way: Way,
    tenant: Arc<Tenant>,
    addresses: Vec<SocketAddr>,
    network: Option<Network>,
    changes_nothing: bool,
}

impl Journey {
    /// Whether nothing would come of trying to decide at once but the decision: no ticket would be
    /// used up, no password checked, and no session read, since none is in memory.
    fn may_be_tried(&self, parts: &Parts) -> bool {
        if parts.headers.get_all(COOKIE).iter().any(has_one_of_ours) {
            return false;
        }
        let mut pairs = parts.uri.query().into_iter().flat_map(|query| query.split('&'));
        if pairs.any(|pair| is_parameter(pair, TICKET_PARAMETER)) {
            return false;
        }
        parts.headers.get_all(AUTHORIZATION).iter().all(|value| {
            let Some((username, password)) = read_basic(value) else { return true };
            Username::parse(&username)
                .ok()
                .and_then(|username| self.registry.known(&username))
                .and_then(|tenant| tenant.password.clone())
                .is_some_and(|stored| self.passwords.remembers(&stored, &password))
        })
    }

    /// Has the registry's answers come to memory: decides, and forgets the decision.
    fn look_up(self: &Arc<Self>, parts: &Parts, client: Client) -> Wait {
        let (journey, parts) = (Arc::clone(self), parts.clone());
        Box::pin(async move {
            let _ = journey.admission().decide(&parts, client, &mut Trail::default()).await;
        })
    }

    fn begin_plain(
        &self,
        asking: Asking<'_>,
        admitted: Admitted,
        out: &mut Vec<u8>,
    ) -> Result<Option<Sent>, Refusal> {
        let Asking { parts, written, client, has_body } = asking;
        plain::refuse_what_no_row_relays(parts, admitted.row, self.limits.body_bytes_max)?;
        let registered = self.enter(Kind::Exchange, &admitted, client)?;
        let confirmed = at_once(self.confirm(&admitted, registered.entry()));
        let Some(confirmed) = confirmed else { return not_at_once(&registered) };
        let (tenant, Destination::Runtime(instance)) = confirmed? else {
            return not_at_once(&registered);
        };
        let Admitted { identity, row, path_and_query, .. } = admitted;
        let Some((addresses, network)) = self.known_way(&tenant, &instance, registered.entry())?
        else {
            return not_at_once(&registered);
        };
        let manner = plain::Manner::of(parts, &identity);
        let towards = towards(row, &identity, client);
        put_request_line(out, parts, path_and_query)?;
        let content = if has_body { Content::Body } else { Content::None };
        rewrite(parts, written, &towards, content, out);
        let way = Way::Plain { manner };
        let changes_nothing = parts.method.is_safe() && !has_body;
        Ok(Some(Sent { row, registered, way, tenant, addresses, network, changes_nothing }))
    }

    fn begin_handshake(
        &self,
        asking: Asking<'_>,
        admitted: Admitted,
        out: &mut Vec<u8>,
    ) -> Result<Option<Sent>, Refusal> {
        let Asking { parts, written, client, has_body } = asking;
        handshake::check(parts, has_body)?;
        self.reach_at_once(Step::Admitted);
        let registered = self.enter(Kind::Connection, &admitted, client)?;
        self.reach_at_once(Step::Entered);
        let confirmed = at_once(self.confirm(&admitted, registered.entry()));
        let Some(confirmed) = confirmed else { return not_at_once(&registered) };
        let (tenant, Destination::Runtime(instance)) = confirmed? else {
            return not_at_once(&registered);
        };
        let Admitted { identity, row, path_and_query, .. } = admitted;
        self.reach_at_once(Step::Confirmed);
        let Some((addresses, network)) = self.known_way(&tenant, &instance, registered.entry())?
        else {
            return not_at_once(&registered);
        };
        let ours_offered = offers_our_subprotocol(&parts.headers);
        let accept = expected_accept(&parts.headers);
        let towards = towards(row, &identity, client);
        put_request_line(out, parts, path_and_query)?;
        let drops = tenant.plan.drops();
        rewrite(parts, written, &towards, Content::Handshake { drops }, out);
        let way = Way::Handshake { accept, ours_offered, agreed: None, drops };
        Ok(Some(Sent { row, registered, way, tenant, addresses, network, changes_nothing: false }))
    }
}

/// It begins anew on the other path, where it costs its tenant's plan the same again.
fn not_at_once(registered: &Registered) -> Result<Option<Sent>, Refusal> {
    registered.entry().give_back();
    Ok(None)
}
