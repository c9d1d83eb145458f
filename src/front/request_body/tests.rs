use http::header::HeaderName;

use super::*;

const LIMIT: u64 = 100;
const BEHIND: &[u8] = b"GET /next HTTP/1.1\r\n";

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        let name: HeaderName = name.parse().unwrap();
        map.append(name, HeaderValue::from_str(value).unwrap());
    }
    map
}

fn announced(lines: &[(&str, &str)]) -> Result<RequestBody, Strange> {
    RequestBody::announced(&headers(lines), LIMIT)
}

fn chunked() -> RequestBody {
    announced(&[("transfer-encoding", "Chunked")]).unwrap()
}

/// Passes bytes in reads of at most `cut`; what was sent, and what stood behind the body.
fn pass(body: &mut RequestBody, bytes: &[u8], cut: usize) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    let (mut sent, mut behind) = (Vec::new(), Vec::new());
    for read in bytes.chunks(cut) {
        if body.is_read() {
            behind.extend_from_slice(read);
            continue;
        }
        let mut buffer = vec![b'?'; CHUNK_ROOM + read.len() + CHUNK_ROOM];
        buffer[CHUNK_ROOM..CHUNK_ROOM + read.len()].copy_from_slice(read);
        let piece = body.pass(&mut buffer, read.len())?;
        sent.extend_from_slice(&buffer[piece.sent]);
        behind.extend_from_slice(&buffer[piece.end..CHUNK_ROOM + read.len()]);
    }
    Ok((sent, behind))
}

/// The data of chunks that are written as plainly as they can be.
fn data_of(mut chunks: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let line = chunks.windows(2).position(|two| two == b"\r\n").expect("a size");
        let size = usize::from_str_radix(std::str::from_utf8(&chunks[..line]).unwrap(), 16);
        let size = size.expect("nothing but a size");
        let rest = &chunks[line + 2..];
        if size == 0 {
            assert_eq!(rest, b"\r\n", "no trailers, and nothing behind them");
            return data;
        }
        data.extend_from_slice(&rest[..size]);
        assert_eq!(&rest[size..size + 2], b"\r\n");
        chunks = &rest[size + 2..];
    }
}

#[test]
fn what_a_head_announces() {
    for lines in [
        &[][..],
        &[("content-length", "0")],
        &[("expect", "100-Continue")],
        &[("trailer", "x")],
        &[("upgrade", "websocket")],
        &[("content-length", "000")],
    ] {
        assert!(announced(lines).unwrap().is_read(), "{lines:?}");
    }
    for (lines, wants) in [
        (&[("content-length", "7")][..], 7),
        (&[("content-length", "007"), ("expect", "100-continue")], 7),
        (&[("content-length", "999999999999999999")], 64),
        (&[("transfer-encoding", "chunked")], 64),
    ] {
        let body = announced(lines).unwrap();
        assert!(!body.is_read() && body.wants(64) == wants, "{lines:?}");
    }
    for lines in [
        &[("content-length", "7"), ("content-length", "7")][..],
        &[("content-length", "7, 7")],
        &[("content-length", "+7")],
        &[("content-length", "-7")],
        &[("content-length", "7 ")],
        &[("content-length", "")],
        &[("content-length", "0x7")],
        &[("content-length", "9999999999999999999")],
        &[("content-length", "7"), ("transfer-encoding", "chunked")],
        &[("content-length", "0"), ("transfer-encoding", "chunked")],
        &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        &[("transfer-encoding", "gzip, chunked")],
        &[("transfer-encoding", "identity")],
        &[("transfer-encoding", "xchunked")],
        &[("transfer-encoding", "")],
        &[("transfer-encoding", "chunked"), ("trailer", "x-sum")],
        &[("content-length", "7"), ("upgrade", "websocket")],
        &[("expect", "100-continue"), ("upgrade", "websocket")],
        &[("expect", "200-ok")],
        &[("expect", "100-continue"), ("expect", "100-continue")],
    ] {
        assert_eq!(announced(lines).map(|_| ()), Err(Strange), "{lines:?}");
    }
}

#[test]
fn a_length_passes_as_it_is_and_no_further() {
    for cut in 1..40 {
        let mut body = announced(&[("content-length", "5")]).unwrap();
        let read = pass(&mut body, &[b"hello", BEHIND].concat(), cut);
        assert_eq!(read, Ok((b"hello".to_vec(), BEHIND.to_vec())), "{cut}");
    }
}

#[test]
fn chunks_are_made_anew_however_they_come() {
    let plain = b"5\r\nhello\r\n1\r\n,\r\n6\r\n world\r\n0\r\n\r\n".as_slice();
    let odd = b"0005;a=\"b;c\"\r\nhello\r\n1 \r\n,\r\n06;x\r\n world\r\n00;last\r\nX-Auth-User: roberto\r\nA: b\r\n\r\n";
    for bytes in [plain, odd] {
        for cut in 1..bytes.len() + BEHIND.len() {
            let mut body = chunked();
            let whole = [bytes, BEHIND].concat();
            let (sent, behind) = pass(&mut body, &whole, cut).unwrap();
            assert!(body.is_read());
            assert_eq!(data_of(&sent), b"hello, world", "{cut}");
            assert_eq!(behind, BEHIND, "{cut}");
        }
        assert_eq!(chunked().look(bytes), Ahead { is_whole: true, has_more: false });
        assert_eq!(
            chunked().look(&[bytes, b"G"].concat()),
            Ahead { is_whole: true, has_more: true }
        );
        assert_eq!(
            chunked().look(&bytes[..bytes.len() - 1]),
            Ahead { is_whole: false, has_more: false }
        );
    }
    let mut body = chunked();
    let (sent, _) = pass(&mut body, plain, plain.len()).unwrap();
    assert_eq!(sent, b"c\r\nhello, world\r\n0\r\n\r\n", "what was read at once is one chunk");
    assert_eq!(pass(&mut chunked(), b"0\r\n\r\n", 5), Ok((b"0\r\n\r\n".to_vec(), Vec::new())));
}

#[test]
fn chunks_that_are_none_go_nowhere() {
    for bytes in [
        &b"zz\r\nhi\r\n0\r\n\r\n"[..],
        b"-1\r\nhi\r\n",
        b"2\nhi\r\n0\r\n\r\n",
        b"2;\nhi\r\n0\r\n\r\n",
        b"2;a\0\r\nhi\r\n0\r\n\r\n",
        b"2;a\rb\r\nhi\r\n0\r\n\r\n",
        b"2\r\nhi0\r\n\r\n",
        b"2\r\nhi\n0\r\n\r\n",
        b"2\r\nhi\r\n0\r\n\n",
        b"2\r\nhi\r\n0\r\nX\0: y\r\n\r\n",
        b" 2\r\nhi\r\n",
        b"\r\n",
        b"0x2\r\nhi\r\n",
        b"fffffffffffffffff\r\nhi",
    ] {
        for cut in 1..=bytes.len() {
            assert_eq!(pass(&mut chunked(), bytes, cut), Err(Fault::Broken), "{bytes:?} {cut}");
        }
    }
}

#[test]
fn the_limit_counts_data_and_is_exact() {
    let body = |length: u64| {
        let half = "x".repeat(usize::try_from(length / 2).unwrap());
        let size = half.len();
        format!("{size:x};extension\r\n{half}\r\n{size:x}\r\n{half}\r\n0\r\n\r\n").into_bytes()
    };
    for cut in [1, 7, 1000] {
        assert!(pass(&mut chunked(), &body(LIMIT), cut).is_ok());
        assert_eq!(pass(&mut chunked(), &body(LIMIT + 2), cut), Err(Fault::OverLimit));
        let mut counted = announced(&[("content-length", "101")]).unwrap();
        assert_eq!(pass(&mut counted, &[7; 101], cut), Err(Fault::OverLimit));
    }
}
