use super::*;

const NOW: UnixMillis = UnixMillis(1_790_000_000_000);

fn span(number: u64, from_client: u64, from_runtime: u64) -> Span {
    let counts = Counts {
        messages_from_client: from_client,
        messages_from_runtime: from_runtime,
        bytes_from_client: from_client * 1024,
        bytes_from_runtime: from_runtime * 1024,
    };
    Span { number, counts }
}

#[test]
fn the_peak_is_as_high_as_the_picture_and_the_present_at_its_right_end() {
    let (minute, hour) = numbers(NOW);
    let minutes = vec![span(minute - 59, 1, 0), span(minute - 1, 30, 10), span(minute, 10, 10)];
    let charts = Chart::all(&Traffic { minutes, hours: vec![span(hour, 2000, 0)] }, NOW);
    let [messages, bytes, day, _] = &charts[..] else { panic!("four") };
    assert_eq!(messages.total, "41 in, 20 out");
    assert_eq!(messages.peak, "40 in a minute");
    assert_eq!(bytes.total, "41 KiB in, 20 KiB out");
    assert_eq!(day.summary, "Messages, last day: 2,000 in, 0 out; at most 2,000 in an hour");
    let places: Vec<_> =
        messages.bars.iter().map(|bar| (bar.x, bar.client_height, bar.runtime_height)).collect();
    assert_eq!(places, [(0, 2, 0), (58 * 8, 75, 25), (59 * 8, 25, 25)]);
    assert_eq!(messages.bars[1].title, "1 min ago: 30 in, 10 out");
    for bar in charts.iter().flat_map(|chart| &chart.bars) {
        assert!(bar.x + bar.width <= WIDTH);
        assert_eq!(bar.client_y + bar.client_height, bar.runtime_y);
        assert_eq!(bar.runtime_y + bar.runtime_height, HEIGHT);
    }
}

#[test]
fn nothing_and_the_largest_numbers_are_drawn() {
    let (minute, _) = numbers(NOW);
    let nothing = Chart::all(&Traffic::default(), NOW);
    assert!(nothing.iter().all(|chart| chart.bars.is_empty()));
    assert_eq!(nothing[0].summary, "Messages, last hour: 0 in, 0 out; at most 0 in a minute");
    let counts = Counts {
        messages_from_client: u64::MAX,
        messages_from_runtime: u64::MAX,
        ..Counts::default()
    };
    // A clock may have been set back.
    let minutes =
        vec![Span { number: minute, counts }, span(minute + 5, 1, 1), span(minute - 60, 1, 1)];
    let drawn = Chart::all(&Traffic { minutes, hours: Vec::new() }, NOW);
    let [bar] = &drawn[0].bars[..] else { panic!("one") };
    assert_eq!((bar.client_height, bar.runtime_height), (HEIGHT, 0));
}
