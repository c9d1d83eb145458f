use super::*;

#[test]
fn sizes_are_read_by_people() {
    for (bytes, text) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1_048_575, "1023 KiB"),
        (16_777_216, "16 MiB"),
        (u64::MAX, "17179869183 GiB"),
    ] {
        assert_eq!(size(bytes), text);
    }
}

#[test]
fn snippets_are_for_the_host_and_its_scheme() {
    let plain = Snippet::all("localhost:8080", false);
    assert_eq!(
        plain[0].text,
        "wscat -H \"apikey: $FLOWGATE_KEY\" -c ws://localhost:8080/api/thing"
    );
    let safe = Snippet::all("flows.example", true);
    assert!(safe.iter().all(|it| it.text.contains("s://flows.example/api/")));
}

#[test]
fn what_ends_with_a_key_is_told_as_far_as_it_is_known() {
    for (live, is_all, text) in [
        (0, true, "Nothing is connected with it now."),
        (0, false, "Whether anything is connected with it is not known."),
        (1, true, "One live connection will close."),
        (1, false, "At least one live connection will close."),
        (7, true, "7 live connections will close."),
        (7, false, "At least 7 live connections will close."),
    ] {
        assert_eq!(closes(live, is_all), text);
    }
}

#[test]
fn a_limit_says_what_is_left_of_it() {
    let limit = |limit, allows, burst, left| {
        limit_in_words(&LimitUse { limit, allows, burst, left, full_in_ms: 1 })
    };
    let said = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    assert_eq!(
        limit("messages_per_minute", 5000, 5000, 4321),
        said("Messages a minute", "5,000; 4,321 left now")
    );
    assert_eq!(
        limit("bytes_per_day", 5 << 30, 1 << 20, 0),
        said("Bytes a day", "5 GiB, 1 MiB at once; 0 B left now")
    );
}

#[test]
fn moments_are_told_by_their_distance() {
    const HOUR: u64 = 3_600_000;
    let now = 1000 * HOUR;
    for (then, text) in [
        (now, "just now"),
        (now - 59_999, "just now"),
        (now - 60_000, "1 min ago"),
        (now - HOUR, "1 h ago"),
        (now - 47 * HOUR, "47 h ago"),
        (now - 48 * HOUR, "2 days ago"),
        (now + 1, "in 1 s"),
        (now + 2 * HOUR, "in 2 h"),
        (now + 2 * HOUR - 5000, "in 2 h"),
        (now + 30 * 24 * HOUR - 1, "in 30 days"),
    ] {
        assert_eq!(distance(now, then), text, "{then}");
    }
}
