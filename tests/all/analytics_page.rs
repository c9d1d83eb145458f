//! The page of what was counted, in the real Chromium.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flowgate::clock::{Clock, Wall};
use flowgate::grant::ApiId;
use flowgate::ledger::{Caller, Key, Measure, Sums, What};
use flowgate::registry::analytics::batches;
use flowgate::registry::store::Store;
use flowgate::registry::{Caching, Registry};
use flowgate::tenant::TenantId;
use serde_json::{Value, json};

use crate::analytics::{CONSUMER, live_through_it, parsed, publish, report, sum};
use crate::support::flowgate::Flowgate;
use crate::support::node::{pictures, run_in_browser};
use crate::support::replicas::{MIKE, Runtimes};
use crate::support::wait_until;

const CACHING: Caching = Caching { tenants_max: 10, stale_max: Duration::from_secs(60) };

/// An hour of a tenant's, as replicas would have written it: busier and busier, with a break.
fn fill(url: &str, tenant: TenantId, apis: [&str; 2]) {
    let [one, other] = apis.map(ApiId::from_hex);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 60;
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = Store::open(url).await.unwrap();
        let registry = Registry::new(store, CACHING, Clock::start(), Wall::system());
        for ago in (1..50_u64).filter(|ago| !(20..24).contains(ago)) {
            let minute = now - ago;
            let (busy, wave) = (60 - ago, (ago * ago) % 17);
            let sums = |share: u64| {
                let mut sums = Sums::default();
                for (measure, count) in [
                    (Measure::Handshakes, busy / 20),
                    (Measure::Requests, wave / 3),
                    (Measure::MessagesFromClient, (busy * 11 + wave * 40) / share),
                    (Measure::MessagesFromRuntime, (busy * 7 + wave * 10) / share),
                    (Measure::BytesFromClient, (busy * 1100 + wave * 9000) / share),
                    (Measure::BytesFromRuntime, busy * 900 / share),
                    (Measure::Refusals, wave / 8),
                    (Measure::Throttled, u64::from(ago % 13 == 0) * 5),
                    (Measure::ConnectionMs, 60_000 * (1 + busy / 9)),
                ] {
                    sums.add(measure, count);
                }
                sums
            };
            let what = |api| What::Of { api, caller: Caller::Nobody, plan: None };
            let whats = [what(None), what(one), what(other)];
            let id = format!("keys {minute}");
            registry.list_keys(&id, minute, Some(tenant), &whats, 30).await.unwrap();
            let counted: Vec<(Key, Sums)> = whats
                .into_iter()
                .zip([7, 1, 3])
                .map(|(what, share)| (Key { tenant: Some(tenant), what }, sums(share)))
                .collect();
            for batch in batches(&format!("minute {minute}"), minute, &counted, 30) {
                registry.store().merge_once(batch).await.unwrap();
            }
        }
    });
}

#[test]
fn the_page_shows_what_was_counted() {
    let runtimes = Runtimes::beside();
    let mut flowgate = Flowgate::start(&runtimes.profiles(), &["--drain-timeout", "1s"]);
    let (one, other, key) = publish(&flowgate, "Echo");
    let (_, account) = flowgate.profile(MIKE, "GET", "", &Value::Null);
    let mike = TenantId::from_hex(account["id"].as_str().unwrap()).unwrap();
    flowgate.signal("-TERM");
    assert!(flowgate.wait().success());
    fill(&flowgate.registry(), mike, [&one, &other]);
    let flowgate = flowgate.kill_and_restart(&[]);
    let before = report(&flowgate, MIKE, "last=1h");
    live_through_it(&flowgate, &key);
    let counted = || report(&flowgate, MIKE, "last=1h");
    let messages = sum(&before, "messages_from_client") + 18;
    wait_until("all is counted", || sum(&counted(), "messages_from_client") == messages);

    let port = flowgate.data.port().to_string();
    let script = include_str!("browser/analytics.cjs");
    let said = run_in_browser(script, &[&port, MIKE.1, &pictures().unwrap_or_default()]);
    let summary = said["summary"].as_str().unwrap().replace(',', "");
    let counted = format!("Messages: {messages} from clients");
    assert!(summary.starts_with(&counted), "{counted}: {said}");
    assert!(said["bar"].as_str().unwrap().ends_with(" from the runtime"), "{said}");
    assert_eq!(said["charts"], 5);
    assert!(said["bars"].as_u64() > Some(40) && said["times"].as_u64() > Some(40), "{said}");
    assert_eq!(said["apis"], json!(["Echo 1", "Open 1", "(no published API)"]), "{said}");
    assert_eq!(said["applications"], json!(["(nobody in particular)", CONSUMER]), "{said}");
    assert_eq!(said["name"], "analytics-by-application.csv");
    let rows = parsed(said["csv"].as_str().unwrap());
    assert!(rows.iter().any(|row| row[1] == format!("'{CONSUMER}")), "{rows:?}");
    assert_eq!((&said["serious"], &said["tooWide"]), (&json!([]), &json!(0)), "{said}");
    assert_eq!(said["complaints"], json!([]), "{said}");
}
