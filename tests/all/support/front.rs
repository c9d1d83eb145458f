//! What is asked of one front thread, and what it hands over.

use std::io::Read;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::PATIENCE;
use super::flowgate::Flowgate;
use super::profiles::{MIKE_KEY, mike};
use super::runtime::{Runtime, header_value};
use super::websocket::read_head;

pub const CLOSE: &str = "Connection: close\r\n";

pub fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

/// One that knows mike already, so that the front need not wait for the registry.
pub fn start(runtime: &Runtime, flags: &[&str]) -> Flowgate {
    let flowgate =
        Flowgate::start(&mike(runtime.address), &[&["--relay-threads", "1"], flags].concat());
    let key = format!("apikey: {MIKE_KEY}\r\n{CLOSE}");
    let refused = flowgate.ask(&get("/profile", &key));
    assert!(refused.contains("password_only"), "{refused}");
    flowgate
}

/// How many connections were handed over so far.
pub fn handed_over(flowgate: &Flowgate) -> usize {
    // The log is behind: all of it is there once this line is.
    static MARKS: AtomicUsize = AtomicUsize::new(0);
    let mark = format!("/mark/{}", MARKS.fetch_add(1, Ordering::SeqCst));
    flowgate.ask(&get(&mark, CLOSE));
    flowgate.wait_for_line("the mark", |line| line["path"] == mark.as_str());
    flowgate.log().iter().filter(|line| line["message"] == "handed over").count()
}

/// The next answer with a length on a connection.
pub fn answer(socket: &mut TcpStream) -> (String, String) {
    let head = read_head(socket);
    let length = header_value(&head, "Content-Length").expect(&head).parse().unwrap();
    let mut body = vec![0; length];
    socket.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

pub fn connect(flowgate: &Flowgate) -> TcpStream {
    let socket = TcpStream::connect(flowgate.data).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}
