//! What a runtime says to a client.

use super::*;

const ANSWER: &str = "
    Connection: Upgrade, X-Hop
    Upgrade: websocket
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
    X-Hop: dropped
    Keep-Alive: timeout=5
    Proxy-Authenticate: Basic
    WWW-Authenticate: Basic realm=\"phish\"
    WWW-Authenticate: Bearer
    Service-Worker-Allowed: /
    Clear-Site-Data: \"*\"
    NEL: {}
    Report-To: {}
    Set-Cookie: a=1; Path=/
    Set-Cookie: __Host-flowgate=EVIL; Secure; Path=/
    Set-Cookie: b=2; Domain=flows.localhost
    X-Powered-By: Express
    ";

#[test]
fn an_answer_on_the_bare_host() {
    let mut answer = headers(ANSWER);
    rewrite_answer(&mut answer, Row::Public);
    expect![[r#"
        content-security-policy: sandbox allow-scripts allow-forms
        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
        www-authenticate: Bearer
        x-powered-by: Express
    "#]]
    .assert_eq(&lines(&answer));
}

#[test]
fn an_answer_on_a_tenants_host() {
    let mut answer = headers(ANSWER);
    rewrite_answer(&mut answer, Row::TenantPublic);
    expect![[r#"
        nel: {}
        report-to: {}
        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
        service-worker-allowed: /
        set-cookie: a=1; Path=/
        www-authenticate: Basic realm="phish"
        www-authenticate: Bearer
        x-powered-by: Express
    "#]]
    .assert_eq(&lines(&answer));
}

#[test]
fn no_challenge_on_the_bare_host_asks_for_a_password() {
    let challenges = |sent: &str| {
        let mut answer = headers(&format!("WWW-Authenticate: {sent}"));
        rewrite_answer(&mut answer, Row::Api);
        answer.contains_key(WWW_AUTHENTICATE)
    };
    for basic in ["Basic", "BASIC realm=x", "Bearer, Basic realm=x", "Digest a=\"b\" ,\tbasic a=b"]
    {
        assert!(!challenges(basic), "{basic}");
    }
    for other in ["Bearer", "Bearer realm=\"Basic\"", "Digest realm=basic"] {
        assert!(challenges(other), "{other}");
    }
}

#[test]
fn runtimes_cookies_neither_shadow_ours_nor_reach_further() {
    for harmless in [
        "a=1",
        "a=1; Path=/; HttpOnly; Secure; SameSite=Lax",
        "domain=x",
        "a=domain=x",
        "a=; Path=/",
        "flowgate=1",
        "x__Host-flowgate=1",
    ] {
        assert!(is_harmless(&HeaderValue::from_static(harmless)), "{harmless}");
    }
    for harmful in [
        "a=1; Domain=flows.localhost",
        "a=1;domain=flows.localhost",
        "a=1; Path=/; DOMAIN = .flows.localhost",
        "a=1;\tDomain=x",
        "a=1; Domain",
        "__Host-flowgate=1; Secure; Path=/",
        "__HOST-Flowgate_session=1",
        "  __Host-flowgate=1",
        "__Host-flowgate",
        // A nameless cookie is sent back without its equals sign.
        "=__Host-flowgate=1",
        " = __Host-flowgate=1",
        "==__Host-flowgate=1",
    ] {
        assert!(!is_harmless(&HeaderValue::from_static(harmful)), "{harmful}");
    }
}

#[test]
fn a_length_that_another_framing_overrides_goes_with_it() {
    let mut answer = headers("Content-Length: 3\nTransfer-Encoding: chunked");
    rewrite_answer(&mut answer, Row::TenantApi);
    assert!(answer.is_empty(), "{answer:?}");
    let mut answer = headers("Content-Length: 3");
    rewrite_answer(&mut answer, Row::TenantApi);
    assert_eq!(answer["content-length"], "3");
}

#[test]
fn no_other_header_or_directive_undoes_what_is_private() {
    let mut said = headers(
        "Cache-Control: no-store, must-understand, max-age=9
        CDN-Cache-Control: public, max-age=99
        Cloudflare-CDN-Cache-Control: public, max-age=99
        Surrogate-Control: max-age=99",
    );
    make_private(&mut said, false);
    assert_eq!(said.get(CACHE_CONTROL).unwrap(), "private, no-store, no-store, max-age=9");
    assert_eq!(said.keys_len(), 2, "{}", lines(&said));
}

#[test]
fn a_runtime_clears_what_is_of_its_own_host_alone() {
    for (row, said, passed) in [
        (Row::Public, "\"cache\"", None),
        (Row::TenantApi, "\"cache\", \"storage\"", Some("\"cache\", \"storage\"")),
        (Row::TenantApi, "\"cookies\", \"storage\"", Some("\"storage\"")),
        (Row::Editor, "\"cookies\"", None),
        (Row::TenantPublic, "\"*\"", None),
        (Row::TenantPublic, "\"clientHints\",\"cache\"", Some("\"cache\"")),
        (Row::TenantPublic, "cookies", None),
    ] {
        let mut answer = headers(&format!("Clear-Site-Data: {said}"));
        rewrite_answer(&mut answer, row);
        let left = answer.get(CLEAR_SITE_DATA).map(|left| left.to_str().unwrap());
        assert_eq!(left, passed, "{row:?} {said}");
    }
}

#[test]
fn on_the_bare_host_nothing_is_said_about_later_requests() {
    const ABOUT: &str = "Use-As-Dictionary: match=\"/*\", id=\"marked\"
        Accept-CH: Sec-CH-UA-Model
        Critical-CH: Sec-CH-UA-Model
        Set-Login: logged-in
        Secure-Session-Registration: (ES256);path=\"/x\"";
    let mut answer = headers(ABOUT);
    rewrite_answer(&mut answer, Row::Api);
    assert_eq!(lines(&answer), "content-security-policy: sandbox allow-scripts allow-forms\n");
    let mut answer = headers(ABOUT);
    rewrite_answer(&mut answer, Row::TenantApi);
    assert_eq!(answer.len(), 5);
}

#[test]
fn a_length_stays_whoever_names_it_as_of_one_connection() {
    let mut answer =
        headers("Connection: close, Content-Length, X-Own\nX-Own: 1\nContent-Length: 3");
    rewrite_answer(&mut answer, Row::TenantApi);
    assert_eq!(lines(&answer), "content-length: 3\n");
}

#[test]
fn an_address_with_a_credential_is_shown_to_nobody() {
    let mut answer = headers("Referrer-Policy: unsafe-url\nReferrer-Policy: no-referrer");
    keep_address_secret(&mut answer);
    assert_eq!(lines(&answer), "referrer-policy: strict-origin-when-cross-origin\n");
    for (address, passes) in [
        ("http://localhost/api/page", true),
        ("http://localhost/api/page?a=apikey", true),
        ("http://localhost/api/page?apikey=x", false),
        ("http://localhost/api/page?a=1&%61pikey=x", false),
        ("http://localhost/api/page?access_token=x", false),
        ("http://localhost/api/page?a=?b&ticket=x", false),
    ] {
        let sent = rewritten(Row::TenantApi, false, &format!("Host: x\nReferer: {address}"));
        let passed = sent.get(REFERER).map(|passed| passed.to_str().unwrap());
        assert_eq!(passed, passes.then_some(address));
    }
}
