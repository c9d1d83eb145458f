use serde_json::json;

use super::*;

#[test]
fn only_what_differs_is_kept() {
    let (before, after) =
        (json!({ "a": 1, "b": [1], "c": null }), json!({ "a": 2, "b": [1], "d": 1 }));
    let (before, after) = differing(Some(before), Some(after));
    assert_eq!(before, Some(json!({ "a": 1, "c": null })));
    assert_eq!(after, Some(json!({ "a": 2, "d": 1 })));
    assert_eq!(differing(None, Some(json!(1))), (None, Some(json!(1))));
}

#[test]
fn later_ids_are_smaller() {
    let moments = [0, 1, 1_790_000_000_000, u64::MAX].map(|ms| first_id_at(UnixMillis(ms)));
    assert!(moments.is_sorted_by(|earlier, later| earlier > later), "{moments:?}");
}
