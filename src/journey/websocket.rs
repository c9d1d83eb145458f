//! A handshake's way, from an admitted request to two sockets on the relay plane.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use http_body_util::Empty;
use hyper::upgrade::{OnUpgrade, Upgraded};
use tokio::time::timeout;

use super::admission::towards;
use super::steps::Step;
use super::{Admitted, Journey, ended};
use crate::accept::Permit;
use crate::client::Client;
use crate::connect::upgrade::{Answer, detach, detach_now};
use crate::exchange::Body;
use crate::exchange::extensions;
use crate::exchange::headers::{Towards, offers_our_subprotocol, rewrite_answer};
use crate::live::{Entry, Kind, Registered};
use crate::metrics::Stopwatch;
use crate::refusal::Refusal;
use crate::relay::pair::Rules;
use crate::relay::plane::{Adoption, Reservation};
use crate::relay::walk::Reserved;
use crate::relay::wire::Wire;
use crate::row::Row;

/// What the two sides agreed on, as far as it is flowgate's business.
#[derive(Clone, Copy, Debug)]
pub(super) struct Agreed {
    /// What extensions may use.
    reserved: Reserved,
    /// Whether compressed messages from client and from runtime may refer to earlier ones.
    keeps_context: [bool; 2],
}

/// A connection whose client has yet to be switched.
struct Switch {
    row: Row,
    client: OnUpgrade,
    runtime: Upgraded,
    agreed: Agreed,
    registered: Registered,
    reservation: Reservation,
    permit: Permit,
}

impl Journey {
    /// The order matters: into the live table, look at the grant again, dial, and read the closing
    /// level at adoption. A revoker writes first and scans the table second, so one of the two sees
    /// the other.
    pub(super) async fn websocket(
        self: &Arc<Self>,
        mut parts: Parts,
        admitted: Admitted,
        client: Client,
        permit: Permit,
        watch: &mut Stopwatch,
    ) -> Result<Response<Body>, Refusal> {
        self.reach(Step::Admitted).await;
        let registered = self.enter(Kind::Connection, &admitted, client)?;
        self.reach(Step::Entered).await;
        let (tenant, destination) = self.confirm(&admitted, registered.entry()).await?;
        let destination = self.wake(&admitted, (&tenant, destination), registered.entry()).await?;
        self.reach(Step::Confirmed).await;

        let client_upgrade = parts.extensions.remove::<OnUpgrade>();
        let client_upgrade =
            client_upgrade.ok_or(Refusal::BadHandshake("No upgrade is possible."))?;
        let Admitted { identity, row, path_and_query, .. } = admitted;
        let ours_offered = offers_our_subprotocol(&parts.headers);
        let towards = towards(row, &identity, client);
        let drops = registered.entry().drops_under(&tenant.plan);
        let request = upstream_request(parts, &towards, path_and_query, drops)?;
        let answer = tokio::select! {
            biased;
            cause = registered.entry().closed() => return Err(ended(row, cause)),
            answer = destination.switch(&self.dialer, request, watch) => answer?,
        };
        let (mut response, upgraded) = match answer {
            Answer::Switched { response, upgraded } => (response, upgraded),
            Answer::Declined(mut response) => {
                rewrite_answer(response.headers_mut(), row);
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                return Ok(response.map(|body| Body::runtime(body, Arc::new(registered), || {})));
            }
        };
        self.reach(Step::Answered).await;
        let reservation = self.reserve()?;
        let agreed = rewrite_switch(response.headers_mut(), row, ours_offered, drops);
        let switch = Switch {
            row,
            client: client_upgrade,
            runtime: upgraded,
            agreed,
            registered,
            reservation,
            permit,
        };
        tokio::spawn(Arc::clone(self).switch(switch));
        Ok(response.map(|()| Body::empty()))
    }

    /// Room on the relay plane, from before the client is told that there is. Not sooner: a runtime that
    /// does not answer must not take it from the others.
    pub(super) fn reserve(&self) -> Result<Reservation, Refusal> {
        self.plane.reserve().ok_or(Refusal::Overloaded("the relay threads are behind"))
    }

    /// Waits until the client has its 101, then hands both sockets to the relay plane.
    async fn switch(self: Arc<Self>, switch: Switch) {
        let request_id = switch.registered.entry().client.request_id;
        match timeout(self.switch_timeout, self.adopt(switch)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::info!(%request_id, %error, "the client was gone before it was switched");
            }
            Err(_) => tracing::info!(%request_id, "the client did not take the answer in time"),
        }
    }

    async fn adopt(&self, switch: Switch) -> io::Result<()> {
        let client = detach(switch.client).await?;
        self.reach(Step::Switched).await;
        let runtime = detach_now(switch.runtime)?;
        switch.reservation.adopt(Adoption {
            row: switch.row,
            sockets: [
                Wire::new(client.socket, client.session)?,
                Wire::new(runtime.socket, runtime.session)?,
            ],
            is_watched: [false; 2],
            read_ahead: [client.read_ahead, runtime.read_ahead],
            rules: rules(switch.agreed, switch.registered.entry())?,
            registered: switch.registered,
            permit: switch.permit.into(),
        });
        Ok(())
    }
}

/// Turns the headers of a runtime's 101 into those for the client. Returns what the extensions that
/// were agreed on may use. A plan that `drops` messages has the client compress each by itself.
pub(super) fn rewrite_switch(
    headers: &mut HeaderMap,
    row: Row,
    ours_offered: bool,
    drops: bool,
) -> Agreed {
    rewrite_answer(headers, row);
    ask_for_websocket(headers);
    if ours_offered && !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("flowgate"));
    }
    if drops {
        extensions::answer_without_takeover(headers);
    }
    let extensions = headers.get_all(SEC_WEBSOCKET_EXTENSIONS);
    let values = extensions.iter().map(|value| value.to_str().unwrap_or("?"));
    let reserved = Reserved::from_extensions(values);
    Agreed { reserved, keeps_context: extensions::keeps_context(headers) }
}

/// The two headers that hop-by-hop rules have taken away.
pub(super) fn ask_for_websocket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// What was agreed on, for the relay.
pub(super) fn rules(agreed: Agreed, entry: &Entry) -> io::Result<Rules> {
    let mut seed = [0; 12];
    getrandom::fill(&mut seed)?;
    let Agreed { reserved, keeps_context } = agreed;
    Ok(Rules { reserved, keeps_context, message_bytes_max: entry.message_bytes_max(), seed })
}

/// The handshake as the runtime sees it. What remains of the client's headers keeps its case and
/// order.
fn upstream_request(
    parts: Parts,
    towards: &Towards<'_>,
    path_and_query: String,
    drops: bool,
) -> Result<Request<Empty<Bytes>>, Refusal> {
    let path_and_query = PathAndQuery::try_from(path_and_query)
        .map_err(|_| Refusal::Malformed("The path is malformed."))?;
    let mut request = Request::from_parts(parts, Empty::new());
    *request.uri_mut() = Uri::from(path_and_query);
    let headers = request.headers_mut();
    towards.rewrite(headers);
    ask_for_websocket(headers);
    if drops {
        extensions::offer_without_takeover(headers);
    }
    Ok(request)
}
