use expect_test::expect;
use http::StatusCode;
use http::header::{HeaderName, WWW_AUTHENTICATE};

use super::super::head::{Found, read_request, space};
use super::*;

/// The headers of a request after they were changed.
fn written(lines: &str, change: impl FnOnce(&mut HeaderMap)) -> String {
    let bytes = format!("GET / HTTP/1.1\r\n{lines}\r\n");
    let mut space = space();
    let Found::Head(mut head) = read_request(bytes.as_bytes(), &mut space, &mut HeaderMap::new())
    else {
        panic!("{lines}")
    };
    change(&mut head.parts.headers);
    let mut out = Vec::new();
    put_headers(&mut out, head.written, &head.parts.headers);
    String::from_utf8(out).unwrap().replace('\r', "")
}

#[test]
fn names_keep_their_letters_and_their_order() {
    let lines = "hOST: a\r\nX-B: 1\r\nx-A: 1\r\nx-b: 2\r\nCookie: 3\r\n";
    assert_eq!(written(lines, |_| {}), lines.replace('\r', ""));
    expect![[r#"
        hOST: a
        X-B: 1
        x-b: 2
        Cookie: 3
    "#]]
    .assert_eq(&written(lines, |headers| {
        headers.remove("x-a");
    }));
    expect![[r#"
        hOST: a
        X-B: replaced
        x-A: 1
        Cookie: 3
        X-Request-Id: 7
        Sec-WebSocket-Protocol: flowgate
        WWW-Authenticate: Basic
    "#]]
    .assert_eq(&written(lines, |headers| {
        headers.insert("x-b", HeaderValue::from_static("replaced"));
        headers.insert("x-request-id", HeaderValue::from_static("7"));
        headers.insert("sec-websocket-protocol", HeaderValue::from_static("flowgate"));
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
    }));
    expect![[r#"
        hOST: a
        X-B: 1
        x-A: 1
        x-b: 2
        Cookie: 3
        X-B: 3
    "#]]
    .assert_eq(&written(lines, |headers| {
        headers.append("x-b", HeaderValue::from_static("3"));
    }));
}

proptest::proptest! {
    /// Whatever is removed and added, all that is left is written once, in the order of its name.
    #[test]
    fn nothing_is_lost_and_nothing_doubled(
        names in proptest::collection::vec("[abAB]{1,2}", 0..12),
        removed in proptest::collection::vec("[ab]{1,2}", 0..3),
        added in proptest::collection::vec("[abc]{1,2}", 0..4),
    ) {
        let lines: String = names
            .iter()
            .enumerate()
            .map(|(number, name)| format!("{name}: {number}\r\n"))
            .collect();
        let mut left = HeaderMap::new();
        let text = written(&lines, |headers| {
            for name in &removed {
                headers.remove(name.as_str());
            }
            for name in &added {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                headers.append(name, HeaderValue::from_static("added"));
            }
            left = headers.clone();
        });
        let mut read = HeaderMap::new();
        for line in text.lines() {
            let (name, value) = line.split_once(": ").unwrap();
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            read.append(name, HeaderValue::from_str(value).unwrap());
        }
        proptest::prop_assert_eq!(read, left);
    }
}

#[test]
fn an_answer_of_our_own_is_complete() {
    let mut response = Response::new(Bytes::from_static(b"no\n"));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
    let put = |closes, without_body| {
        let mut out = Vec::new();
        let manner = Manner { closes, without_body, now: Millis(0) };
        put_own(&mut out, &response, manner, &mut Today::default());
        let text = String::from_utf8(out).unwrap().replace('\r', "");
        let (before, date) = text.split_once("Date: ").unwrap();
        let (date, behind) = date.split_once('\n').unwrap();
        assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
        format!("{before}{behind}")
    };
    expect![[r#"
        HTTP/1.1 401 Unauthorized
        WWW-Authenticate: Basic
        Connection: close
        Content-Length: 3

        no
    "#]]
    .assert_eq(&put(true, false));
    expect![[r#"
        HTTP/1.1 401 Unauthorized
        WWW-Authenticate: Basic
        Content-Length: 3

    "#]]
    .assert_eq(&put(false, true));
}
