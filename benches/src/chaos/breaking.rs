//! Breaks one thing after the other as planned, and mends it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flowgate_bench::clock::now;
use flowgate_bench::fault::{During, Result};
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until};

use crate::client::Order;
use crate::dice::Dice;
use crate::incidents::Part;
use crate::judge::Judge;
use crate::link::{Link, Weather};
use crate::operator::Operator;
use crate::plan::{Kind, Place, Planned};
use crate::recovery::Recovery;
use crate::world::World;

const STOP_PATIENCE: Duration = Duration::from_secs(20);
const TRY_AGAIN: Duration = Duration::from_millis(300);
/// Files that a process may still open when there are none left for connections.
const FILES_LEFT: u64 = 3;
/// By how many seconds the time of day jumps.
const JUMPS_S: [i64; 6] = [-172_800, -3_600, -90, 90, 3_600, 172_800];

/// Who breaks things.
#[derive(Clone)]
pub struct Breaker {
    /// The processes.
    pub world: Arc<World>,
    /// The judge, who is told of everything beforehand.
    pub judge: Arc<Judge>,
    places: Arc<HashMap<Place, tokio::sync::Mutex<()>>>,
}

impl Breaker {
    /// One who will follow this plan.
    pub fn new(world: Arc<World>, judge: Arc<Judge>, plan: &[Planned]) -> Self {
        let places = plan.iter().map(|one| (one.place, tokio::sync::Mutex::new(()))).collect();
        Self { world, judge, places: Arc::new(places) }
    }

    /// Follows it; returns when everything is mended.
    pub async fn follow(&self, plan: Vec<Planned>, dice: &mut Dice) {
        let begin = tokio::time::Instant::now();
        let mut running: Vec<JoinHandle<()>> = Vec::new();
        for planned in plan {
            sleep_until(begin + planned.at).await;
            let (breaker, dice) = (self.clone(), dice.split());
            running.push(tokio::spawn(async move { breaker.carry_out(planned, dice).await }));
        }
        for one in running {
            if let Err(error) = one.await {
                self.judge.violation("the test itself failed", error.to_string());
            }
        }
    }

    async fn carry_out(&self, planned: Planned, dice: Dice) {
        let Planned { lasts, kind, place, .. } = planned;
        // It may take longer to mend than was planned.
        let Some(place_lock) = self.places.get(&place) else { return };
        let _alone = place_lock.lock().await;
        let text = format!("{kind:?} {place:?} for {:.1} s", lasts.as_secs_f64());
        crate::report::progress(&format!("{:7.2} s: {text}", self.judge.elapsed().as_secs_f64()));
        if let Err(why) = self.break_and_mend(kind, place, lasts, dice).await {
            self.judge.violation("it could not be mended", format!("{text}: {why}"));
        }
        self.judge.count(&format!("broken: {kind:?}"));
    }

    async fn break_and_mend(
        &self,
        kind: Kind,
        place: Place,
        lasts: Duration,
        dice: Dice,
    ) -> Result<()> {
        match (kind, place) {
            (Kind::KillReplica, Place::Replica(index)) => self.kill_replica(index, lasts).await,
            (Kind::StopReplica, Place::Replica(index)) => self.stop_replica(index, lasts).await,
            (Kind::DrainReplica, Place::Replica(index)) => self.drain(index, lasts).await,
            (Kind::JumpClock, Place::Replica(index)) => self.jump_clock(index, lasts, dice).await,
            (Kind::FillDisk, Place::Replica(index)) => self.fill_disk(index, lasts, dice).await,
            (Kind::TakeFiles, Place::Replica(index)) => self.take_files(index, lasts).await,
            (Kind::KillRuntime, Place::Runtime(index)) => self.kill_runtime(index, lasts).await,
            (Kind::StopRuntime, Place::Runtime(index)) => self.stop_runtime(index, lasts).await,
            (_, Place::Redis) => self.disturb_redis(kind, lasts).await,
            (_, Place::Registry(index)) => {
                if let Some(link) = &self.world.replicas[index].registry {
                    self.disturb_link(kind, Part::RegistryLink(index), link, lasts, dice).await;
                }
                self.recovery().registry(index).await;
                Ok(())
            }
            (_, Place::Clients(index)) => {
                let link = &self.world.replicas[index].clients;
                self.disturb_link(kind, Part::Clients(index), link, lasts, dice).await;
                Ok(())
            }
            (_, Place::ToRuntime(index)) => {
                let link = &self.world.runtimes[index].link;
                self.disturb_link(kind, Part::RuntimeLink(index), link, lasts, dice).await;
                self.recovery().runtime(index, "a way to a runtime is back").await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn recovery(&self) -> Recovery<'_> {
        Recovery { world: &self.world, judge: &self.judge }
    }

    /// Starts a replica until it is ready: without its registry it ends at once.
    async fn revive(&self, index: usize) -> Result<()> {
        loop {
            let begin = now();
            self.world.replicas[index].program.start()?;
            if self.world.wait_until_ready(index).await.is_ok() {
                self.judge.took("a flowgate is ready, from its start", begin.elapsed());
                return Ok(());
            }
            self.world.replicas[index].program.kill();
            self.judge.count("starts of a flowgate without registry");
            sleep(TRY_AGAIN).await;
        }
    }

    async fn kill_replica(&self, index: usize, lasts: Duration) -> Result<()> {
        let incident = self.judge.incidents.begin(Part::Replica(index), "killed");
        self.world.replicas[index].program.kill();
        sleep(lasts).await;
        self.revive(index).await?;
        self.judge.incidents.end(incident);
        Ok(())
    }

    async fn stop_replica(&self, index: usize, lasts: Duration) -> Result<()> {
        let incident = self.judge.incidents.begin(Part::Replica(index), "stopped");
        self.world.replicas[index].program.signal(Signal::STOP);
        sleep(lasts).await;
        self.world.replicas[index].program.signal(Signal::CONT);
        self.judge.incidents.end(incident);
        self.recovery().registry(index).await;
        Ok(())
    }

    async fn drain(&self, index: usize, lasts: Duration) -> Result<()> {
        let program = &self.world.replicas[index].program;
        let (begin, incident) = (now(), self.judge.incidents.begin(Part::Drain(index), "drained"));
        program.signal(Signal::TERM);
        let status = loop {
            match program.ended() {
                Some(status) => break Some(status),
                None if begin.elapsed() > STOP_PATIENCE => break None,
                None => sleep(Duration::from_millis(10)).await,
            }
        };
        match status {
            Some(status) if status.success() => {
                self.judge.took("a drain, with half of 4 s for goodbyes", begin.elapsed());
            }
            _ => {
                program.kill();
                self.judge
                    .violation("a drain went wrong", format!("{}: {status:?}", program.name()));
            }
        }
        sleep(lasts).await;
        self.revive(index).await?;
        self.judge.incidents.end(incident);
        Ok(())
    }

    async fn kill_runtime(&self, index: usize, lasts: Duration) -> Result<()> {
        let incident = self.judge.incidents.begin(Part::Runtime(index), "killed");
        self.world.runtimes[index].program.kill();
        sleep(lasts).await;
        self.world.start_runtime(index).await?;
        self.judge.incidents.end(incident);
        self.recovery().runtime(index, "a runtime is back").await;
        Ok(())
    }

    async fn stop_runtime(&self, index: usize, lasts: Duration) -> Result<()> {
        let incident = self.judge.incidents.begin(Part::Runtime(index), "stopped");
        self.world.runtimes[index].program.signal(Signal::STOP);
        sleep(lasts).await;
        self.world.runtimes[index].program.signal(Signal::CONT);
        self.judge.incidents.end(incident);
        Ok(())
    }

    async fn disturb_redis(&self, kind: Kind, lasts: Duration) -> Result<()> {
        let kills = kind == Kind::KillRedis;
        let what = if kills { "killed" } else { "stopped" };
        let incident = self.judge.incidents.begin(Part::Redis, what);
        match kills {
            true => self.world.redis.kill(),
            false => self.world.redis.signal(Signal::STOP),
        }
        sleep(lasts).await;
        match kills {
            true => self.world.start_redis().await?,
            false => self.world.redis.signal(Signal::CONT),
        }
        self.judge.incidents.end(incident);
        for index in self.world.shared_replicas() {
            self.recovery().registry(index).await;
        }
        Ok(())
    }

    async fn disturb_link(
        &self,
        kind: Kind,
        part: Part,
        link: &Link,
        lasts: Duration,
        mut dice: Dice,
    ) {
        use Kind::{
            CutClients, CutRegistry, CutRuntime, SilenceClients, SilenceRegistry, SilenceRuntime,
        };
        // Redis has one connection or a few from each replica; of the others some are left alone.
        let one_in = match part {
            Part::RegistryLink(_) => 1,
            _ => 1 + dice.below(4) as u64,
        };
        let hit = Weather { one_in, ..Weather::default() };
        let (what, weather) = match kind {
            CutRegistry | CutClients | CutRuntime => {
                let refuses = part == Part::RegistryLink(0) || dice.percent(70);
                ("cut", Weather { refuses, ..hit })
            }
            SilenceRegistry | SilenceClients | SilenceRuntime => {
                ("silent", Weather { is_silent: true, ..hit })
            }
            _ => {
                let delay = dice.span_ms(1, 60);
                let piece_bytes = 1 + dice.below(1000);
                ("slow", Weather { delay, piece_bytes, ..hit })
            }
        };
        let incident = self.judge.incidents.begin(part, what);
        link.set(weather);
        if what == "cut" {
            self.judge.add("connections that links have cut", link.cut(one_in) as u64);
        }
        sleep(lasts).await;
        link.heal();
        self.judge.incidents.end(incident);
    }

    async fn jump_clock(&self, index: usize, lasts: Duration, mut dice: Dice) -> Result<()> {
        let Some(file) = &self.world.replicas[index].clock else { return Ok(()) };
        let jump_s = dice.pick(&JUMPS_S).copied().unwrap_or_default();
        let incident = self.judge.incidents.begin(Part::Clock(index), "jumped");
        set_clock(file, jump_s)?;
        sleep(lasts).await;
        set_clock(file, 0)?;
        self.judge.incidents.end(incident);
        Ok(())
    }

    async fn fill_disk(&self, index: usize, lasts: Duration, mut dice: Dice) -> Result<()> {
        let Some(disk) = &self.world.disk else { return Ok(()) };
        let filler = disk.join("filler");
        let incident = self.judge.incidents.begin(Part::Disk(index), "full");
        fill(&filler)?;
        // Somebody who changes as much as goes, so that the shortage is felt.
        let (orders, receiver) = watch::channel(Order::Live);
        let operator = Operator {
            world: Arc::clone(&self.world),
            judge: Arc::clone(&self.judge),
            tenants: self.world.for_the_disk(),
            orders: receiver,
            pause_ms: (1, 5),
        };
        let working = tokio::spawn(operator.work(dice.split()));
        sleep(lasts).await;
        std::fs::remove_file(&filler).during("making room")?;
        self.judge.incidents.end(incident);
        let begin = now();
        orders.send_replace(Order::Leave);
        if let Err(error) = working.await {
            self.judge.violation("the test itself failed", error.to_string());
        }
        self.judge.took("a change is made, from room on the disk", begin.elapsed());
        Ok(())
    }

    async fn take_files(&self, index: usize, lasts: Duration) -> Result<()> {
        let program = &self.world.replicas[index].program;
        let Some(pid) = program.pid() else { return Ok(()) };
        let incident = self.judge.incidents.begin(Part::Files(index), "used up");
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).during("counting files")?.count();
        let before = program.limit_files(Some(open as u64 + FILES_LEFT))?;
        sleep(lasts).await;
        program.limit_files(before)?;
        self.judge.incidents.end(incident);
        self.recovery().replica(index, "files are there again").await;
        Ok(())
    }
}

/// Fills a file system to its last byte.
fn fill(file: &Path) -> Result<()> {
    use std::io::Write;
    let mut filler = std::fs::File::create(file).during("a file that fills the disk")?;
    let mut piece = vec![0_u8; 1 << 20];
    while !piece.is_empty() {
        if filler.write_all(&piece).is_err() {
            piece.truncate(piece.len() / 2);
        }
    }
    Ok(())
}

fn set_clock(file: &Path, seconds: i64) -> Result<()> {
    // Replaced in one go: who reads half of it would have yet another time.
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{seconds:+}\n")).during("the time of day")?;
    std::fs::rename(&new, file).during("the time of day")
}
