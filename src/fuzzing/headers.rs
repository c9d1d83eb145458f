//! Credentials, forwarded headers, and what a runtime may say: heads as they come from a wire.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{CONNECTION, CONTENT_SECURITY_POLICY, HOST, HeaderValue, SET_COOKIE};
use http::request::Parts;

use crate::authenticate::credentials::Presented;
use crate::client::RequestIds;
use crate::exchange::headers::{Towards, make_private, rewrite_answer, without_credentials};
use crate::front::head::{Found, read_answer, read_request, space};
use crate::row::Row;
use crate::tenant::Username;

const TENANT: &str = "mike";
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

/// In what situation a request is.
#[derive(Clone, Copy)]
struct Situation {
    row: Row,
    authorization_consumed: bool,
    over_tls: bool,
}

impl Situation {
    fn from_byte(byte: u8) -> Self {
        Self {
            row: Row::ALL[usize::from(byte & 7) % Row::ALL.len()],
            authorization_consumed: byte & 8 != 0,
            over_tls: byte & 16 != 0,
        }
    }

    /// The headers as the runtime gets them, and the request's id in them.
    fn rewritten(self, headers: &HeaderMap) -> (HeaderMap, String) {
        let tenant = Username::parse(TENANT).expect("a username");
        let request_id = RequestIds::new().expect("randomness").next();
        let towards = Towards {
            row: self.row,
            tenant: &tenant,
            authorization_consumed: self.authorization_consumed,
            client: CLIENT,
            over_tls: self.over_tls,
            request_id,
            caller: None,
        };
        let mut headers = headers.clone();
        towards.rewrite(&mut headers);
        (headers, request_id.to_string())
    }
}

/// A request whose head is all that was sent; a head that is cut must not be taken for one.
fn request(bytes: &[u8]) -> Option<Parts> {
    let mut map = HeaderMap::new();
    let mut space = space();
    let Found::Head(head) = read_request(bytes, &mut space, &mut map) else { return None };
    let (parts, length) = (head.parts, head.length);
    for cut in [length / 2, length - 1] {
        let (mut map, mut space) = (HeaderMap::new(), self::space());
        let early = read_request(&bytes[..cut], &mut space, &mut map);
        assert!(!matches!(early, Found::Head(_)), "half a head was taken for one");
    }
    assert!(parts.uri.path().starts_with('/') || parts.uri.path() == "*");
    Some(parts)
}

/// The first byte is the situation, a request's head follows. None of its credentials is left in what
/// the runtime gets.
pub fn credentials(data: &[u8]) {
    let Some((situation, bytes)) = data.split_first() else { return };
    let situation = Situation::from_byte(*situation);
    let Some(parts) = request(bytes) else { return };
    let query = parts.uri.query();
    if let Ok(presented) = Presented::read(&parts.headers, query) {
        presents_what_was_sent(&parts, &presented);
    }
    let (headers, _) = situation.rewritten(&parts.headers);
    let kept = query.map(without_credentials);
    let kept = kept.as_deref();
    assert_eq!(kept, kept.map(without_credentials).as_deref(), "twice is as good as once");
    let text = kept.unwrap_or_default();
    assert!(
        text.is_empty()
            || text
                .split('&')
                .all(|pair| query.unwrap_or_default().split('&').any(|it| it == pair))
    );
    match Presented::read(&headers, kept) {
        Ok(left) => {
            assert!(left.keys.is_empty() && left.ticket.is_none() && left.x_auth.is_none());
            let bare_host = matches!(situation.row, Row::Public | Row::Api);
            if let Some(basic) = left.basic {
                assert!(!bare_host && !situation.authorization_consumed);
                assert_ne!(basic.username, TENANT);
            }
            assert!(left.bearer.is_none() || !situation.authorization_consumed);
        }
        // Several Authorization headers, or a malformed one, which are the runtime's to judge.
        Err(_) => assert!(headers.contains_key("authorization")),
    }
    for (name, value) in &headers {
        let plain = name.as_str().replace('_', "-");
        let is_ours = plain == "apikey" || (plain.starts_with("x-auth-") && name != "x-auth-user");
        assert!(!is_ours, "{name}");
        let value = value.as_bytes();
        if name == "cookie" {
            let mut pairs = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            assert!(
                !pairs.any(|pair| begins(pair, b"__host-flowgate") || begins(pair, b"flowgate-"))
            );
        } else if name == "sec-websocket-protocol" {
            let mut names = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            assert!(
                !names.any(|name| name == b"flowgate" || name.starts_with(b"flowgate.bearer."))
            );
        }
    }
}

fn begins(text: &[u8], with: &[u8]) -> bool {
    text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
}

/// Every credential that was found has a place that it was found in.
fn presents_what_was_sent(parts: &Parts, presented: &Presented) {
    let count = |name| parts.headers.get_all(name).iter().count();
    assert!(count("authorization") <= 1 && count("apikey") <= 1);
    assert!(count("x-auth-user") <= 1 && count("x-auth-key") <= 1);
    assert_eq!(presented.x_auth.is_some(), count("x-auth-user") + count("x-auth-key") == 2);
    assert!(presented.basic.is_none() || presented.bearer.is_none());
    assert!(presented.basic.is_none() && presented.bearer.is_none() || count("authorization") == 1);
    assert!(presented.keys.len() <= 3);
    assert!(count("apikey") <= presented.keys.len());
    let in_query = usize::from(presented.ticket.is_some()) + presented.keys.len();
    let places = parts.uri.query().map_or(0, |query| query.split('&').count());
    assert!(in_query <= places + count("apikey") + count("sec-websocket-protocol"));
    // A username is no secret.
    let named = [&presented.basic, &presented.x_auth].into_iter().flatten();
    let is_a_name = { named }.any(|named| named.username.contains("SECRET"));
    assert!(is_a_name || !format!("{presented:?}").contains("SECRET"), "a credential is printed");
}

/// The first byte is the situation, a request's or an answer's head follows: what flowgate alone may
/// say is said by flowgate, once.
pub fn headers(data: &[u8]) {
    let Some((situation, bytes)) = data.split_first() else { return };
    if situation & 32 != 0 {
        return answer(Situation::from_byte(*situation).row, bytes);
    }
    let situation = Situation::from_byte(*situation);
    let Some(parts) = request(bytes) else { return };
    let (rewritten, request_id) = situation.rewritten(&parts.headers);
    let all = |name: &str| -> Vec<&[u8]> {
        rewritten.get_all(name).iter().map(HeaderValue::as_bytes).collect()
    };
    let scheme: &[u8] = if situation.over_tls { b"https" } else { b"http" };
    assert_eq!(all("x-forwarded-for"), [b"192.0.2.7"]);
    assert_eq!(all("x-forwarded-proto"), [scheme]);
    assert_eq!(all("x-request-id"), [request_id.as_bytes()]);
    let host = parts.headers.get(HOST).map(HeaderValue::as_bytes);
    assert_eq!(all("x-forwarded-host").first().copied(), host);
    let user: &[&[u8]] = if situation.row.is_public() { &[] } else { &[b"mike"] };
    assert_eq!(all("x-auth-user"), user);
    for name in rewritten.keys() {
        let name = name.as_str().replace('_', "-");
        let is_identity = ["x-auth-", "x-forwarded-", "x-flowgate-"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
            || ["forwarded", "x-real-ip", "x-client-ip"].contains(&name.as_str());
        let is_said = matches!(
            name.as_str(),
            "x-auth-user" | "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host"
        );
        assert!(!is_identity || is_said, "{name} came through");
        assert!(rewritten.contains_key(name.as_str()) || !is_identity, "an underscore twin");
    }
    has_nothing_of_one_hop(&parts.headers, &rewritten);
}

fn has_nothing_of_one_hop(before: &HeaderMap, after: &HeaderMap) {
    for name in ["connection", "te", "transfer-encoding", "upgrade", "keep-alive", "expect"] {
        assert!(!after.contains_key(name), "{name}");
    }
    let said = ["host", "x-auth-user", "x-request-id"];
    for value in before.get_all(CONNECTION) {
        let Ok(text) = value.to_str() else { continue };
        for name in text.split(',').map(|name| name.trim().to_ascii_lowercase()) {
            let is_said = said.contains(&name.as_str()) || name.starts_with("x-forwarded-");
            assert!(is_said || !after.contains_key(name.as_str()), "Connection names {name}");
        }
    }
}

/// A runtime's answer, on its way to a client.
fn answer(row: Row, bytes: &[u8]) {
    let (mut map, mut space) = (HeaderMap::new(), space());
    let Found::Head(head) = read_answer(bytes, &mut space, &mut map) else { return };
    let mut headers = head.headers.clone();
    rewrite_answer(&mut headers, row);
    has_nothing_of_one_hop(&HeaderMap::new(), &{
        let mut headers = headers.clone();
        headers.remove("expect");
        headers
    });
    for cookie in headers.get_all(SET_COOKIE) {
        let text = String::from_utf8_lossy(cookie.as_bytes()).to_ascii_lowercase();
        let name = text.trim_start_matches(['=', ' ', '\t']);
        assert!(!name.starts_with("__host-flowgate") && !name.starts_with("flowgate-"), "{text}");
        let mut attributes = text.split(';').skip(1).map(str::trim);
        assert!(!attributes.any(|it| it == "domain" || it.starts_with("domain=")), "{text}");
    }
    if matches!(row, Row::Public | Row::Api) {
        let mut policies = headers.get_all(CONTENT_SECURITY_POLICY).iter();
        assert!(policies.next_back().is_some_and(|policy| begins(policy.as_bytes(), b"sandbox")));
        assert!(!headers.contains_key("set-cookie") && !headers.contains_key("clear-site-data"));
    }
    make_private(&mut headers, true);
    let kept: Vec<&HeaderValue> = headers.get_all("cache-control").iter().collect();
    let [control] = kept[..] else { panic!("{} Cache-Controls", kept.len()) };
    assert!(begins(control.as_bytes(), b"private"));
    let text = String::from_utf8_lossy(control.as_bytes()).to_ascii_lowercase();
    let mut names = text.split(',').map(|it| it.split('=').next().unwrap_or_default().trim());
    assert!(!names.any(|name| name == "public" || name == "s-maxage"), "{text}");
}
