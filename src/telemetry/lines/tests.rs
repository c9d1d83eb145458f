use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::*;

/// Passes on what is written, and waits until it is taken.
struct Out(SyncSender<Vec<u8>>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn start() -> (Lines, Flush, Receiver<Vec<u8>>) {
    let (out, written) = sync_channel(0);
    let (lines, flush) = Lines::start(Out(out)).unwrap();
    (lines, flush, written)
}

fn say(lines: &Lines, line: &str) {
    lines.make_writer().write_all(line.as_bytes()).unwrap();
}

#[test]
fn lines_come_out_whole_and_in_order() {
    let (lines, flush, written) = start();
    let reader = std::thread::spawn(move || written.into_iter().flatten().collect::<Vec<u8>>());
    let all: String = (0..10_000).map(|number| format!("line {number}\n")).collect();
    for line in all.split_inclusive('\n') {
        say(&lines, line);
    }
    drop(flush);
    assert_eq!(String::from_utf8(reader.join().unwrap()).unwrap(), all);
}

#[test]
fn a_slow_reader_costs_lines_and_holds_nobody() {
    let (lines, flush, written) = start();
    let line = "x".repeat(1024);
    // Nobody reads: one batch is on its way, another waits, the rest is lost.
    for _ in 0..3 * WAITING_BYTES_MAX / line.len() {
        say(&lines, &line);
    }
    assert!(lines.0.waiting().bytes.len() <= WAITING_BYTES_MAX);
    assert!(lines.0.waiting().lost > 0);
    let reader = std::thread::spawn(move || written.into_iter().map(|some| some.len()).sum());
    drop(flush);
    let bytes: usize = reader.join().unwrap();
    assert!(bytes >= WAITING_BYTES_MAX - line.len() && bytes <= 2 * WAITING_BYTES_MAX);
    assert_eq!(bytes % line.len(), 0, "a line was cut");
}

#[test]
fn an_urgent_line_takes_the_others_along() {
    let (lines, flush, written) = start();
    say(&lines, "a\n");
    lines.put(b"b\n", Level::WARN);
    let mut all = Vec::new();
    while all.len() < 4 {
        all.extend(written.recv().unwrap());
    }
    assert_eq!(all, b"a\nb\n");
    drop(written);
    drop(flush);
}
