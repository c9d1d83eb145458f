use super::*;
use crate::api::{Definition, Endpoint, Node, Owner, Security, State};
use crate::registry::apis::record::ApiRecord;

const AT: Millis = Millis(1000);

/// An operator's API with nodes of these weights.
fn api(revision: u64, weights: &[u32]) -> Api {
    let node = |(port, weight): (usize, &u32)| Node {
        url: format!("ws://127.0.0.1:{}/base", port + 1),
        weight: *weight,
    };
    let record = ApiRecord {
        owner: Owner::Operator.to_string(),
        definition: Definition {
            name: "Echo".to_owned(),
            context: "/echo".to_owned(),
            version: None,
            endpoint: Endpoint {
                nodes: weights.iter().enumerate().map(node).collect(),
                ..Endpoint::default()
            },
            security: vec![Security::None],
            hide_credentials: true,
            plans: Vec::new(),
        },
        state: State::Published,
        blocked_by_operator: false,
        ends_unix_ms: None,
        created_unix_ms: 0,
    };
    record.to_api(ApiId(1), revision).unwrap()
}

fn next(shares: &Shares, api: &Api, tried: &[usize], now: Millis) -> Option<usize> {
    shares.next(api, nodes(api).unwrap(), tried, now)
}

#[test]
fn nodes_take_turns_by_weight_and_no_node_has_all_of_its_at_once() {
    let (shares, api) = (Shares::default(), api(1, &[5, 1, 1]));
    let turns: Vec<usize> = (0..14).map(|_| next(&shares, &api, &[], AT).unwrap()).collect();
    assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn a_node_that_is_set_aside_gets_no_turn_until_its_time_is_over() {
    let (shares, api) = (Shares::default(), api(1, &[1, 1]));
    assert_eq!(next(&shares, &api, &[], AT), Some(0));
    shares.note(&api, 0, Some(AT.plus(ASIDE_FOR)));
    for _ in 0..4 {
        assert_eq!(next(&shares, &api, &[], AT), Some(1));
    }
    // When the other fails as well, it is better than none.
    assert_eq!(next(&shares, &api, &[1], AT), Some(0));
    assert_eq!(next(&shares, &api, &[1, 0], AT), None);
    let turns = |now| {
        let turns: Vec<usize> = (0..10).map(|_| next(&shares, &api, &[], now).unwrap()).collect();
        turns.into_iter().filter(|place| *place == 0).count()
    };
    assert_eq!(turns(Millis(AT.plus(ASIDE_FOR).0 - 1)), 0);
    assert!((4..=6).contains(&turns(AT.plus(ASIDE_FOR))));
}

#[test]
fn another_definition_begins_anew() {
    let shares = Shares::default();
    let before = api(1, &[1, 1]);
    assert_eq!(next(&shares, &before, &[], AT), Some(0));
    shares.note(&before, 0, Some(AT.plus(ASIDE_FOR)));
    let after = api(2, &[1, 1, 1]);
    assert_eq!(next(&shares, &after, &[], AT), Some(0));
    // What was dialled before says nothing about it.
    shares.note(&before, 1, Some(AT.plus(ASIDE_FOR)));
    assert_eq!(next(&shares, &after, &[], AT), Some(1));
    assert_eq!(next(&shares, &after, &[], AT), Some(2));
}

#[test]
fn a_request_is_addressed_to_its_node() {
    let api = api(1, &[1]);
    let node = &nodes(&api).unwrap()[0];
    for (behind, path) in [
        ("/", "/base"),
        ("/?x=1", "/base?x=1"),
        ("/raw", "/base/raw"),
        ("/raw/?x=/", "/base/raw/?x=/"),
    ] {
        let mut request = Request::builder().uri(behind).header(HOST, "ours").body(()).unwrap();
        address(&mut request, node).unwrap();
        assert_eq!(request.uri(), path);
        assert_eq!(request.headers()[HOST], "127.0.0.1:1");
    }
}
