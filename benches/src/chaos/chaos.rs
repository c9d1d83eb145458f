//! The whole of it: everybody comes in, things are broken, and at the end everything must be as it was.

use std::sync::Arc;
use std::time::Duration;

use flowgate_bench::fault::Result;

use crate::breaking::Breaker;
use crate::client::Manners;
use crate::finale::Finale;
use crate::plan::{self, KINDS, Kind};
use crate::report::{self, progress};
use crate::stage::{Settings, Stage};
use crate::world::{CLOCKED, World};

/// From one change of an account to the next.
const PAUSE_MS: (u64, u64) = (200, 700);
const OPEN_PATIENCE: Duration = Duration::from_secs(120);

/// Runs it; returns whether nothing was wrong.
pub async fn run(settings: Settings) -> Result<bool> {
    let time = settings.time;
    let manners = Manners { bursts_max: 60, pause_ms: (300, 2500) };
    let mut stage = Stage::set(settings, manners).await?;
    stage.wait_until_open(OPEN_PATIENCE).await?;
    progress(&format!("{} connections are open, and leave again", stage.open()));
    stage.leave().await;
    let finale = Finale::before(&stage.world).await?;
    stage.come_again();
    stage.wait_until_open(OPEN_PATIENCE).await?;
    stage.employ(PAUSE_MS);

    let (possible, left_out) = possible(&stage.world);
    let plan = plan::make(&mut stage.dice.split(), time, &possible);
    let breaker = Breaker::new(Arc::clone(&stage.world), Arc::clone(&stage.judge), &plan);
    let mut dice = stage.dice.split();
    breaker.follow(plan, &mut dice).await;

    progress("everything is mended; looking at what is left");
    let table = finale.after(&mut stage).await?;
    let left_out: String = left_out.iter().map(|why| format!("left out: {why}\n")).collect();
    report::conclude(&stage, &format!("{table}\n{left_out}"))
}

/// What can be broken on this machine, and why something cannot.
fn possible(world: &World) -> (Vec<Kind>, Vec<&'static str>) {
    let (mut kinds, mut left_out) = (KINDS.to_vec(), Vec::new());
    if world.disk.is_none() {
        kinds.retain(|kind| *kind != Kind::FillDisk);
        left_out.push("a full disk: no file system may be mounted here");
    }
    if world.replicas[CLOCKED].clock.is_none() {
        kinds.retain(|kind| *kind != Kind::JumpClock);
        left_out.push("clocks: libfaketime is not installed");
    }
    for why in &left_out {
        progress(why);
    }
    (kinds, left_out)
}
