use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::*;

fn read(lines: &str, query: Option<&str>) -> Result<Presented, Refusal> {
    let mut headers = HeaderMap::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value.trim()).unwrap());
    }
    Presented::read(&headers, query)
}

fn basic(text: &str) -> String {
    format!("Authorization: Basic {}", BASE64_STANDARD.encode(text))
}

/// What is presented in one line.
fn told(lines: &str, query: Option<&str>) -> String {
    let presented = match read(lines, query) {
        Ok(presented) => presented,
        Err(refusal) => return refusal.status().as_str().to_owned(),
    };
    let named = |kind: &str, named: &Option<Named>| {
        named.as_ref().map(|named| format!("{kind} {}/{}", named.username, named.secret.expose()))
    };
    let secret = |kind: &str, secret: &Secret| format!("{kind} {}", secret.expose());
    let mut parts: Vec<String> =
        [named("basic", &presented.basic), named("x-auth", &presented.x_auth)]
            .into_iter()
            .flatten()
            .collect();
    parts.extend(presented.keys.iter().map(|key| secret("key", key)));
    parts.extend(presented.bearer.iter().map(|bearer| secret("bearer", bearer)));
    parts.extend(presented.ticket.iter().map(|ticket| secret("ticket", ticket)));
    parts.join(", ")
}

#[test]
fn basic_is_read_as_rfc_7617_says() {
    for (text, expected) in [
        ("mike:secret", "basic mike/secret"),
        ("mike:se:cret:", "basic mike/se:cret:"),
        ("mike:", "basic mike/"),
        (":secret", "basic /secret"),
        ("mike: secret ", "basic mike/ secret "),
        ("m\u{ef}ke:\u{20ac}", "basic m\u{ef}ke/\u{20ac}"),
        ("mike", "400"),
        ("", "400"),
    ] {
        assert_eq!(told(&basic(text), None), expected, "{text}");
    }
    let encoded = BASE64_STANDARD.encode("mike:s");
    for good in [format!("basic {encoded}"), format!("BASIC   {encoded}  ")] {
        assert_eq!(told(&format!("Authorization: {good}"), None), "basic mike/s", "{good}");
    }
    let latin_1 = BASE64_STANDARD.encode(b"mike:\xe9");
    for bad in
        ["Basic", "Basic !", "Basic bWlrZTpz=", "Basic bWlrZ Tpz", &format!("Basic {latin_1}")]
    {
        assert_eq!(told(&format!("Authorization: {bad}"), None), "400", "{bad}");
    }
}

#[test]
fn other_schemes_are_bearers_or_not_ours() {
    for (value, expected) in [
        ("Bearer T", "bearer T"),
        ("bEARER   T ", "bearer T"),
        ("Bearer", "bearer "),
        ("BearerX T", ""),
        ("Digest username=\"mike\"", ""),
        ("BasicX bWlrZTpz", ""),
        ("Negotiate YII=", ""),
    ] {
        assert_eq!(told(&format!("Authorization: {value}"), None), expected, "{value}");
    }
}

#[test]
fn x_auth_needs_both_halves() {
    assert_eq!(told("X-Auth-User: mike\nX-AUTH-KEY: K", None), "x-auth mike/K");
    assert_eq!(told("X-Auth-User:  mike \nX-Auth-Key:\tK ", None), "x-auth mike/K");
    assert_eq!(told("X-Auth-User:\nX-Auth-Key:", None), "x-auth /");
    assert_eq!(told("X-Auth-User: mike", None), "");
    assert_eq!(told("X-Auth-Key: K", None), "");
    assert_eq!(told("X_Auth_User: mike\nX_Auth_Key: K", None), "");
}

#[test]
fn an_api_key_comes_by_header_or_query() {
    assert_eq!(told("apikey: K", None), "key K");
    assert_eq!(told("APIKEY:   K  ", None), "key K");
    for (query, expected) in [
        ("apikey=K", "key K"),
        ("a=1&apikey=K&b", "key K"),
        ("%61pi%4bey=K", "key K"),
        ("apikey=a%2Bb%3D", "key a+b="),
        ("apikey=a+b=c", "key a+b=c"),
        ("apikey=", "key "),
        ("apikey", "key "),
        ("apikey=%ff", "400"),
        ("apikey=K&apikey=K", "400"),
        ("apikey=K&ApiKey=L", "400"),
        ("myapikey=K", ""),
        ("apikeys=K", ""),
        ("a=apikey=K", ""),
        ("", ""),
    ] {
        assert_eq!(told("", Some(query)), expected, "{query}");
    }
    assert_eq!(told("apikey: K", Some("apikey=K")), "400");
}

#[test]
fn tokens_and_tickets_are_seen_in_every_place() {
    for (query, expected) in [
        ("access_token=T", "key T"),
        ("access%5Ftoken=T", "key T"),
        ("access_token=T&access_token=T", "400"),
        ("ticket=T", "ticket T"),
        ("a&TICKET", "ticket "),
        ("ticket=1&ticket=2", "400"),
        ("apikey=K&access_token=T&ticket=X", "key K, key T, ticket X"),
    ] {
        assert_eq!(told("", Some(query)), expected, "{query}");
    }
    for (protocol, expected) in [
        ("flowgate.bearer.T", "key T"),
        ("flowgate, flowgate.bearer.T", "key T"),
        ("mqtt,flowgate.bearer.", "key "),
        ("flowgate.bearer.T, flowgate.bearer.U", "400"),
    ] {
        let line = format!("Sec-WebSocket-Protocol: {protocol}");
        assert_eq!(told(&line, None), expected, "{protocol}");
    }
    let second_line = "Sec-WebSocket-Protocol: mqtt\nSec-WebSocket-Protocol: flowgate.bearer.T";
    assert_eq!(told(second_line, None), "key T");
    for protocol in ["flowgate", "bearer", "x.flowgate.bearer.T"] {
        assert_eq!(told(&format!("Sec-WebSocket-Protocol: {protocol}"), None), "", "{protocol}");
    }
}

#[test]
fn a_credential_header_comes_once() {
    for name in ["Authorization", "X-Auth-User", "X-Auth-Key", "apikey"] {
        let line = format!("{name}: Bearer T");
        assert_eq!(told(&format!("{line}\n{line}"), None), "400", "{name}");
    }
}

#[test]
fn a_credential_header_is_utf_8() {
    for name in ["x-auth-user", "x-auth-key", "apikey"] {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_bytes(b"\xe9").unwrap());
        let refusal = Presented::read(&headers, None).unwrap_err();
        assert_eq!(refusal.status(), http::StatusCode::BAD_REQUEST, "{name}");
    }
}

#[test]
fn all_kinds_together_are_all_read() {
    let lines = format!("{}\nX-Auth-User: m\nX-Auth-Key: K\napikey: L", basic("mike:s"));
    assert_eq!(told(&lines, Some("ticket=T")), "basic mike/s, x-auth m/K, key L, ticket T");
}

#[test]
fn secrets_do_not_print() {
    let lines = format!("{}\nX-Auth-User: m\nX-Auth-Key: HUSH", basic("mike:HUSH"));
    let printed = format!("{:?}", read(&lines, Some("apikey=HUSH")).unwrap());
    assert!(!printed.contains("HUSH"), "{printed}");
    for bad in ["Authorization: Basic HUSH!", "apikey: HUSH\napikey: HUSH"] {
        let refusal = read(bad, None).unwrap_err();
        assert!(!format!("{refusal} {refusal:?}").contains("HUSH"), "{refusal:?}");
    }
}
