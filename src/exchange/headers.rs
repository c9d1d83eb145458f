//! Header rules: what never reaches a runtime, what flowgate says in its place, and what a runtime
//! may not say to a client. Pure.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, HeaderMap, HeaderName,
    HeaderValue, REFERER, REFERRER_POLICY, SEC_WEBSOCKET_PROTOCOL, SET_COOKIE, TRAILER, VARY,
    WWW_AUTHENTICATE,
};

use crate::carriers::{
    API_KEY_HEADER, API_KEY_PARAMETER, Caller, Carrier, OUR_SUBPROTOCOL, TOKEN_NAME,
    TOKEN_SUBPROTOCOL, basic_username, is_credential_parameter, is_our_cookie, is_ours,
    is_parameter,
};
use crate::client::RequestId;
use crate::client::text::Text;
use crate::row::Row;
use crate::tenant::Username;

mod editing;

use editing::{filter_list, remove_all, remove_hop_by_hop_and, replace};

/// A header that flowgate says itself: its name, and how that is written.
pub type Said = (HeaderName, &'static str);

const X_AUTH_USER: Said = (HeaderName::from_static("x-auth-user"), "X-Auth-User");
const X_CONSUMER_USERNAME: Said =
    (HeaderName::from_static("x-consumer-username"), "X-Consumer-Username");
const X_CREDENTIAL_IDENTIFIER: Said =
    (HeaderName::from_static("x-credential-identifier"), "X-Credential-Identifier");
const X_FORWARDED_FOR: Said = (HeaderName::from_static("x-forwarded-for"), "X-Forwarded-For");
const X_FORWARDED_HOST: Said = (HeaderName::from_static("x-forwarded-host"), "X-Forwarded-Host");
const X_FORWARDED_PROTO: Said = (HeaderName::from_static("x-forwarded-proto"), "X-Forwarded-Proto");
const X_REQUEST_ID: Said = (HeaderName::from_static("x-request-id"), "X-Request-Id");
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// What one runtime would say to a browser about a host that many runtimes share.
const ABOUT_THE_WHOLE_HOST: [&str; 15] = [
    // Has the browser tell all of them more about itself.
    "accept-ch",
    "alt-svc",
    "clear-site-data",
    "critical-ch",
    "nel",
    "report-to",
    "reporting-endpoints",
    "sec-session-registration",
    "secure-session-registration",
    "service-worker-allowed",
    // The next tenant's runtime would be told it, with whatever it is good for.
    "set-cookie",
    "set-login",
    "shared-storage-write",
    "strict-transport-security",
    // As good as a cookie: its name goes along with later requests (RFC 9842 section 2.2).
    "use-as-dictionary",
];

/// What `Clear-Site-Data` may name on a tenant's host. Cookies are cleared for all hosts of the site, and
/// so would be everybody's sessions; what is yet to be invented may reach as far.
const CLEARED_OF_ONE_HOST: [&[u8]; 5] = [
    b"\"cache\"",
    b"\"executionContexts\"",
    b"\"prefetchCache\"",
    b"\"prerenderCache\"",
    b"\"storage\"",
];

/// What the runtime is told of a request.
#[derive(Debug)]
pub struct Towards<'a> {
    /// The row it came by.
    pub row: Row,
    /// Whose runtime it is.
    pub tenant: &'a Username,
    /// flowgate itself has used the Authorization header.
    pub authorization_consumed: bool,
    /// The client's address.
    pub client: IpAddr,
    /// Whether the client speaks TLS with us.
    pub over_tls: bool,
    /// The request's id.
    pub request_id: RequestId,
    /// Who calls, on a published API's row.
    pub caller: Option<&'a Caller>,
}

impl Towards<'_> {
    /// Turns a client's headers into those for the runtime.
    pub fn rewrite(&self, headers: &mut HeaderMap) {
        self.filter(headers);
        let host = headers.get(HOST).cloned();
        self.say(host.as_ref(), |(name, _), value| {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.insert(name, value);
            }
        });
    }

    /// Takes out of a client's headers what the runtime does not get to see of them.
    pub fn filter(&self, headers: &mut HeaderMap) {
        let passes_key = self.passes(Carrier::KeyHeader);
        let mut filters: Vec<fn(&Self, &mut HeaderMap)> = Vec::new();
        remove_hop_by_hop_and(headers, |name| {
            match name {
                "authorization" => filters.push(Self::filter_authorization),
                "cookie" => filters.push(Self::filter_cookies),
                "referer" => filters.push(|_, headers| filter_referer(headers)),
                "sec-websocket-protocol" => {
                    filters.push(|_, headers| filter_subprotocols(headers));
                }
                "trailer" => filters.push(|_, headers| filter_trailer_names(headers)),
                "apikey" if passes_key => return false,
                "expect" => return true,
                _ => {}
            }
            is_ours(name)
        });
        for filter in filters {
            filter(self, headers);
        }
        if passes_key && let Some(key) = headers.get(API_KEY_HEADER).cloned() {
            // The first one, should there be several.
            headers.insert(API_KEY_HEADER, key);
        }
    }

    /// What flowgate says to the runtime, in place of what clients may have said by the same names: has
    /// it put, one by one. `host` is the client's.
    pub fn say(&self, host: Option<&HeaderValue>, mut put: impl FnMut(Said, &[u8])) {
        match self.caller {
            Some(caller) => {
                let Caller { username, credential, .. } = caller;
                for (said, value) in
                    [(X_CONSUMER_USERNAME, username), (X_CREDENTIAL_IDENTIFIER, credential)]
                {
                    // What cannot be said in ASCII stays unsaid.
                    if HeaderValue::from_str(value).is_ok() {
                        put(said, value.as_bytes());
                    }
                }
            }
            None if self.row.is_public() => {}
            None => put(X_AUTH_USER, self.tenant.as_str().as_bytes()),
        }
        put(X_FORWARDED_FOR, Text::from(self.client).as_bytes());
        put(X_REQUEST_ID, Text::from(self.request_id).as_bytes());
        put(X_FORWARDED_PROTO, if self.over_tls { b"https" } else { b"http" });
        if let Some(host) = host {
            put(X_FORWARDED_HOST, host.as_bytes());
        }
    }

    /// Whether the endpoint gets to see this carrier of the credential that was used.
    fn passes(&self, carrier: Carrier) -> bool {
        self.caller.is_some_and(|caller| caller.passes == Some(carrier))
    }

    /// Passes on what was not for us, but never Basic on the bare host (which names a tenant there)
    /// and never Basic that names this tenant.
    fn filter_authorization(&self, headers: &mut HeaderMap) {
        if self.passes(Carrier::Authorization) {
            return;
        }
        let bare_host = self.row.is_on_bare_host();
        let is_ours = headers.get_all(AUTHORIZATION).iter().any(|value| {
            let is_basic =
                value.as_bytes().get(..5).is_some_and(|s| s.eq_ignore_ascii_case(b"basic"));
            is_basic
                && (bare_host
                    || basic_username(value).is_none_or(|name| name == self.tenant.as_str()))
        });
        if self.authorization_consumed || is_ours {
            headers.remove(AUTHORIZATION);
        }
    }

    fn filter_cookies(&self, headers: &mut HeaderMap) {
        // Whosever API it opens: on a tenant's own host the cookie of that name is the runtime's.
        let takes_token = self.row.is_on_bare_host() && !self.passes(Carrier::TokenCookie);
        filter_list(headers, &COOKIE, b';', b"; ", |pair| {
            // Some browsers send a nameless cookie back with its equals sign.
            let nameless = pair.strip_prefix(b"=").unwrap_or(pair).trim_ascii_start();
            let is_token = takes_token && is_cookie_named(nameless, TOKEN_NAME);
            !is_our_cookie(pair) && !is_our_cookie(nameless) && !is_token
        });
    }
}

/// Turns a runtime's headers into those for the client. The answer to a handshake keeps nothing of
/// hop-by-hop; the caller sets `Connection` and `Upgrade` anew.
pub fn rewrite_answer(headers: &mut HeaderMap, row: Row) {
    let is_on_bare_host = row.is_on_bare_host();
    let mut filters: Vec<fn(&mut HeaderMap)> = Vec::new();
    remove_hop_by_hop_and(headers, |name| {
        if is_on_bare_host && ABOUT_THE_WHOLE_HOST.contains(&name) {
            return true;
        }
        match name {
            "www-authenticate" if is_on_bare_host => filters.push(filter_challenges),
            "clear-site-data" => filters.push(filter_clearing),
            "set-cookie" => filters.push(filter_set_cookies),
            _ => {}
        }
        false
    });
    for filter in filters {
        filter(headers);
    }
    if is_on_bare_host {
        // Its page gets an origin of its own, which can use nobody's credentials.
        let sandbox = HeaderValue::from_static("sandbox allow-scripts allow-forms");
        headers.append(CONTENT_SECURITY_POLICY, sandbox);
    }
    if row == Row::Editor {
        // Another tenant's page is of the same site, so the session's cookie would come along.
        let no_frames = HeaderValue::from_static("frame-ancestors 'self'");
        headers.append(CONTENT_SECURITY_POLICY, no_frames);
    }
}

fn filter_challenges(headers: &mut HeaderMap) {
    let challenges = headers.get_all(WWW_AUTHENTICATE).iter();
    let kept = challenges.filter(|value| !offers_basic(value)).cloned().collect();
    replace(headers, &WWW_AUTHENTICATE, kept);
}

fn filter_clearing(headers: &mut HeaderMap) {
    filter_list(headers, &CLEAR_SITE_DATA, b',', b", ", |what| CLEARED_OF_ONE_HOST.contains(&what));
}

fn filter_set_cookies(headers: &mut HeaderMap) {
    let cookies = headers.get_all(SET_COOKIE).iter();
    let kept = cookies.filter(|cookie| is_harmless(cookie)).cloned().collect();
    replace(headers, &SET_COOKIE, kept);
}

/// Keeps an answer to a private request out of shared caches, and from being given to whoever asks
/// with another credential. A browser keeps it under its address alone, without the password that it
/// has added by itself, so a page of another origin must not match it either; where the browser does
/// not say where its requests come from, it may keep nothing.
pub fn make_private(headers: &mut HeaderMap, may_be_kept: bool) {
    const ASKER: &str =
        "Authorization, X-Auth-User, X-Auth-Key, apikey, Cookie, Origin, Sec-Fetch-Site";
    let first = if may_be_kept { "private" } else { "private, no-store" };
    // Caches that know these do not look at Cache-Control (RFC 9213).
    remove_all(headers, |name| name.ends_with("cdn-cache-control") || name == "surrogate-control");
    headers.append(VARY, HeaderValue::from_static(ASKER));
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(first));
        return;
    }
    let said: Vec<String> = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        // A quoted list of fields is not worth taking apart: without it more is kept private.
        .filter(|value| !value.contains('"'))
        .flat_map(|value| value.split(','))
        .map(|directive| directive.trim().to_owned())
        .filter(|directive| {
            let name = directive.split('=').next().unwrap_or_default().trim().to_ascii_lowercase();
            // The last one takes no-store back (RFC 9111 section 5.2.2.3).
            !matches!(name.as_str(), "" | "public" | "private" | "s-maxage" | "must-understand")
        })
        .collect();
    let directives = [&[first.to_owned()][..], &said].concat().join(", ");
    headers.remove(CACHE_CONTROL);
    headers.extend(HeaderValue::from_str(&directives).ok().map(|value| (CACHE_CONTROL, value)));
}

/// One of the challenges in a `WWW-Authenticate` is Basic: a browser would ask for a password.
fn offers_basic(challenges: &HeaderValue) -> bool {
    challenges.as_bytes().split(|byte| *byte == b',').any(|part| {
        part.trim_ascii().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic"))
    })
}

/// A runtime's cookie may neither take one of our names nor reach beyond its own host.
fn is_harmless(cookie: &HeaderValue) -> bool {
    let text = String::from_utf8_lossy(cookie.as_bytes()).to_ascii_lowercase();
    let mut parts = text.split(';');
    // Browsers send a nameless cookie back without its equals sign.
    let name = parts.next().unwrap_or_default().trim_start_matches(['=', ' ', '\t']);
    !is_our_cookie(name.as_bytes())
        && !parts.any(|part| part.split('=').next().unwrap_or_default().trim() == "domain")
}

fn is_cookie_named(pair: &[u8], name: &str) -> bool {
    let own = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
    own.trim_ascii() == name.as_bytes()
}

fn filter_subprotocols(headers: &mut HeaderMap) {
    filter_list(headers, &SEC_WEBSOCKET_PROTOCOL, b',', b", ", |name| {
        name != OUR_SUBPROTOCOL.as_bytes() && !name.starts_with(TOKEN_SUBPROTOCOL.as_bytes())
    });
}

/// What trailers are announced; those of ours are dropped from the body, too.
fn filter_trailer_names(headers: &mut HeaderMap) {
    filter_list(headers, &TRAILER, b',', b", ", |name| {
        !is_ours(&String::from_utf8_lossy(name).to_ascii_lowercase())
    });
}

/// What a page loads names the page's address, with any credential that is in it.
fn filter_referer(headers: &mut HeaderMap) {
    let names_one = |address: &HeaderValue| {
        let address = String::from_utf8_lossy(address.as_bytes());
        address.split_once('?').is_some_and(|(_, query)| has_credential(query))
    };
    if headers.get_all(REFERER).iter().any(names_one) {
        headers.remove(REFERER);
    }
}

/// The client offers our own subprotocol: it is answered with it if the runtime selects none.
#[must_use]
pub fn offers_our_subprotocol(headers: &HeaderMap) -> bool {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim() == OUR_SUBPROTOCOL)
}

/// Whether a query has a parameter that carries a credential.
#[must_use]
pub fn has_credential(query: &str) -> bool {
    query.split('&').any(|pair| is_credential_parameter(pair) || is_parameter(pair, TOKEN_NAME))
}

/// A page whose address has a credential in it must not be told to show it to others.
pub fn keep_address_secret(headers: &mut HeaderMap) {
    // What browsers do by themselves: to other origins the address goes without path and query.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("strict-origin-when-cross-origin"));
}

/// The query for a published API's endpoint: without credentials, and without a consumer's token, but
/// for what the API hides not.
#[must_use]
pub fn query_for_api<'a>(query: &'a str, caller: Option<&Caller>) -> Cow<'a, str> {
    let passes = match caller.and_then(|caller| caller.passes) {
        Some(Carrier::KeyQuery) => Some(API_KEY_PARAMETER),
        Some(Carrier::TokenQuery) => Some(TOKEN_NAME),
        _ => None,
    };
    let keep = |pair: &&str| {
        let is_token = caller.is_some() && is_parameter(pair, TOKEN_NAME);
        passes.is_some_and(|name| is_parameter(pair, name))
            || !(is_token || is_credential_parameter(pair))
    };
    if query.split('&').all(|pair| keep(&pair)) {
        return query.into();
    }
    query.split('&').filter(keep).collect::<Vec<_>>().join("&").into()
}

/// A query without the parameters that carry credentials; the rest stays byte for byte.
#[must_use]
pub fn without_credentials(query: &str) -> Cow<'_, str> {
    let keep = |pair: &&str| !is_credential_parameter(pair);
    if query.split('&').all(|pair| keep(&pair)) {
        return query.into();
    }
    query.split('&').filter(keep).collect::<Vec<_>>().join("&").into()
}

#[cfg(test)]
mod tests;
