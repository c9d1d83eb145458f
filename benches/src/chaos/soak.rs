//! Half an hour of connections that come and go and keys that change, and nothing may grow.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use flowgate_bench::clock::now;
use flowgate_bench::fault::Result;
use tokio::time::sleep;

use crate::client::Manners;
use crate::gauges::{self, Figures};
use crate::report::{self, progress};
use crate::stage::{Settings, Stage};
use crate::world::SOLO;

/// From one change of an account to the next.
const PAUSE_MS: (u64, u64) = (150, 450);
const SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// Until here, buffers and tables may fill.
const WARM_UP_SHARE: f64 = 0.2;
/// A figure may be so much higher at the end than after the warm-up, by the share and by itself.
const GROWTH_SHARE_MAX: f64 = 0.15;
const GROWTH_KIB_MAX: f64 = 3.0 * 1024.0;
const GROWTH_MAX: f64 = 40.0;
/// Figures of Redis are for the report: its feed and audit log are bounded, but not full by then.
const FOR_THE_REPORT: &str = "redis";

/// A process's figures, one after the other.
type Series = BTreeMap<String, Vec<Figures>>;

/// Runs it; returns whether all is well.
pub async fn run(settings: Settings) -> Result<bool> {
    let time = settings.time;
    let manners = Manners { bursts_max: 12, pause_ms: (500, 3000) };
    let mut stage = Stage::set(settings, manners).await?;
    stage.employ(PAUSE_MS);
    stage.wait_until_open(Duration::from_secs(120)).await?;
    progress(&format!("{} connections are open", stage.open()));
    let (begin, mut series) = (now(), Series::new());
    while begin.elapsed() < time {
        sleep(SAMPLE_EVERY).await;
        sample(&stage, &mut series).await;
        if series.values().next().is_some_and(|all| all.len().is_multiple_of(12)) {
            progress(&line(&stage, begin.elapsed(), &series));
        }
    }
    stage.settle().await;
    stage.leave().await;
    stage.end();
    let samples = series.clone();
    let is_flat = judge(&stage, &samples);
    let table = table(&samples);
    let is_well = report::conclude(&stage, &table)?;
    Ok(is_well && is_flat)
}

async fn sample(stage: &Stage, series: &mut Series) {
    for index in 0..=SOLO {
        let name = stage.world.replicas[index].program.name().to_owned();
        match gauges::of_replica(&stage.world, index).await {
            Some(figures) => series.entry(name).or_default().push(figures),
            None => stage.judge.violation("a replica does not answer", name),
        }
    }
    let mut redis = gauges::of_redis(&stage.world).await;
    if let Some(figures) = stage.world.redis.pid().and_then(gauges::of_process) {
        redis.extend(figures);
    }
    series.entry(FOR_THE_REPORT.to_owned()).or_default().push(redis);
}

fn line(stage: &Stage, elapsed: Duration, series: &Series) -> String {
    let mut line = format!("{:4} s, {} open", elapsed.as_secs(), stage.open());
    for (name, all) in series {
        if let Some(last) = all.last() {
            let value = |what: &str| last.get(what).copied().unwrap_or(0.0);
            line +=
                &format!("; {name} {:.1} MiB, {} files", value("PSS KiB") / 1024.0, value("files"));
        }
    }
    line
}

/// A figure after the warm-up and at the end: medians of a fifth of the time each.
fn before_and_after(all: &[Figures], name: &str) -> Option<(f64, f64)> {
    let share = (all.len() as f64 * WARM_UP_SHARE) as usize;
    let median = |part: &[Figures]| {
        let mut values: Vec<f64> = part.iter().filter_map(|one| one.get(name)).copied().collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    let before = median(all.get(share..2 * share)?)?;
    Some((before, median(&all[all.len() - share..])?))
}

fn judge(stage: &Stage, series: &Series) -> bool {
    let mut is_flat = true;
    for (process, all) in series.iter().filter(|(process, _)| *process != FOR_THE_REPORT) {
        for name in all.iter().flat_map(Figures::keys).collect::<BTreeSet<_>>() {
            let Some((before, after)) = before_and_after(all, name) else { continue };
            let most = if name.ends_with("KiB") { GROWTH_KIB_MAX } else { GROWTH_MAX };
            // What is in buffers comes and goes with the messages.
            if name != "bytes in buffers" && after > before + most.max(before * GROWTH_SHARE_MAX) {
                is_flat = false;
                stage.judge.violation("it grows", format!("{process}: {name} {before} to {after}"));
            }
        }
    }
    is_flat
}

fn table(series: &Series) -> String {
    let mut table = String::from(
        "| process | figure | least | after the warm-up | at the end | most |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for (process, all) in series {
        for name in all.last().into_iter().flat_map(Figures::keys) {
            let values = all.iter().filter_map(|one| one.get(name)).copied();
            let (least, most) =
                values.fold((f64::MAX, f64::MIN), |(a, b), value| (a.min(value), b.max(value)));
            let Some((before, after)) = before_and_after(all, name) else { continue };
            table += &format!(
                "| {process} | {name} | {least:.0} | {before:.0} | {after:.0} | {most:.0} |\n"
            );
        }
    }
    table
}
