//! What must be true when everything is mended: every acknowledged change is there, every credential is
//! what it should be on every replica, and nothing is held that was not held before.

use std::collections::BTreeSet;
use std::time::Duration;

use flowgate_bench::clock::now;
use flowgate_bench::fault::{Fault, Result};
use rustix::process::Signal;
use serde_json::Value;
use tokio::time::sleep;

use crate::accounts::{Home, Tenant};
use crate::gauges::{self, Figures};
use crate::judge::{BEHIND_MAX, GRACE, Judge};
use crate::prober::Prober;
use crate::stage::Stage;
use crate::world::{SOLO, World};

/// Kept connections to runtimes and the like go within this time.
const REST_PATIENCE: Duration = Duration::from_secs(20);
/// Memory may be so much more than before, by the share and by itself.
const MEMORY_SHARE_MAX: f64 = 0.3;
const MEMORY_KIB_MAX: f64 = 6.0 * 1024.0;
/// So many files may be more than before: connections to Redis, of operators.
const FILES_MAX: f64 = 12.0;
const PROBES_AT_ONCE: usize = 8;

/// What was held before.
pub struct Finale {
    before: Vec<Figures>,
}

impl Finale {
    /// Looks at it: everybody has been there, and has left.
    pub async fn before(world: &World) -> Result<Self> {
        let before = all_at_rest(world).await.into_iter().collect::<Option<_>>();
        let before = before.ok_or_else(|| Fault("a replica does not answer".to_owned()))?;
        Ok(Self { before })
    }

    /// Looks at everything; returns a table.
    pub async fn after(self, stage: &mut Stage) -> Result<String> {
        // Clients are still there: whatever is wrong with one of them shows.
        sleep(GRACE).await;
        stage.settle().await;
        stage.leave().await;
        sleep(BEHIND_MAX).await;
        try_everything(stage).await;
        compare_exports(&stage.world, &stage.judge).await;
        stage.end();
        let table = self.compare(stage).await;
        check_registries(&stage.world, &stage.judge).await;
        Ok(table)
    }

    async fn compare(&self, stage: &Stage) -> String {
        let mut table =
            String::from("| process | figure | before | afterwards |\n| --- | --- | --- | --- |\n");
        let after = all_at_rest(&stage.world).await;
        for (index, (before, after)) in self.before.iter().zip(after).enumerate() {
            let name = stage.world.replicas[index].program.name();
            let Some(after) = after else {
                stage.judge.violation("a replica does not answer", name.to_owned());
                continue;
            };
            for (figure, was) in before {
                let is = after.get(figure).copied().unwrap_or(f64::NAN);
                table += &format!("| {name} | {figure} | {was:.0} | {is:.0} |\n");
                if !is_level(figure, *was, is) {
                    let text = format!("{name}: {figure} was {was}, is {is}");
                    stage.judge.violation("not back at its level", text);
                }
            }
        }
        table
    }
}

fn is_level(figure: &str, was: f64, is: f64) -> bool {
    match figure {
        "PSS KiB" | "RSS KiB" => is <= was + MEMORY_KIB_MAX.max(was * MEMORY_SHARE_MAX),
        "files" => is <= was + FILES_MAX,
        // Bounded by how many there are; threads for files come and go.
        "tenants in memory" => is <= 100.0,
        "threads" => is <= was + 16.0,
        "client sockets" => is <= 1.0,
        _ => is == 0.0,
    }
}

/// What replicas hold once nothing is connected and what was kept for a while is gone.
async fn all_at_rest(world: &World) -> Vec<Option<Figures>> {
    let (begin, mut last) = (now(), Vec::new());
    loop {
        let mut figures = Vec::new();
        for index in 0..=SOLO {
            figures.push(gauges::of_replica(world, index).await);
        }
        let files: Vec<_> = figures.iter().map(|figures| value(figures, "files")).collect();
        let is_idle = figures.iter().all(|figures| value(figures, "live table") == Some(0.0));
        if (is_idle && files == last) || begin.elapsed() > REST_PATIENCE {
            return figures;
        }
        last = files;
        // Longer than idle connections to a runtime are kept.
        sleep(Duration::from_secs(5)).await;
    }
}

fn value(figures: &Option<Figures>, name: &str) -> Option<f64> {
    figures.as_ref().and_then(|figures| figures.get(name).copied())
}

/// Every credential that is known, dead ones too, on every replica.
async fn try_everything(stage: &Stage) {
    let prober = Prober { world: stage.world.clone(), judge: stage.judge.clone() };
    let mut trying = tokio::task::JoinSet::new();
    for tenant in &stage.world.tenants {
        for credential in tenant.credentials() {
            for replica in stage.world.replicas_of(tenant.home) {
                if trying.len() >= PROBES_AT_ONCE {
                    trying.join_next().await;
                }
                let (prober, tenant, credential) =
                    (prober.clone(), tenant.clone(), credential.clone());
                trying.spawn(async move {
                    prober.try_one(&tenant, &credential, replica).await;
                    prober.judge.count("credentials tried at the end");
                });
            }
        }
    }
    while trying.join_next().await.is_some() {}
}

/// What each flowgate exports is what was acknowledged.
async fn compare_exports(world: &World, judge: &Judge) {
    for replica in &world.replicas {
        let server = format!("http://{}", replica.admin);
        let profiles = world
            .command(&["export", "-", "--server", &server])
            .await
            .and_then(|text| Ok(serde_json::from_str::<Value>(&text)?));
        let profiles = match profiles {
            Ok(profiles) => profiles,
            Err(why) => {
                judge.violation("there is no export", format!("{}: {why}", replica.program.name()));
                continue;
            }
        };
        let none = Vec::new();
        let exported = profiles["tenants"].as_array().unwrap_or(&none);
        for tenant in world.tenants.iter().filter(|tenant| tenant.home == replica.home) {
            let found = exported.iter().find(|one| one["username"] == tenant.name.as_str());
            judge.count("accounts compared at the end");
            if let Err(why) = compare(tenant, found) {
                let text = format!("{} at {}: {why}", tenant.name, replica.program.name());
                judge.violation("an acknowledged change is lost", text);
            }
        }
    }
}

/// Compares an account with its export. Keys that a try of unknown outcome has made may be there: who
/// asked for them has not heard of them.
fn compare(tenant: &Tenant, found: Option<&Value>) -> std::result::Result<(), String> {
    let is_enabled = tenant.enabled().settled();
    let found = match (found, is_enabled, tenant.comes_and_goes) {
        (_, None, _) => return Err("a change was given up".to_owned()),
        (None, Some(false), true) => return Ok(()),
        (None, ..) => return Err("it is not there".to_owned()),
        (Some(_), Some(false), true) => return Err("it was removed, but is there".to_owned()),
        (Some(found), ..) => found,
    };
    if found["disabled"].as_bool().unwrap_or(false) == (is_enabled == Some(true)) {
        return Err(format!("disabled is {}", found["disabled"]));
    }
    let default = tenant.default_key().map(|key| key.digest());
    if found["api_key_sha256"].as_str() != default.as_deref() {
        return Err("another default key".to_owned());
    }
    let none = Vec::new();
    let keys = found["keys"].as_array().unwrap_or(&none);
    let there: BTreeSet<&str> = keys.iter().filter_map(|key| key["sha256"].as_str()).collect();
    for key in tenant.credentials().iter().filter(|key| key.id.is_some()) {
        let is_alive = key.fact().settled() == Some(true);
        if there.contains(key.digest().as_str()) != is_alive {
            return Err(format!("a named key that is {}", if is_alive { "gone" } else { "back" }));
        }
    }
    Ok(())
}

/// No registry contradicts itself.
async fn check_registries(world: &World, judge: &Judge) {
    // A file is one process's: this one has to end first.
    let solo = &world.replicas[SOLO].program;
    solo.signal(Signal::TERM);
    let begin = now();
    while solo.ended().is_none() && begin.elapsed() < REST_PATIENCE {
        sleep(Duration::from_millis(20)).await;
    }
    for home in [Home::Shared, Home::File] {
        let registry = world.registry(home);
        let checked = world.command(&["registry", "check", "--registry", &registry]).await;
        if let Err(why) = checked {
            judge.violation("a registry contradicts itself", why.to_string());
        }
    }
}
