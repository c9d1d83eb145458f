use std::sync::mpsc::{SyncSender, sync_channel};

use serde_json::{Value, json};
use tracing_subscriber::layer::SubscriberExt;

use super::*;

struct Out(SyncSender<Vec<u8>>);

impl std::io::Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What is logged meanwhile, line by line.
fn logged(act: impl FnOnce()) -> Vec<String> {
    let (sender, written) = sync_channel(100);
    let (lines, flush) = Lines::start(Out(sender)).unwrap();
    let subscriber = tracing_subscriber::registry().with(JsonLines(lines));
    tracing::subscriber::with_default(subscriber, act);
    drop(flush);
    let bytes: Vec<u8> = written.into_iter().flatten().collect();
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

/// A line without its time, once that was looked at.
fn timeless(line: &str) -> &str {
    let rest = line.strip_prefix("{\"timestamp\":\"").unwrap();
    let (time, rest) = rest.split_once("\",").unwrap();
    assert!(humantime::parse_rfc3339(time).is_ok(), "{time}");
    assert_eq!(time.len(), "2026-09-21T14:13:20.123456Z".len());
    rest
}

#[test]
fn a_line_has_time_level_fields_and_module_in_this_order() {
    let absent: Option<u16> = None;
    let lines = logged(|| {
        tracing::info!(tenant = %"ann", absent, status = 101_u16, row = "api", "handshake");
        tracing::warn!(target: "elsewhere", below = -1, share = 0.5, is_last = true, "{} left", 2);
    });
    assert_eq!(lines.len(), 2);
    assert_eq!(
        timeless(&lines[0]),
        "\"level\":\"INFO\",\"message\":\"handshake\",\"tenant\":\"ann\",\"status\":101,\
         \"row\":\"api\",\"target\":\"flowgate::telemetry::json::tests\"}"
    );
    assert_eq!(
        timeless(&lines[1]),
        "\"level\":\"WARN\",\"message\":\"2 left\",\"below\":-1,\"share\":0.5,\"is_last\":true,\
         \"target\":\"elsewhere\"}"
    );
}

#[test]
fn whatever_is_said_comes_back_from_a_reader_of_json() {
    let mut all: String = (0..0x250).filter_map(char::from_u32).collect();
    all.push_str("\u{2028}\u{fffd}\u{1f600}\"}\n{\"level\":\"FAKE\"}");
    let error = std::io::Error::other(all.clone());
    let lines = logged(|| {
        tracing::error!(said = all, shown = %all, ?all, wide = u128::MAX, nan = f64::NAN, "");
        tracing::info!(error = &error as &dyn std::error::Error, "{all}");
    });
    assert_eq!(lines.len(), 2);
    let first: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((&first["said"], &first["shown"]), (&json!(all), &json!(all)));
    assert_eq!(first["all"], json!(format!("{all:?}")));
    assert_eq!((&first["wide"], &first["nan"]), (&json!(u128::MAX.to_string()), &Value::Null));
    let second: Value = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!((&second["error"], &second["message"]), (&json!(all), &json!(all)));
}

#[test]
fn a_line_may_be_logged_while_another_is_printed() {
    struct Talkative;
    impl fmt::Display for Talkative {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            tracing::info!("inner");
            f.write_str("outer")
        }
    }
    let lines = logged(|| tracing::info!(what = %Talkative, "said"));
    let read = |line: &String| serde_json::from_str::<Value>(line).unwrap();
    let lines: Vec<Value> = lines.iter().map(read).collect();
    assert!(lines.iter().any(|line| line["what"] == "outer"), "{lines:?}");
}

#[test]
fn the_time_is_that_of_its_own_moment() {
    let mut second = Second::default();
    let begin = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    for micros in [0, 7, 999_999, 1_000_000, 1_120_034, 0, 60_000_000] {
        let moment = begin + Duration::from_micros(micros);
        let mut line = String::new();
        second.put(&mut line, moment);
        assert_eq!(line, humantime::format_rfc3339_micros(moment).to_string());
    }
}
