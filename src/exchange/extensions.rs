//! permessage-deflate for plans that leave messages out. Pure.
//!
//! Where compressed messages refer to earlier ones (RFC 7692 section 7.1.1, "context takeover"), whoever
//! misses one cannot read the next. Either side may be kept from that by the one that it talks to: a
//! runtime by `server_no_context_takeover` in the offer, which it has to confirm, and a client by
//! `client_no_context_takeover` in the answer, whatever it offered. What receives such messages reads
//! them with a kept context as well, so that nobody else has to know.

use http::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_EXTENSIONS};

const DEFLATE: &str = "permessage-deflate";
const CLIENT: &str = "client_no_context_takeover";
const RUNTIME: &str = "server_no_context_takeover";

/// Asks the runtime for messages that refer to none before them, in every offer of compression.
pub fn offer_without_takeover(headers: &mut HeaderMap) {
    add_to_each(headers, RUNTIME);
}

/// Tells the client to send messages that refer to none before them, if compression was agreed.
pub fn answer_without_takeover(headers: &mut HeaderMap) {
    add_to_each(headers, CLIENT);
}

/// Whether compressed messages from client and from runtime may refer to earlier ones, by the answer
/// that the client gets.
#[must_use]
pub fn keeps_context(headers: &HeaderMap) -> [bool; 2] {
    [CLIENT, RUNTIME].map(|parameter| {
        let values = headers.get_all(SEC_WEBSOCKET_EXTENSIONS);
        !values.iter().filter_map(|value| value.to_str().ok()).any(|value| {
            split(value, ',').any(|extension| is_deflate(extension) && has(extension, parameter))
        })
    })
}

fn add_to_each(headers: &mut HeaderMap, parameter: &str) {
    for value in headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter().cloned().collect::<Vec<_>>() {
        let Ok(text) = value.to_str() else { return };
        if !split(text, ',').any(|it| is_deflate(it) && !has(it, parameter)) {
            continue;
        }
        let with_it = |extension: &str| match is_deflate(extension) && !has(extension, parameter) {
            true => format!("{}; {parameter}", extension.trim()),
            false => extension.trim().to_owned(),
        };
        let all: Vec<String> = split(text, ',').map(with_it).collect();
        let Ok(changed) = HeaderValue::try_from(all.join(", ")) else { return };
        for slot in headers.iter_mut().filter(|(name, _)| *name == SEC_WEBSOCKET_EXTENSIONS) {
            if *slot.1 == value {
                *slot.1 = changed.clone();
            }
        }
    }
}

fn is_deflate(extension: &str) -> bool {
    split(extension, ';').next().is_some_and(|name| name.trim() == DEFLATE)
}

fn has(extension: &str, parameter: &str) -> bool {
    split(extension, ';')
        .skip(1)
        .any(|it| it.split('=').next().unwrap_or_default().trim() == parameter)
}

/// The parts between separators that are in no quoted string (RFC 9110 section 5.6.4).
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |letter| {
        let was_escaped = is_escaped;
        is_escaped = is_quoted && !was_escaped && letter == '\\';
        if letter == '"' && !was_escaped {
            is_quoted = !is_quoted;
        }
        letter == separator && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        let one =
            |value: &&'static str| (SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(value));
        values.iter().map(one).collect()
    }

    fn after(change: fn(&mut HeaderMap), values: &[&'static str]) -> Vec<String> {
        let mut headers = headers(values);
        change(&mut headers);
        let values = headers.get_all(SEC_WEBSOCKET_EXTENSIONS);
        values.iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn every_offer_of_compression_asks_for_it() {
        for (offer, asked) in [
            ("permessage-deflate", "permessage-deflate; server_no_context_takeover"),
            (
                "permessage-deflate; client_max_window_bits, permessage-deflate;server_no_context_takeover",
                "permessage-deflate; client_max_window_bits; server_no_context_takeover, permessage-deflate;server_no_context_takeover",
            ),
            (
                "x; note=\"a, permessage-deflate \\\" b\", permessage-deflate; server_max_window_bits=10",
                "x; note=\"a, permessage-deflate \\\" b\", permessage-deflate; server_max_window_bits=10; server_no_context_takeover",
            ),
            ("permessage-other,x", "permessage-other,x"),
        ] {
            assert_eq!(after(offer_without_takeover, &[offer]), [asked]);
        }
        let two = after(offer_without_takeover, &["x", "permessage-deflate"]);
        assert_eq!(two, ["x", "permessage-deflate; server_no_context_takeover"]);
        assert!(after(offer_without_takeover, &[]).is_empty());
    }

    #[test]
    fn the_answer_says_whose_messages_refer_to_earlier_ones() {
        for (answer, kept) in [
            ("permessage-deflate", [true, true]),
            ("permessage-deflate; server_no_context_takeover", [true, false]),
            (
                "permessage-deflate; client_no_context_takeover; server_max_window_bits=9",
                [false, true],
            ),
            ("other; client_no_context_takeover", [true, true]),
        ] {
            assert_eq!(keeps_context(&headers(&[answer])), kept, "{answer}");
            let mut answered = headers(&[answer]);
            answer_without_takeover(&mut answered);
            assert_eq!(keeps_context(&answered)[0], kept[0] && answer.starts_with("other"));
        }
    }
}
