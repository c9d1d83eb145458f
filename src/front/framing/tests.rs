use http::header::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn framing(status: u16, lines: &[(&str, &str)]) -> Result<Framing, &'static str> {
    let status = StatusCode::from_u16(status).unwrap();
    Framing::of_answer(false, status, true, &headers(lines))
}

#[test]
fn a_body_ends_in_one_way() {
    let chunks = || Framing::Chunks(Chunks::default());
    for (status, lines, expected) in [
        (200, &[][..], Framing::UntilEnd),
        (200, &[("content-length", "7")], Framing::Length(7)),
        (200, &[("content-length", "7"), ("content-length", "7")], Framing::Length(7)),
        (200, &[("content-length", "0")], Framing::Done),
        (200, &[("transfer-encoding", "Chunked")], chunks()),
        (204, &[("content-length", "7")], Framing::Done),
        (304, &[("content-length", "7")], Framing::Done),
        (304, &[("transfer-encoding", "chunked")], Framing::Done),
        (404, &[("content-length", "18446744073709551615")], Framing::Length(u64::MAX)),
    ] {
        assert_eq!(framing(status, lines), Ok(expected), "{status} {lines:?}");
    }
    let head = Framing::of_answer(true, StatusCode::OK, true, &headers(&[("content-length", "7")]));
    assert_eq!(head, Ok(Framing::Done));
}

#[test]
fn a_body_that_could_end_in_two_ways_is_refused() {
    for lines in [
        &[("content-length", "7"), ("content-length", "8")][..],
        &[("content-length", "7, 7")],
        &[("content-length", "+7")],
        &[("content-length", "")],
        &[("content-length", "7a")],
        &[("content-length", "18446744073709551616")],
        &[("content-length", "7"), ("transfer-encoding", "chunked")],
        &[("transfer-encoding", "gzip, chunked")],
        &[("transfer-encoding", "gzip")],
        &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
    ] {
        assert!(framing(200, lines).is_err(), "{lines:?}");
    }
    let chunked = headers(&[("transfer-encoding", "chunked")]);
    assert!(Framing::of_answer(false, StatusCode::OK, false, &chunked).is_err(), "HTTP/1.0");
}

/// Walks a body in these pieces; how much of it was the body's, and whether it ended.
fn walk(framing: &mut Framing, pieces: &[&[u8]]) -> Result<(usize, bool), Broken> {
    let mut all = 0;
    for piece in pieces {
        let (taken, outcome) = framing.take(piece);
        outcome?;
        all += taken;
        if *framing == Framing::Done {
            return Ok((all, true));
        }
        assert_eq!(taken, piece.len(), "all of a piece belongs to a body that goes on");
    }
    Ok((all, false))
}

#[test]
fn chunks_are_walked_whatever_the_cuts() {
    let body =
        b"5\r\nhello\r\nA;a=\"b\"\r\n0123456789\r\n07 \r\n\r\n0\r\n\r\n\r\n0\r\nX-Sum: 1\r\n\r\n";
    let behind = [&body[..], b"HTTP/1.1 200 OK\r\n"].concat();
    for first in 0..=body.len() {
        for second in first..=body.len() {
            let pieces = [&behind[..first], &behind[first..second], &behind[second..]];
            let mut framing = Framing::Chunks(Chunks::default());
            assert_eq!(walk(&mut framing, &pieces), Ok((body.len(), true)), "{first} {second}");
        }
        if first < body.len() {
            let mut framing = Framing::Chunks(Chunks::default());
            assert_eq!(walk(&mut framing, &[&body[..first]]), Ok((first, false)), "{first}");
        }
    }
}

#[test]
fn what_are_no_chunks_is_found_where_it_begins() {
    let too_long = format!("1;{}\r\nx\r\n", "e".repeat(EXTRA_BYTES_MAX));
    for (body, good) in [
        ("\r\n", 0),
        ("x\r\n", 0),
        ("-1\r\n", 0),
        ("+1\r\nx", 0),
        ("0x1\r\n", 1),
        ("1\nx", 1),
        ("1\r\nxy", 4),
        ("1\r\nx\n", 4),
        ("1\r\rx", 2),
        ("1;a\nb\r\nx", 3),
        ("1;a\0\r\nx", 3),
        ("1000000000000000\r\n", 15),
        ("0\r\n\n", 3),
        ("0\r\nX: 1\n", 7),
        (too_long.as_str(), EXTRA_BYTES_MAX + 1),
    ] {
        let mut framing = Framing::Chunks(Chunks::default());
        assert_eq!(framing.take(body.as_bytes()), (good, Err(Broken)), "{body:?}");
    }
}

#[test]
fn a_length_ends_where_it_says() {
    let mut framing = Framing::Length(5);
    assert_eq!(framing.take(b"123"), (3, Ok(())));
    assert_eq!(framing, Framing::Length(2));
    assert_eq!(framing.take(b"4567"), (2, Ok(())));
    assert_eq!(framing, Framing::Done);
    assert_eq!(framing.take(b"7"), (0, Ok(())));
}

proptest! {
    /// The walk ends exactly where the body does.
    #[test]
    fn any_chunks_in_any_pieces(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
        cuts in prop::collection::vec(1_usize..9, 1..60),
        behind in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut body = Vec::new();
        for chunk in &chunks {
            body.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        let all = [&body[..], &behind[..]].concat();
        let mut pieces = Vec::new();
        let mut rest = &all[..];
        for cut in cuts.iter().cycle() {
            let (piece, left) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = left;
            if rest.is_empty() {
                break;
            }
        }
        let mut framing = Framing::Chunks(Chunks::default());
        prop_assert_eq!(walk(&mut framing, &pieces), Ok((body.len(), true)));
    }
}
