use super::*;
use crate::tenant::sample;

fn mike() -> Tenant {
    Tenant {
        allowed_origins: vec!["https://app.example.org".into(), "http://localhost:5173".into()],
        ..sample("mike")
    }
}

fn allows(method: &Method, lines: &[(&'static str, &str)]) -> bool {
    allows_over(false, method, lines)
}

fn allows_over(over_tls: bool, method: &Method, lines: &[(&'static str, &str)]) -> bool {
    let mut headers = HeaderMap::new();
    headers.insert("host", "mike.flows.localhost:8080".parse().unwrap());
    for (name, value) in lines {
        headers.append(*name, value.parse().unwrap());
    }
    match check(method, &headers, &mike(), over_tls) {
        Ok(()) => true,
        Err(refusal) => {
            assert_eq!(refusal, Refusal::ForeignOrigin);
            false
        }
    }
}

#[test]
fn only_our_own_and_allowed_origins_may_use_what_a_browser_sends_by_itself() {
    for (origin, expected) in [
        ("http://mike.flows.localhost:8080", true),
        ("https://mike.flows.localhost:8080", true),
        ("http://MIKE.flows.localhost:8080", true),
        ("https://app.example.org", true),
        ("http://localhost:5173", true),
        ("http://app.example.org", false),
        ("https://app.example.org:443", false),
        ("https://app.example.org.evil.org", false),
        ("https://evil.app.example.org", false),
        ("http://localhost", false),
        ("http://mike.flows.localhost", false),
        ("http://mike.flows.localhost:80800", false),
        ("http://mike.flows.localhost:8080.evil.org", false),
        ("http://mike.flows.localhost:8080/", false),
        ("http://roberto.flows.localhost:8080", false),
        ("http://flows.localhost:8080", false),
        ("ws://mike.flows.localhost:8080", false),
        ("mike.flows.localhost:8080", false),
        ("http://", false),
        ("null", false),
        ("", false),
        ("http://mike.flows.localhost:8080 http://evil.org", false),
    ] {
        for method in [Method::GET, Method::POST] {
            assert_eq!(allows(&method, &[("origin", origin)]), expected, "{origin:?}");
        }
    }
}

#[test]
fn an_origin_comes_once_and_is_text() {
    let ours = ("origin", "http://mike.flows.localhost:8080");
    assert!(!allows(&Method::GET, &[ours, ours]));
    assert!(!allows(&Method::GET, &[ours, ("origin", "https://evil.org")]));
    let mut headers = HeaderMap::new();
    headers.insert("origin", http::HeaderValue::from_bytes(b"http://\xe9").unwrap());
    assert!(check(&Method::GET, &headers, &mike(), false).is_err());
}

#[test]
fn without_an_origin_the_fetch_metadata_decides() {
    let navigation = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    for site in ["cross-site", "same-site"] {
        let site = ("sec-fetch-site", site);
        assert!(!allows(&Method::GET, &[site]));
        assert!(!allows(&Method::GET, &[site, ("sec-fetch-mode", "websocket")]));
        assert!(!allows(&Method::GET, &[site, ("sec-fetch-mode", "no-cors")]));
        assert!(!allows(&Method::GET, &[site, navigation[0], ("sec-fetch-dest", "iframe")]));
        assert!(!allows(&Method::GET, &[site, navigation[0]]));
        assert!(!allows(&Method::GET, &[site, navigation[1]]));
        assert!(allows(&Method::GET, &[site, navigation[0], navigation[1]]));
        assert!(!allows(&Method::POST, &[site, navigation[0], navigation[1]]));
        assert!(!allows(&Method::HEAD, &[site, navigation[0], navigation[1]]));
    }
    for site in ["same-origin", "none"] {
        assert!(allows(&Method::GET, &[("sec-fetch-site", site)]));
        assert!(allows(&Method::POST, &[("sec-fetch-site", site)]));
    }
    assert!(allows(&Method::GET, &[]), "devices send neither");
}

#[test]
fn a_browser_that_sends_no_fetch_metadata_opens_pages_and_stays_on_this_host() {
    let browser = ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)");
    assert!(!allows(&Method::GET, &[browser]));
    assert!(allows(&Method::GET, &[browser, ("upgrade-insecure-requests", "1")]));
    assert!(allows(&Method::GET, &[browser, ("sec-fetch-site", "none")]));
    assert!(allows(&Method::GET, &[("user-agent", "curl/8.0")]));
    for (page, expected) in [
        ("http://mike.flows.localhost:8080/api/ui/", true),
        ("https://mike.flows.localhost:8080", true),
        ("http://roberto.flows.localhost:8080/api/ui/", false),
        ("http://evil.org/http://mike.flows.localhost:8080/", false),
        ("http://mike.flows.localhost:8080@evil.org/", false),
        ("", false),
    ] {
        assert_eq!(allows(&Method::GET, &[browser, ("referer", page)]), expected, "{page:?}");
    }
}

#[test]
fn an_origin_outweighs_the_fetch_metadata() {
    let cross_site = ("sec-fetch-site", "cross-site");
    assert!(allows(&Method::GET, &[("origin", "https://app.example.org"), cross_site]));
    let navigation = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    let foreign = ("origin", "https://evil.org");
    assert!(!allows(&Method::GET, &[foreign, cross_site, navigation[0], navigation[1]]));
    assert!(!allows(&Method::GET, &[foreign, ("sec-fetch-site", "same-origin")]));
}

#[test]
fn without_a_host_nothing_is_our_own() {
    let mut headers = HeaderMap::new();
    headers.insert("origin", "http://".parse().unwrap());
    assert!(check(&Method::GET, &headers, &mike(), false).is_err());
}

/// Without TLS with us it may have ended before us; with it, our own origin is known to the letter.
#[test]
fn over_tls_our_own_origin_is_that_of_https() {
    const HOST: &str = "mike.flows.localhost:8080";
    for (origin, expected) in [
        (format!("https://{HOST}"), true),
        (format!("http://{HOST}"), false),
        ("http://localhost:5173".to_owned(), true),
        ("https://localhost:5173".to_owned(), false),
    ] {
        assert_eq!(allows_over(true, &Method::GET, &[("origin", &origin)]), expected, "{origin}");
        let page = format!("{origin}/page");
        let lines = [("user-agent", "Mozilla/5.0"), ("referer", page.as_str())];
        let is_own = origin == format!("https://{HOST}");
        assert_eq!(allows_over(true, &Method::GET, &lines), is_own, "{page}");
    }
}
