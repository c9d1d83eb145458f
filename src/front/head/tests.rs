use super::*;

const HEAD: &[u8] =
    b"GET /api/x?a=1&b HTTP/1.1\r\nHost: localhost\r\nx-oDD-cAse: 1\r\nX-Two: a\r\nx-two: b\r\nX-Bytes: \xe4\t.\r\n\r\n";

fn request<T>(bytes: &[u8], look: impl FnOnce(Found<RequestHead<'_>>) -> T) -> T {
    let mut space = space();
    look(read_request(bytes, &mut space, &mut HeaderMap::new()))
}

fn is_part(bytes: &[u8]) -> bool {
    request(bytes, |found| matches!(found, Found::Part))
}

fn is_bad(bytes: &[u8]) -> bool {
    request(bytes, |found| matches!(found, Found::Bad))
}

#[test]
fn a_head_is_whole_at_its_last_byte_and_not_before() {
    for end in 0..HEAD.len() {
        assert!(is_part(&HEAD[..end]), "{end}");
    }
    for behind in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", b"\0"] {
        let bytes = [HEAD, behind].concat();
        request(&bytes, |found| match found {
            Found::Head(head) => {
                assert_eq!(head.length, HEAD.len());
                assert_eq!(head.parts.method, Method::GET);
                assert_eq!(head.parts.uri.path(), "/api/x");
                assert_eq!(head.parts.uri.query(), Some("a=1&b"));
                let written: Vec<&str> = head.written.names().collect();
                assert_eq!(written, ["Host", "x-oDD-cAse", "X-Two", "x-two", "X-Bytes"]);
                let two = head.parts.headers.get_all("x-two").iter();
                assert_eq!(two.map(HeaderValue::as_bytes).collect::<Vec<_>>(), [b"a", b"b"]);
                assert_eq!(head.parts.headers["x-bytes"].as_bytes(), b"\xe4\t.");
            }
            other => panic!("{other:?}"),
        });
    }
}

#[test]
fn what_is_no_plain_request_is_left_to_others() {
    for bytes in [
        &b"GET /x HTTP/1.0\r\n\r\n"[..],
        b"GET /x HTTP/2.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET http://localhost/x HTTP/1.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n\r\n",
        b"CONNECT localhost:80 HTTP/1.1\r\n\r\n",
        b"GET /x HTTP/1.1\r\nX-Own : a\r\n\r\n",
        b"GET /x HTTP/1.1\r\nX-Own: a\0\r\n\r\n",
        b"GET /x HTTP/1.1\r\nX-Own: a\r\n b\r\n\r\n",
        b"GET /x HTTP/1.1\r\n: a\r\n\r\n",
        b"G\x01T /x HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ] {
        assert!(is_bad(bytes), "{:?}", String::from_utf8_lossy(bytes));
    }
    let many = format!("GET /x HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(HEADERS_MAX + 1));
    assert!(is_bad(many.as_bytes()));
    let as_many = format!("GET /x HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(HEADERS_MAX));
    assert!(!is_bad(as_many.as_bytes()));
}

#[test]
fn an_answer_keeps_what_it_says() {
    let bytes =
        b"HTTP/1.0 299 All Too Well\r\netag: \"x\"\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\nbody";
    let mut space = space();
    let Found::Head(head) = read_answer(bytes, &mut space, &mut HeaderMap::new()) else {
        panic!("no head")
    };
    assert_eq!((head.status.as_u16(), head.reason), (299, "All Too Well"));
    assert_eq!((head.is_http_1_1, head.length), (false, bytes.len() - 4));
    assert_eq!(head.written.names().collect::<Vec<_>>(), ["etag", "Set-Cookie", "set-cookie"]);
    assert_eq!(head.headers.get_all("set-cookie").iter().count(), 2);
    for bad in ["HTTP/1.1 99 X\r\n\r\n", "HTTP/1.1 1000 X\r\n\r\n", "ICY 200 OK\r\n\r\n", "\0"] {
        let mut space = super::space();
        assert!(
            matches!(read_answer(bad.as_bytes(), &mut space, &mut HeaderMap::new()), Found::Bad),
            "{bad:?}"
        );
    }
}
