//! A plain request's way to the runtime and back: streamed both ways, nothing buffered whole.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
    CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, ORIGIN, TRANSFER_ENCODING,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};

use super::admission::towards;
use super::{Admitted, Journey, ended};
use crate::authenticate::Identity;
use crate::client::Client;
use crate::exchange::Body;
use crate::exchange::headers::{
    Towards, has_credential, keep_address_secret, make_private, rewrite_answer,
};
use crate::front::framing::Framing;
use crate::live::Kind;
use crate::refusal::Refusal;
use crate::row::Row;
use crate::upload::Upload;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SERVICE_WORKER: HeaderName = HeaderName::from_static("service-worker");
/// How long a browser may remember the answer to a preflight, in seconds.
const PREFLIGHT_SECONDS: u32 = 600;

impl Journey {
    /// In the same order as a handshake: into the live table, look at the grant again, dial.
    pub(super) async fn plain(
        self: &Arc<Self>,
        parts: Parts,
        body: Incoming,
        admitted: Admitted,
        client: Client,
    ) -> Result<Response<Body>, Refusal> {
        refuse_what_no_row_relays(&parts, admitted.row, self.limits.body_bytes_max)?;
        let registered = Arc::new(self.enter(Kind::Exchange, &admitted, client)?);
        let (current, destination) = self.confirm(&admitted, registered.entry()).await?;
        let entry = registered.entry();
        if let Some(page) =
            self.waiting_page(&parts, &admitted, (&current, &destination), entry).await
        {
            return Ok(page);
        }
        let destination = self.wake(&admitted, (&current, destination), entry).await?;

        let Admitted { identity, row, path_and_query, .. } = admitted;
        let manner = Manner::of(&parts, &identity);
        let towards = towards(row, &identity, client);
        let answers_head = parts.method == Method::HEAD;
        let body = Upload::new(body, self.limits.body_bytes_max, Arc::clone(&registered));
        let request = upstream_request(parts, body, &towards, path_and_query)?;
        let answer = tokio::select! {
            biased;
            cause = registered.entry().closed() => return Err(ended(row, cause)),
            answer = destination.ask(&self.dialer, &current, request) => answer,
        };
        let (mut response, reuse) = answer?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Refusal::RuntimeBroke("it switched protocols unasked".into()));
        }
        let is_http_1_1 = response.version() == Version::HTTP_11;
        Framing::of_answer(answers_head, response.status(), is_http_1_1, response.headers())
            .map_err(|why| Refusal::RuntimeBroke(why.to_owned()))?;
        rewrite_plain_answer(response.headers_mut(), row, manner);
        *response.version_mut() = Version::HTTP_11;
        Ok(response.map(|body| Body::runtime(body, registered, move || reuse.keep())))
    }
}

/// What of a request decides how a browser is to treat the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// It may keep it.
    may_be_kept: bool,
    /// The address has a credential in it.
    is_secret: bool,
}

impl Manner {
    pub(super) fn of(parts: &Parts, identity: &Identity) -> Self {
        Self {
            may_be_kept: !identity.authorization_consumed
                || parts.headers.contains_key(SEC_FETCH_SITE),
            is_secret: parts.uri.query().is_some_and(has_credential),
        }
    }
}

/// Turns a runtime's headers into those for the client.
pub(super) fn rewrite_plain_answer(headers: &mut HeaderMap, row: Row, manner: Manner) {
    rewrite_answer(headers, row);
    if !row.is_public() {
        make_private(headers, manner.may_be_kept);
    }
    if manner.is_secret {
        keep_address_secret(headers);
    }
}

/// What is refused before the body is polled, so that no `100 Continue` invites it.
pub(super) fn refuse_what_no_row_relays(
    parts: &Parts,
    row: Row,
    body_bytes_max: u64,
) -> Result<(), Refusal> {
    let announced = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if announced
        .and_then(|length| length.parse().ok())
        .is_some_and(|length: u64| length > body_bytes_max)
    {
        return Err(Refusal::BodyTooLarge);
    }
    let asks = parts.headers.get(SERVICE_WORKER);
    let asks_for_worker = asks.is_some_and(|asks| asks.as_bytes().trim_ascii() == b"script");
    if asks_for_worker && row.is_on_bare_host() {
        return Err(Refusal::ServiceWorker);
    }
    Ok(())
}

/// Whether a browser asks for leave (the Fetch standard's CORS preflight). It sends no credential
/// with that.
pub(super) fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(ORIGIN)
        && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The leave for a private row, whosever it is: any page may ask with a credential that it has been
/// given, and none with one that the browser adds by itself.
pub(super) fn answer_preflight(parts: &Parts) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(PREFLIGHT_SECONDS));
    // A star would not cover Authorization.
    for (asked, allowed) in [
        (ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_ALLOW_METHODS),
        (ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_ALLOW_HEADERS),
    ] {
        if let Some(asked) = parts.headers.get(asked) {
            headers.insert(allowed, asked.clone());
        }
    }
    response
}

fn upstream_request(
    parts: Parts,
    body: Upload,
    towards: &Towards<'_>,
    path_and_query: String,
) -> Result<Request<Upload>, Refusal> {
    let path_and_query = PathAndQuery::try_from(path_and_query)
        .map_err(|_| Refusal::Malformed("The path is malformed."))?;
    let mut request = Request::from_parts(parts, body);
    *request.uri_mut() = Uri::from(path_and_query);
    *request.version_mut() = Version::HTTP_11;
    towards.rewrite(request.headers_mut());
    // hyper leaves out a GET's body of unknown length unless it is told to send chunks.
    if !request.body().is_end_stream() && request.body().size_hint().exact().is_none() {
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(TRANSFER_ENCODING, chunked);
    }
    Ok(request)
}
