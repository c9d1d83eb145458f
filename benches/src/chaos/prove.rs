//! Sees that the judge judges: things are done that flowgate does not do, and each must be noticed.

use std::sync::Arc;
use std::time::Duration;

use flowgate_bench::clock::now;
use flowgate_bench::fault::{Result, fault};
use tokio::time::sleep;

use crate::accounts::{Credential, Home, Tenant};
use crate::client::Manners;
use crate::judge::{ACCEPTED, ENDED, LOST, REFUSED};
use crate::link::{Sabotage, Weather};
use crate::messages::WRONG;
use crate::report::progress;
use crate::stage::{Settings, Stage};

const PAUSE_MS: (u64, u64) = (500, 1000);
/// A message counts as lost after 20 s.
const PATIENCE: Duration = Duration::from_secs(60);
/// Half of the connections to one runtime.
const ONE_IN: u64 = 2;

/// Does it; an error if something went unnoticed, or something was seen that was not there.
pub async fn run(settings: Settings) -> Result<bool> {
    let manners = Manners { bursts_max: 60, pause_ms: (100, 500) };
    let mut stage = Stage::set(settings, manners).await?;
    stage.employ(PAUSE_MS);
    stage.wait_until_open(PATIENCE).await?;
    sleep(stage.settings.time).await;
    if let Some(first) = stage.judge.violations().0.first() {
        return fault(format!("seen before there was anything: {}: {}", first.kind, first.what));
    }
    stage.judge.keep_quiet();
    // A message counts as lost after a while; meanwhile there is more to notice.
    let losing = &stage.world.runtimes[0].link;
    losing.set(weather(Sabotage::Lose));
    let links = [(Sabotage::Duplicate, WRONG), (Sabotage::Change, WRONG), (Sabotage::End, ENDED)];
    for (index, (sabotage, kind)) in links.into_iter().enumerate() {
        let link = &stage.world.runtimes[1 + index].link;
        let act = || link.set(weather(sabotage));
        let noticed = notices(&stage, kind, &format!("{sabotage:?}"), act).await;
        link.heal();
        noticed?;
        progress(&format!("{sabotage:?} was done {} times", link.spoilt()));
    }
    // Of many tenants: one alone may be disabled just now, or given another key to come in with.
    let tenants = who_stay(&stage);
    notices(&stage, ACCEPTED, "keys that live on", || tenants.iter().for_each(pretend_dead))
        .await?;
    let act = || tenants.iter().for_each(pretend_alive);
    notices(&stage, REFUSED, "keys that do not work", act).await?;
    while stage.judge.violations_of(LOST) == 0 {
        notices(&stage, LOST, "Lose", || ()).await?;
    }
    losing.heal();
    stage.end();
    Ok(true)
}

fn weather(sabotage: Sabotage) -> Weather {
    Weather { one_in: ONE_IN, sabotage: Some(sabotage), ..Weather::default() }
}

async fn notices(stage: &Stage, kind: &str, what: &str, act: impl FnOnce()) -> Result<()> {
    let (begin, before) = (now(), stage.judge.violations_of(kind));
    act();
    while stage.judge.violations_of(kind) == before {
        if begin.elapsed() > PATIENCE {
            return fault(format!("{what}: not noticed"));
        }
        sleep(Duration::from_millis(20)).await;
    }
    progress(&format!("noticed within {:.1} s: {what}", begin.elapsed().as_secs_f64()));
    Ok(())
}

fn who_stay(stage: &Stage) -> Vec<Arc<Tenant>> {
    let stays = |tenant: &&Arc<Tenant>| tenant.home == Home::Shared && !tenant.comes_and_goes;
    stage.world.tenants.iter().filter(stays).cloned().collect()
}

/// As if flowgate had acknowledged that all keys are dead.
fn pretend_dead(tenant: &Arc<Tenant>) {
    for key in tenant.living() {
        key.fact().begin(false, now());
        key.fact().acknowledge(now());
    }
}

/// As if flowgate had made a key that it knows nothing of.
fn pretend_alive(tenant: &Arc<Tenant>) {
    tenant.add(Credential::alive("chaos-key-that-was-never-made-0123456789".to_owned(), None));
}
