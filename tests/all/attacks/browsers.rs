//! A hostile page in the real Chromium, beside what [`crate::browser`] tries: what outlives it in the
//! browser, and what it is when it is no HTML.

use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::flowgate::Flowgate;
use crate::support::node::run_in_browser;
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, mike_and_roberto};
use crate::support::runtime::Runtime;

type Heads = Arc<Mutex<Vec<String>>>;

/// Answers by path; keeps all heads.
fn runtime(name: &'static str) -> (Runtime, Heads) {
    let heads = Heads::default();
    let kept = Arc::clone(&heads);
    let runtime = Runtime::start(move |mut socket| {
        let target = socket.head.split(' ').nth(1).unwrap_or_default().to_owned();
        kept.lock().unwrap().push(socket.head.clone());
        let (headers, body) = answer(name, target.split('?').next().unwrap());
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
        );
        socket.send(format!("{head}{body}").as_bytes());
    });
    (runtime, heads)
}

/// Says in its title what a document can do, whatever kind of document it is.
const TELLS: &str = include_str!("../browser/tells.js");

fn answer(name: &str, path: &str) -> (String, String) {
    let of = |kind: &str| format!("Content-Type: {kind}\r\n");
    let html = of("text/html");
    let page = || format!("<title>{name}</title><body>{name} <img src=\"pixel\"></body>");
    let script = format!("<script>{TELLS}</script>");
    let in_xml = format!("<![CDATA[{TELLS}]]>");
    match path.rsplit('/').next().unwrap_or_default() {
        "clear" => (format!("{html}Clear-Site-Data: \"cookies\", \"cache\"\r\n"), page()),
        "clear-all" => (format!("{html}Clear-Site-Data: \"*\"\r\n"), page()),
        "mark" => (
            format!(
                "{html}Cache-Control: max-age=3600\r\nAccess-Control-Allow-Origin: *\r\n\
                 Use-As-Dictionary: match=\"/*\", id=\"marked\"\r\nAccept-CH: Sec-CH-UA-Model\r\n\
                 Critical-CH: Sec-CH-UA-Model\r\nSet-Login: logged-in\r\n\
                 NEL: {{\"report_to\":\"x\",\"max_age\":99}}\r\n"
            ),
            page(),
        ),
        "loose" => (
            format!("{html}Referrer-Policy: unsafe-url\r\n"),
            "<body><img src=\"/api/public/shown\"></body>".to_owned(),
        ),
        "as.html" => (html, script),
        "as.svg" => (
            of("image/svg+xml"),
            format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\"><title/><script>{in_xml}</script></svg>"
            ),
        ),
        "as.xhtml" => (
            of("application/xhtml+xml"),
            format!(
                "<html xmlns=\"http://www.w3.org/1999/xhtml\"><head><title/></head><body>\
                 <script>{in_xml}</script></body></html>"
            ),
        ),
        "as.xml" => (
            of("text/xml"),
            format!(
                "<x><s xmlns=\"http://www.w3.org/1999/xhtml\"><title/><script>{in_xml}</script></s></x>"
            ),
        ),
        "as.mixed" => (
            of("multipart/x-mixed-replace; boundary=b"),
            format!("--b\r\nContent-Type: text/html\r\n\r\n{script}\r\n--b--\r\n"),
        ),
        "as.mhtml" => (
            of("multipart/related; boundary=b"),
            format!(
                "MIME-Version: 1.0\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n{script}\r\n--b--\r\n"
            ),
        ),
        "as.sniffed" => (String::new(), format!("<!doctype html><html>{script}</html>")),
        "as.refreshed" => (format!("{html}Refresh: 0; url=as.html\r\n"), page()),
        "as.policy" => (
            format!("{html}Content-Security-Policy: sandbox allow-scripts allow-same-origin\r\n"),
            script,
        ),
        _ => (html, page()),
    }
}

fn heads_with<'a>(heads: &'a [String], part: &str) -> Vec<&'a String> {
    heads.iter().filter(|head| head.to_lowercase().contains(part)).collect()
}

#[test]
fn nothing_of_a_hostile_page_outlives_it() {
    let (mikes, mike_heads) = runtime("mike");
    let (robertos, roberto_heads) = runtime("roberto");
    let flowgate = Flowgate::start(&mike_and_roberto(mikes.address, robertos.address), &[]);
    let port = flowgate.data.port().to_string();
    let said =
        run_in_browser(include_str!("../browser/outliving.cjs"), &[&port, MIKE_PASSWORD, MIKE_KEY]);

    // Of documents of all kinds on the host that tenants share, none is of that host's origin.
    let documents = said["documents"].as_object().unwrap();
    let mut told = 0;
    for (kind, document) in documents {
        let Value::Object(document) = document else { continue };
        told += 1;
        assert_eq!(document["origin"], "null", "{kind}: {document:?}");
        for (what, outcome) in document {
            let is_no = outcome.as_str().is_some_and(|said| said.starts_with("no: "));
            assert!(is_no || what == "origin", "{kind}: {what}: {outcome}");
        }
    }
    assert!(told >= 6, "too few documents ran at all: {said}");

    // The other tenant's page cleared what it could, and mike is logged in all the same.
    assert_eq!(said["before"], said["after"], "{said}");
    assert!(said["before"].to_string().contains("flowgate-session"), "{said}");

    // The next tenant is told nothing by the one before.
    let heads = mike_heads.lock().unwrap();
    assert!(!heads_with(&heads, "/visited").is_empty(), "mike was visited: {heads:#?}");
    for mark in ["marked", "available-dictionary", "sec-ch-ua-model"] {
        assert!(heads_with(&heads, mark).is_empty(), "{mark}: {:#?}", heads_with(&heads, mark));
    }
    // Nor is anybody shown a key that stands in an address.
    assert!(!heads_with(&heads, "/public/shown").is_empty(), "{heads:#?}");
    for heads in [&*heads, &*roberto_heads.lock().unwrap()] {
        assert!(heads_with(heads, MIKE_KEY).is_empty(), "{:#?}", heads_with(heads, MIKE_KEY));
    }
    assert!(!heads_with(&roberto_heads.lock().unwrap(), "/linked").is_empty());
}
