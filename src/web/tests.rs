//! What all pages share.

use askama::Template;
use http::header::{CACHE_CONTROL, SET_COOKIE};

use super::*;
use crate::secret::Secret;

#[derive(Template)]
#[template(source = "<p>{{ text }}</p>", ext = "html")]
struct Page<'a> {
    text: &'a str,
}

#[test]
fn a_page_lets_nothing_in_and_is_kept_by_nobody() {
    let headers = |host: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static(host));
        headers
    };
    let policy_of = |host, leads_to| {
        let said = page(StatusCode::OK, &Page { text: "<script>" }, &headers(host), leads_to);
        assert_eq!(said.headers()[CACHE_CONTROL], "no-store");
        said.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned()
    };
    let policy = policy_of("flows.example:8443", None);
    for rule in ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self';"] {
        assert!(policy.contains(rule), "{policy}");
    }
    // A runtime's script below /public or /api is of the same origin.
    for what in ["script-src", "style-src", "img-src"] {
        assert!(policy.contains(&format!("{what} flows.example:8443/assets/;")), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    assert!(policy_of("[::1]:8443", None).contains("script-src 'self';"));
    assert_eq!(Page { text: "<script>" }.render().unwrap(), "<p>&#60;script&#62;</p>");
    let policy = policy_of("flows.example", Some("mike.flows.example"));
    assert!(policy.contains("form-action 'self' mike.flows.example;"), "{policy}");
}

#[test]
fn scripts_and_styles_stand_in_files_alone() {
    let templates = [
        include_str!("templates/base.html"),
        include_str!("templates/login.html"),
        include_str!("templates/logout.html"),
        include_str!("templates/portal.html"),
        include_str!("templates/profile.html"),
    ];
    for text in templates {
        for inline in ["<style", "style=", " onclick", " onload", "<script>", "http://", "https://"]
        {
            assert!(!text.contains(inline), "{inline}: {text}");
        }
    }
    for script in [SCRIPT, PORTAL_SCRIPT] {
        assert!(!script.contains("innerHTML") && !script.contains("eval("));
    }
}

#[test]
fn an_asset_is_named_by_its_content() {
    let names = [Assets.style(), Assets.script(), Assets.icon()];
    for (name, ends) in names.iter().zip([".css", ".js", ".svg"]) {
        let hash = name.split('.').nth(1).unwrap();
        assert!(name.ends_with(ends) && hash.len() == 16, "{name}");
    }
}

#[test]
fn another_host_is_at_the_same_port() {
    let host = |value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static(value));
        beside(&headers, "mike.flows.example")
    };
    assert_eq!(host("flows.example:8443"), "mike.flows.example:8443");
    assert_eq!(host("flows.example"), "mike.flows.example");
    assert_eq!(host("[::1]:80"), "mike.flows.example:80");
    assert_eq!(host("[::1]"), "mike.flows.example");
}

#[test]
fn a_form_is_known_by_its_token() {
    let secret = Secret::new("fgt_a".into());
    let token = form::token_of(&secret);
    assert!(form::is_right(&token, &form::token_of(&secret)));
    assert!(!form::is_right(&token, &form::token_of(&Secret::new("fgt_b".into()))));
    assert!(!token.expose().contains("fgt_a"));
    assert!(see_other("/x").headers().get(SET_COOKIE).is_none());
}
