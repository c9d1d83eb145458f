//! The echo runtime over a real socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::*;
use crate::websocket::{ACCEPT, Message, handshake, head_end};

/// Serves in a thread that ends with the test's process.
fn start() -> SocketAddr {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    std::thread::spawn(move || serve(address).map_err(|error| panic!("{error}")));
    crate::clock::wait_for(std::time::Duration::from_secs(30), || {
        TcpStream::connect(address).ok().map(|_| address)
    })
    .unwrap()
}

fn ask(request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(start()).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn a_download_is_the_pattern_over_and_over() {
    let answer =
        ask(b"GET /api/public/bytes/200000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let body = &answer[head_end(&answer).unwrap()..];
    let pattern = &doubled_pattern()[..PATTERN_BYTES];
    assert_eq!(body.len(), 200_000);
    assert!(body.iter().zip(pattern.iter().cycle()).all(|(found, expected)| found == expected));
}

#[test]
fn wrong_bytes_of_an_upload_are_counted() {
    let mut body = doubled_pattern()[..100_000].to_vec();
    body[70_000] ^= 1;
    let mut request =
        b"POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n"
            .to_vec();
    request.extend(body);
    assert!(ask(&request).ends_with(b"\r\n\r\n99999"));
}

#[test]
fn messages_behind_the_handshake_come_back() {
    let message = Message::new(1000, 1000);
    let mut stream = TcpStream::connect(start()).unwrap();
    let mut request = handshake("a", "/public/data", "");
    request.extend(&message.frames);
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&request).unwrap());
    let mut answer = Vec::new();
    while head_end(&answer).is_none() {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    assert!(String::from_utf8(answer).unwrap().contains(ACCEPT));
    for _ in 0..1001 {
        let mut echo = vec![0; message.echo_bytes];
        stream.read_exact(&mut echo).unwrap();
        assert_eq!(echo, message.echoes[..message.echo_bytes]);
    }
    writing.join().unwrap();
}
