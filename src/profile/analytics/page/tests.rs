use super::*;

const HOUR: u64 = 3_600_000;

fn sums(counts: &[(Measure, u64)]) -> Sums {
    let mut sums = Sums::default();
    counts.iter().for_each(|(measure, count)| sums.add(*measure, *count));
    sums
}

fn drawn(times: &[(u64, Sums)]) -> Chart {
    let span = Span { from: UnixMillis(0), to: UnixMillis(4 * HOUR), step: Step::Hour };
    let moments: Vec<String> =
        times.iter().map(|(hour, _)| UnixMillis(hour * HOUR).to_string()).collect();
    let times = moments.iter().map(String::as_str).zip(times.iter().map(|(_, sums)| *sums));
    PICTURES[0].draw(&times.collect(), span)
}

#[test]
fn bars_stand_where_their_time_is_and_none_is_higher_than_the_peak() {
    let chart = drawn(&[
        (0, sums(&[(Measure::MessagesFromClient, 30), (Measure::MessagesFromRuntime, 10)])),
        (2, sums(&[(Measure::MessagesFromRuntime, 20)])),
        (3, sums(&[(Measure::Refusals, 9)])),
        (9, sums(&[(Measure::MessagesFromClient, 1)])),
    ]);
    let bars: Vec<_> = chart
        .bars
        .iter()
        .map(|bar| (bar.x, [bar.first_y, bar.first_height], [bar.second_y, bar.second_height]))
        .collect();
    assert_eq!(bars, [(0, [0, 75], [75, 25]), (20, [50, 0], [50, 50])]);
    assert_eq!(chart.width, 40);
    assert_eq!(chart.bars[1].title, "1970-01-01 02:00: 0 from clients, 20 from the runtime");
    assert_eq!(
        chart.summary,
        "Messages: 30 from clients, 30 from the runtime; at most 40 in an hour"
    );
}

#[test]
fn a_picture_of_nothing_has_no_bars() {
    let chart = drawn(&[]);
    assert_eq!((chart.bars.len(), chart.totals), (0, ["0".to_owned(), "0".to_owned()]));
}

#[test]
fn the_smallest_bar_can_be_seen_and_the_largest_number_can_be_drawn() {
    let chart = drawn(&[
        (0, sums(&[(Measure::MessagesFromClient, u64::MAX), (Measure::MessagesFromRuntime, 1)])),
        (1, sums(&[(Measure::MessagesFromClient, 1)])),
    ]);
    let heights: Vec<_> =
        chart.bars.iter().map(|bar| bar.first_height + bar.second_height).collect();
    assert_eq!(heights, [100, 1]);
}

#[test]
fn times_are_told_in_words() {
    for (seconds, words) in
        [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (86_400 * 3000, "3,000 days")]
    {
        assert_eq!(span_in_words(seconds), words);
    }
}
