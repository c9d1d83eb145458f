use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use expect_test::{Expect, expect};

use super::*;
use crate::client::RequestIds;

mod answers;
mod published;

fn headers(lines: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value.trim()).unwrap());
    }
    headers
}

fn lines(headers: &HeaderMap) -> String {
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
    };
    let mut lines: Vec<String> = headers.iter().map(line).collect();
    // By name; the values of one name stay in their order.
    lines.sort_by(|one, other| one.split(':').next().cmp(&other.split(':').next()));
    lines.concat()
}

fn rewritten(row: Row, authorization_consumed: bool, sent: &str) -> HeaderMap {
    let mike = Username::parse("mike").unwrap();
    let request_id = RequestIds::new().unwrap().next();
    let towards = Towards {
        row,
        tenant: &mike,
        authorization_consumed,
        client: IpAddr::from([192, 0, 2, 7]),
        over_tls: false,
        request_id,
        caller: None,
    };
    let mut headers = headers(sent);
    towards.rewrite(&mut headers);
    let said = headers.insert("x-request-id", HeaderValue::from_static("[id]"));
    assert_eq!(said.unwrap(), request_id.to_string());
    headers
}

fn check(row: Row, sent: &str, expected: &Expect) {
    expected.assert_eq(&lines(&rewritten(row, false, sent)));
}

const HANDSHAKE: &str = "
    Host: mike.flows.localhost:8080
    Connection: keep-alive, Upgrade
    Upgrade: websocket
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
    Sec-WebSocket-Version: 13
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits
    Sec-WebSocket-Protocol: flowgate, flowgate.bearer.SECRET, mqtt
    Origin: https://example.org
    User-Agent: test
    X-Custom: one
    X-Custom: two
    Cookie: a=1; __Host-flowgate-session=SECRET; b=2
    X-Auth-User: roberto
    X-Auth-Key: SECRET
    apikey: SECRET
    X-Forwarded-For: 10.0.0.1
    X-Forwarded-Host: roberto.flows.localhost
    X-Forwarded-Proto: https
    Forwarded: for=10.0.0.1
    X-Real-IP: 10.0.0.1
    X-Request-Id: mine
    Keep-Alive: timeout=5
    Expect: 100-continue
    TE: trailers
    Trailer: X-Auth-User
    Proxy-Authorization: Basic SECRET
    ";

#[test]
fn a_handshake_on_a_private_row() {
    let expected = expect![[r#"
        cookie: a=1; b=2
        host: mike.flows.localhost:8080
        origin: https://example.org
        sec-websocket-extensions: permessage-deflate; client_max_window_bits
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==
        sec-websocket-protocol: mqtt
        sec-websocket-version: 13
        user-agent: test
        x-auth-user: mike
        x-custom: one
        x-custom: two
        x-forwarded-for: 192.0.2.7
        x-forwarded-host: mike.flows.localhost:8080
        x-forwarded-proto: http
        x-request-id: [id]
    "#]];
    check(Row::TenantApi, HANDSHAKE, &expected);
}

#[test]
fn a_handshake_on_a_public_row() {
    let expected = expect![[r#"
        cookie: a=1; b=2
        host: mike.flows.localhost:8080
        origin: https://example.org
        sec-websocket-extensions: permessage-deflate; client_max_window_bits
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==
        sec-websocket-protocol: mqtt
        sec-websocket-version: 13
        user-agent: test
        x-custom: one
        x-custom: two
        x-forwarded-for: 192.0.2.7
        x-forwarded-host: mike.flows.localhost:8080
        x-forwarded-proto: http
        x-request-id: [id]
    "#]];
    check(Row::Public, HANDSHAKE, &expected);
}

#[test]
fn no_twin_of_an_identity_header_passes() {
    for name in [
        "x-auth-user",
        "X_Auth_User",
        "x_auth-user",
        "X-AUTH-KEY",
        "x_auth_key",
        "X-Auth-Anything",
        "x_forwarded_for",
        "X-Forwarded-Port",
        "X_Real_IP",
        "x-client_ip",
        "x_request_id",
        "APIKEY",
        "Forwarded",
        "x-flowgate-tenant",
        "X_Flowgate_Tenant",
    ] {
        for row in [Row::Public, Row::Api, Row::TenantPublic, Row::TenantApi] {
            let sent = format!("Host: h\n{name}: EVIL\n{name}: EVIL");
            let left = lines(&rewritten(row, false, &sent));
            assert!(!left.contains("EVIL"), "{name}: {left}");
            let named = left.contains("x-auth-user: mike\n");
            assert_eq!(named, !row.is_public(), "{left}");
        }
    }
}

#[test]
fn what_connection_names_goes_before_identity_is_set() {
    let sent = "
        Host: h
        Connection: X-Auth-User, x-forwarded-for, X-FORWARDED-HOST
        Connection: x-request-id,host , upgrade, x-hop
        X-Hop: EVIL
        X-Stays: yes
        ";
    let expected = expect![[r#"
        host: h
        x-auth-user: mike
        x-forwarded-for: 192.0.2.7
        x-forwarded-host: h
        x-forwarded-proto: http
        x-request-id: [id]
        x-stays: yes
    "#]];
    check(Row::Api, sent, &expected);
}

#[test]
fn our_cookies_go_and_the_others_stay_as_they_were() {
    let cookies = |sent: &str| {
        let left = rewritten(Row::TenantApi, false, sent);
        let cookies: Vec<_> = left.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        String::from_utf8_lossy(&cookies.join(&b'|')).into_owned()
    };
    for (sent, left) in [
        ("Cookie: a=1;b=2;  c", "a=1;b=2;  c"),
        ("Cookie: __Host-flowgate=S", ""),
        ("Cookie: __host-FLOWGATE_x=S; a=1", "a=1"),
        ("Cookie: a=1;__Host-flowgate=S;b=2", "a=1; b=2"),
        ("Cookie: a=1;\t__Host-flowgate=S", "a=1"),
        ("Cookie: a=__Host-flowgate=S", "a=__Host-flowgate=S"),
        ("Cookie: a=1\nCookie: __Host-flowgate=S\nCookie: b=2", "a=1|b=2"),
        ("Cookie: a=1\nCookie: x=\"; __Host-flowgate=S\"", "a=1|x=\""),
    ] {
        assert_eq!(cookies(sent), left, "{sent}");
    }
}

#[test]
fn a_filtered_list_keeps_bytes_that_are_no_utf_8() {
    let latin_1 = HeaderValue::from_bytes(b"a=\xe9; __Host-flowgate=S; b=\xe9").unwrap();
    let mut headers = HeaderMap::from_iter([(COOKIE, latin_1)]);
    filter_list(&mut headers, &COOKIE, b';', b"; ", |pair| !is_our_cookie(pair));
    assert_eq!(headers[COOKIE].as_bytes(), b"a=\xe9; b=\xe9");
}

#[test]
fn our_subprotocols_go() {
    let offered = |sent: &str| {
        let sent = sent.replace("P:", "Sec-WebSocket-Protocol:");
        let ours = offers_our_subprotocol(&headers(&sent));
        let left = rewritten(Row::Api, false, &sent);
        let left = left.get_all(SEC_WEBSOCKET_PROTOCOL).iter().map(|value| value.to_str().unwrap());
        (left.collect::<Vec<_>>().join("|"), ours)
    };
    for (sent, left, ours) in [
        ("P: mqtt,  amqp", "mqtt,  amqp", false),
        ("P: flowgate", "", true),
        ("P: flowgate.bearer.T", "", false),
        ("P: flowgate.bearer.", "", false),
        ("P: mqtt, flowgate.bearer.T ,flowgate, amqp", "mqtt, amqp", true),
        ("P: mqtt\nP: flowgate, flowgate.bearer.T\nP: amqp", "mqtt|amqp", true),
        ("P: flowgate2, xflowgate", "flowgate2, xflowgate", false),
    ] {
        assert_eq!(offered(sent), (left.to_owned(), ours), "{sent}");
    }
}

#[test]
fn authorization_passes_by_row_and_by_whom_it_names() {
    let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
    let passes = |row: Row, consumed: bool, value: &str| {
        let left = rewritten(row, consumed, &format!("Authorization: {value}"));
        left.contains_key(AUTHORIZATION)
    };
    let rows = [Row::Public, Row::Api, Row::TenantPublic, Row::TenantApi];
    for (value, expected) in [
        ("Bearer T".to_owned(), [true; 4]),
        ("Digest username=\"mike\"".to_owned(), [true; 4]),
        (basic("mike:S"), [false; 4]),
        (basic("mike:S").replace("Basic", "bAsIC"), [false; 4]),
        (basic("flow:S"), [false, false, true, true]),
        (basic("mike"), [false; 4]),
        ("Basic".to_owned(), [false; 4]),
        ("Basic !".to_owned(), [false; 4]),
        (basic("mike:S").replace(' ', "\t"), [false; 4]),
        (basic("mike:S").replace(' ', "  "), [false; 4]),
    ] {
        assert_eq!(rows.map(|row| passes(row, false, &value)), expected, "{value}");
        assert_eq!(rows.map(|row| passes(row, true, &value)), [false; 4], "{value}");
    }
    let two = format!("Bearer T\nAuthorization: {}", basic("mike:S"));
    assert!(!passes(Row::TenantPublic, false, &two));
}

#[test]
fn queries_lose_our_parameters_however_they_are_written() {
    for (query, left) in [
        ("", ""),
        ("a=1&&b=%20&c", "a=1&&b=%20&c"),
        ("apikey=S", ""),
        ("a=1&apikey=S&b=2", "a=1&b=2"),
        ("APIKEY=S&a", "a"),
        ("%61pikey=S&a=1", "a=1"),
        ("api%6Bey=S", ""),
        ("%20apikey=S", ""),
        ("apikey", ""),
        ("apikey=S&apikey=T", ""),
        ("access_token=S&a=1", "a=1"),
        ("access%5ftoken=S&ticket=T", ""),
        ("a=apikey=S", "a=apikey=S"),
        ("myapikey=1&tickets=2", "myapikey=1&tickets=2"),
        ("%2561pikey=1", "%2561pikey=1"),
        ("a?apikey=1", "a?apikey=1"),
    ] {
        assert_eq!(without_credentials(query), left, "{query}");
    }
}
