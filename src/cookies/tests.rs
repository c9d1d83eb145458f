use super::*;

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn values(lines: &[(&'static str, &str)], over_tls: bool) -> Vec<String> {
    let read = read(&headers(lines), Jar::Session, over_tls);
    read.iter().map(|secret| secret.expose().to_owned()).collect()
}

#[test]
fn the_way_is_told_by_tls_origin_and_name() {
    let way = |lines: &[(&'static str, &str)]| Way::of(&headers(lines), false);
    assert_eq!(Way::of(&headers(&[("host", "flows.example")]), true), Way::Secure);
    let before_us = [("host", "flows.example"), ("origin", "https://flows.example")];
    assert_eq!(way(&before_us), Way::Secure);
    for name in ["localhost", "LOCALHOST:8080", "mike.flows.localhost:1"] {
        assert_eq!(way(&[("host", name)]), Way::Loopback, "{name}");
    }
    for name in ["flows.example", "localhost.example", "notlocalhost", "127.0.0.1", "[::1]:80", ""]
    {
        assert_eq!(way(&[("host", name)]), Way::Open, "{name}");
    }
}

#[test]
fn a_plain_cookie_counts_on_loopback_names_alone() {
    let cookie = ("cookie", "a=b; flowgate-session=plain; __Host-flowgate-session=safe;x");
    assert_eq!(values(&[("host", "localhost:80"), cookie], false), ["plain", "safe"]);
    assert_eq!(values(&[("host", "flows.example"), cookie], false), ["safe"]);
    assert_eq!(values(&[("host", "localhost"), cookie], true), ["safe"]);
    let other_case = ("cookie", "__host-flowgate-session=tossed; Flowgate-session=tossed");
    assert!(values(&[("host", "localhost"), other_case], false).is_empty());
}

#[test]
fn what_is_no_text_hides_no_cookie_of_ours() {
    let mut headers = headers(&[("host", "localhost")]);
    let cookie = b"tossed=\xc3\xa9\xff; flowgate-session=ours; \xff=x";
    headers.append("cookie", HeaderValue::from_bytes(cookie).unwrap());
    let found = read(&headers, Jar::Session, false);
    assert_eq!(found.iter().map(Secret::expose).collect::<Vec<_>>(), ["ours"]);
}

#[test]
fn a_flood_of_cookies_is_not_read_to_its_end() {
    let many = vec!["flowgate-session=x"; 1000].join("; ");
    assert_eq!(values(&[("host", "localhost"), ("cookie", &many)], false).len(), SAME_MAX);
}

#[test]
fn a_cookie_is_bound_to_its_host() {
    let secret = Secret::new("fgs_x".into());
    let written = |way| set(Jar::Session, way, &secret).unwrap().to_str().unwrap().to_owned();
    assert_eq!(
        written(Way::Secure),
        "__Host-flowgate-session=fgs_x; Path=/; HttpOnly; Secure; SameSite=Lax"
    );
    assert_eq!(written(Way::Loopback), "flowgate-session=fgs_x; Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(written(Way::Open), written(Way::Secure), "a browser without TLS takes it not");
}
