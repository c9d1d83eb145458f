use super::*;
use crate::clock::{Clock, Wall};
use crate::presence::Settings;
use crate::registry::{Caching, testing};

#[tokio::test]
async fn a_gap_is_overcome_however_old_what_is_known_is() {
    let wall = Wall::stopped_at(testing::BEGIN.0);
    let caching = Caching { tenants_max: 10, stale_max: Duration::from_millis(1) };
    let store = testing::store(&wall).await;
    let registry = Arc::new(Registry::new(store, caching, Clock::start(), wall));
    let live = Arc::<LiveTable>::default();
    let clock = registry.clock();
    let presence =
        Presence::new(Arc::clone(&registry), Arc::clone(&live), clock, Settings::new(false));
    while registry.freshness().is_believed() {
        tokio::task::yield_now().await;
    }
    assert!(registry.know_apis().await.is_err(), "it is too old for everybody else");
    let page = FeedPage { notices: Vec::new(), gap: true, last_revision: 7 };
    let mut after = 3;
    take_in(&live, &registry, &presence.unwrap(), &page, &mut after).await.unwrap();
    assert_eq!(after, 7);
    assert!(registry.directory().is_loaded());
}
