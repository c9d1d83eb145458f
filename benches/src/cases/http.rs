//! Plain HTTP.

use crate::bench::{Bench, Visit};
use crate::fault::Result;
use crate::load::http::{Answer, Exchange, Http};
use crate::rivals::Door;

pub fn visit(bench: &mut Bench, visit: &mut Visit) -> Result<()> {
    let small = exchange(visit, "bytes/1024", 0, Answer::Pattern(1024));
    let mut load = Http::begin(visit.running.address, 50, small, None)?;
    let sample = bench.measure(&mut load, visit.process())?;
    bench.keep_sample(visit, "GET of 1 KiB, 50 connections", "request", &sample);

    let bytes = bench.scale.large_bytes;
    let mib = bytes >> 20;
    let down = exchange(visit, &format!("bytes/{bytes}"), 0, Answer::Pattern(bytes));
    let up = exchange(visit, "count", bytes, Answer::Text(bytes.to_string()));
    for (variant, exchange) in [(format!("{mib} MiB down"), down), (format!("{mib} MiB up"), up)] {
        let mut load = Http::begin(visit.running.address, 2, exchange, None)?;
        let sample = bench.measure(&mut load, visit.process())?;
        bench.keep_rate(
            visit,
            &variant,
            "MiB",
            sample.tally.bytes as f64 / f64::from(1 << 20),
            &sample,
        );
    }
    Ok(())
}

fn exchange(visit: &Visit, below: &str, upload_bytes: u64, answer: Answer) -> Exchange {
    let (path, headers) = visit.rival.enter(Door::Public, 0, below);
    request(
        if upload_bytes > 0 { "POST" } else { "GET" },
        &path,
        &headers,
        upload_bytes,
        200,
        answer,
    )
}

/// A request with its answer.
pub fn request(
    method: &str,
    path: &str,
    headers: &str,
    upload_bytes: u64,
    status: u16,
    answer: Answer,
) -> Exchange {
    let length = match method {
        "GET" => String::new(),
        _ => format!("Content-Length: {upload_bytes}\r\n"),
    };
    let head = format!("{method} {path} HTTP/1.1\r\nHost: bench.test\r\n{headers}{length}\r\n");
    Exchange { head: head.into_bytes(), upload_bytes, status, answer }
}
