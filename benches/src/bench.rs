//! One run: the cases, the rounds, the targets in turn.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::cases::{ALL as CASES, Case, Start};
use crate::clock::now;
use crate::fault::{During, Fault, Result, fault};
use crate::load::Entrance;
use crate::machine;
use crate::ports::Ports;
use crate::process::Process;
use crate::results::{self, Reading, Results};
use crate::rivals::{self, Rival, Running, Secure, Site, Tools, configuration};
use crate::tenants::Tenants;
use crate::tls::{Certificate, Handshakes, Speech};

mod sample;
mod scale;

pub use sample::Sample;
use scale::{FULL, QUICK, Scale};

/// A target that fails so often in a case is not tried again in it.
const FAILURES_MAX: usize = 2;

/// What to do.
pub struct Options {
    /// Only to see that everything works.
    pub quick: bool,
    /// How often each is measured.
    pub rounds: Option<usize>,
    /// The cases, by name; all if empty.
    pub cases: Vec<String>,
    /// The targets, by name; all if empty.
    pub targets: Vec<String>,
    /// For files of the run that nobody wants to keep.
    pub folder: PathBuf,
    /// Where the results go, as JSON; written after each round.
    pub results: PathBuf,
    /// Whether to go on from the results that are there.
    pub resumes: bool,
    /// How long it may take; no round begins that would not fit in.
    pub time_max: Option<Duration>,
    /// The programs.
    pub tools: Tools,
}

/// A run.
pub struct Bench {
    /// How much of everything.
    pub scale: Scale,
    /// The programs.
    pub tools: Tools,
    /// The tenants of most cases.
    pub tenants: Tenants,
    /// What all targets present to clients who speak TLS.
    pub certificate: Certificate,
    /// The runtime's address.
    pub runtime_address: SocketAddr,
    /// Where ports come from.
    pub ports: Ports,
    /// For files.
    pub folder: PathBuf,
    /// What `direct` gave in this round, for what is told as a difference to it.
    pub direct: BTreeMap<String, f64>,
    runtime: Process,
    begun: Instant,
    time_max: Option<Duration>,
    results: Results,
    results_path: PathBuf,
    /// How often each target has failed in the present case.
    failures: BTreeMap<&'static str, usize>,
}

/// One target in one round of one case.
pub struct Visit<'a> {
    /// The case.
    pub case: &'a Case,
    /// The target.
    pub rival: Rival,
    /// Where it runs.
    pub running: &'a mut Running,
}

/// Runs what is wanted; returns the results, and whether they are all.
pub fn run(options: Options) -> Result<(Results, bool)> {
    let scale = if options.quick { QUICK } else { FULL };
    let scale = Scale { rounds: options.rounds.unwrap_or(scale.rounds), ..scale };
    let cases = select(&CASES, &options.cases, |case| case.name, "case")?;
    let wanted = select(&rivals::ALL, &options.targets, |rival| rival.name(), "target")?;
    let names = wanted.iter().map(|rival| rival.name().to_owned()).collect();
    let earlier = match options.resumes {
        true => results::earlier(&options.results, options.quick, scale.rounds, &names)?,
        false => None,
    };
    let mut bench = Bench::new(options, scale, earlier.unwrap_or_default())?;
    bench.results.targets = names;
    let targets = bench.installed(wanted);
    bench.describe(&targets)?;
    let mut is_complete = true;
    for case in cases {
        is_complete &= bench.run_case(&case, &targets)?;
    }
    Ok((bench.results, is_complete))
}

fn select<T: Copy>(
    all: &[T],
    names: &[String],
    name_of: impl Fn(&T) -> &'static str,
    what: &str,
) -> Result<Vec<T>> {
    let known: Vec<&str> = all.iter().map(&name_of).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return fault(format!("no {what} {unknown}; there are {}", known.join(", ")));
    }
    let is_wanted = |it: &&T| names.is_empty() || names.iter().any(|name| name == name_of(it));
    Ok(all.iter().filter(is_wanted).copied().collect())
}

/// The order of a round: another one each time, back and forth, so that no target is always the first
/// or always right behind the same other. `direct` is first, since others are compared with it.
fn in_turn(targets: &[Rival], round: usize) -> Vec<Rival> {
    let (mut order, mut others): (Vec<Rival>, Vec<Rival>) =
        targets.iter().partition(|rival| **rival == Rival::Direct);
    let count = others.len().max(1);
    others.rotate_left(2 * (round - 1) % count);
    if round.is_multiple_of(2) {
        others.reverse();
    }
    order.extend(others);
    order
}

impl Bench {
    fn new(options: Options, scale: Scale, mut results: Results) -> Result<Self> {
        let folder = options.folder.join(format!("run-{}", std::process::id()));
        std::fs::create_dir_all(&folder).during("a folder for the run")?;
        // Rivals take paths for relative to where they please.
        let folder = folder.canonicalize().during("the folder for the run")?;
        let mut ports = Ports::default();
        let runtime_address = ports.give()?;
        let runtime = rivals::start_runtime(&options.tools, runtime_address, &folder)?;
        let is_busy = machine::is_busy();
        if is_busy {
            progress(
                "The machine is busy with something else: the figures will tell of that, too.",
            );
        }
        if results.begun == 0 {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            results.begun = since.map_or(0, |since| since.as_secs());
        }
        results.quick = options.quick;
        results.rounds = scale.rounds;
        results.is_busy |= is_busy;
        results.machine = machine::description();
        results.skipped.clear();
        let certificate = Certificate::make(&folder.join("certificate"))?;
        let tenants = Tenants::new(folder.join("tenants"), scale.tenants, runtime_address)?;
        Ok(Self {
            scale,
            tools: options.tools,
            tenants,
            certificate,
            runtime_address,
            ports,
            folder,
            direct: BTreeMap::new(),
            runtime,
            begun: now(),
            time_max: options.time_max,
            results,
            results_path: options.results,
            failures: BTreeMap::new(),
        })
    }

    fn installed(&mut self, wanted: Vec<Rival>) -> Vec<Rival> {
        let (mut targets, tools) = (Vec::new(), &self.tools);
        for rival in wanted {
            match rival.program(tools) {
                Ok(_) => targets.push(rival),
                Err(why) => self.results.skipped.push(format!("{}: {why}", rival.name())),
            }
        }
        for line in &self.results.skipped {
            progress(&format!("skipped: {line}"));
        }
        let versions = targets.iter().map(|rival| (rival.name().to_owned(), rival.version(tools)));
        self.results.versions = versions.filter(|(_, version)| !version.is_empty()).collect();
        targets
    }

    /// Writes down how each target is configured when it has everything to do.
    fn describe(&mut self, targets: &[Rival]) -> Result<()> {
        let folder = self.folder.join("configurations");
        let few = self.tenants.of_count(folder.join("tenants"), 2)?;
        for rival in targets.iter().filter(|rival| **rival != Rival::Direct) {
            let folder = folder.join(rival.name());
            std::fs::create_dir_all(&folder).during("a folder")?;
            let site = Site {
                folder: &folder,
                listen: ([127, 0, 0, 1], 8080).into(),
                spare: ([127, 0, 0, 1], 8081).into(),
                runtime: ([127, 0, 0, 1], 1880).into(),
                tenants: &few,
                checks: true,
                secure: rival.speaks_tls().then(|| Secure {
                    listen: ([127, 0, 0, 1], 8443).into(),
                    certificate: &self.certificate,
                }),
            };
            let name = rival.name();
            match configuration::text(*rival, &self.tools, &site, &self.folder) {
                Ok(text) => _ = self.results.configurations.insert(name.to_owned(), text),
                Err(why) => self.results.faults.push(format!("configuration of {name}: {why}")),
            }
        }
        Ok(())
    }

    /// Whether another round of a case fits in. How long one takes is known from those before; the first
    /// may begin in the first half of the time.
    fn has_time_for(&self, case: &Case) -> bool {
        let Some(time_max) = self.time_max else { return true };
        let round =
            self.results.slowest_round_s.get(case.name).copied().map(Duration::from_secs_f64);
        self.begun.elapsed() + round.unwrap_or(time_max / 2) <= time_max
    }

    /// Measures what is missing of a case; returns whether nothing is any more.
    fn run_case(&mut self, case: &Case, targets: &[Rival]) -> Result<bool> {
        let is_wanted = |rival: &Rival| {
            let is_spared = self.results.quick && !case.is_first && !rivals::QUICK.contains(rival);
            (case.suits)(*rival) && !is_spared
        };
        let targets: Vec<Rival> = targets.iter().copied().filter(is_wanted).collect();
        self.failures.clear();
        for round in 1 + self.results.rounds_of(case.name)..=self.scale.rounds {
            if !self.has_time_for(case) {
                return Ok(false);
            }
            let begin = now();
            self.revive_runtime()?;
            self.direct.clear();
            for rival in in_turn(&targets, round) {
                self.run_target(case, round, rival);
            }
            self.results.end_round(case.name, round, begin.elapsed());
            results::save(&self.results, &self.results_path)?;
        }
        if let Err(why) = self.check_case(case, &targets) {
            progress(&format!("{}: FAILED: {why}", case.name));
            self.results.faults.push(why.0);
        }
        results::save(&self.results, &self.results_path)?;
        Ok(true)
    }

    fn run_target(&mut self, case: &Case, round: usize, rival: Rival) {
        if self.failures.get(rival.name()).is_some_and(|count| *count >= FAILURES_MAX) {
            return;
        }
        let begin = now();
        let outcome = self.visit(case, rival);
        let elapsed_s = self.begun.elapsed().as_secs();
        let what = format!("{} {round}/{} {}", case.name, self.scale.rounds, rival.name());
        let stamp = format!("{:2}:{:02} {what}", elapsed_s / 60, elapsed_s % 60);
        match outcome {
            Ok(()) => progress(&format!("{stamp}: {:.1} s", begin.elapsed().as_secs_f64())),
            Err(why) => {
                progress(&format!("{stamp}: FAILED: {why}"));
                self.results.faults.push(format!("{what}: {why}"));
                *self.failures.entry(rival.name()).or_default() += 1;
            }
        }
    }

    /// A runtime that has ended is started again: one target's failure must not be all others'.
    fn revive_runtime(&mut self) -> Result<()> {
        let Err(why) = self.runtime.check() else { return Ok(()) };
        progress(&format!("FAILED: {why}"));
        self.results.faults.push(why.0);
        self.runtime = rivals::start_runtime(&self.tools, self.runtime_address, &self.folder)?;
        Ok(())
    }

    fn visit(&mut self, case: &Case, rival: Rival) -> Result<()> {
        let folder = self.folder.join(format!("{}-{}", case.name, rival.name()));
        std::fs::create_dir_all(&folder).during("a folder")?;
        let secure = match case.has_tls && rival.speaks_tls() {
            true => Some(Secure { listen: self.ports.give()?, certificate: &self.certificate }),
            false => None,
        };
        let mut running = match case.start {
            Start::Itself => {
                Running { address: self.runtime_address, secure_address: None, process: None }
            }
            Start::Relaying | Start::Checking => {
                let site = Site {
                    folder: &folder,
                    listen: self.ports.give()?,
                    spare: self.ports.give()?,
                    runtime: self.runtime_address,
                    tenants: &self.tenants,
                    checks: case.start == Start::Checking,
                    secure,
                };
                rival.start(&self.tools, &site)?
            }
        };
        (case.visit)(self, &mut Visit { case, rival, running: &mut running })?;
        if let Some(process) = &mut running.process {
            process.check()?;
        }
        drop(running);
        // The log of a proxy may be large, and nobody wants it after a success.
        std::fs::remove_dir_all(&folder).during("a folder")
    }

    /// Every target has measured something, and nothing that is measured as CPU time was nothing.
    fn check_case(&self, case: &Case, targets: &[Rival]) -> Result<()> {
        let of_case = |reading: &&Reading| reading.case == case.name;
        for rival in targets {
            let mut readings =
                self.results.readings.iter().filter(of_case).filter(|it| it.target == rival.name());
            if readings.next().is_none() {
                return fault(format!("{}: nothing was measured of {}", case.name, rival.name()));
            }
        }
        let positive = |metric: &str| metric.starts_with("CPU") || metric.ends_with("/s");
        let is_wrong =
            |it: &&Reading| !it.value.is_finite() || (positive(&it.metric) && it.value <= 0.0);
        match self.results.readings.iter().filter(of_case).find(is_wrong) {
            Some(it) => fault(format!(
                "{}, {}, {}: {} is {}",
                it.case, it.variant, it.target, it.metric, it.value
            )),
            None => Ok(()),
        }
    }
}

impl Visit<'_> {
    /// The process that is measured.
    pub fn process(&self) -> Option<&Process> {
        self.running.process.as_ref()
    }

    /// Where clients get in by TLS.
    pub fn secure(&self, certificate: &Certificate, handshakes: Handshakes) -> Result<Entrance> {
        let address = self.running.secure_address;
        let address = address.ok_or_else(|| Fault("it does not speak TLS".to_owned()))?;
        Ok(Entrance { address, tls: Some(Speech::with(&certificate.chain, handshakes)?) })
    }
}

/// A line for whoever waits.
pub fn progress(line: &str) {
    // Who does not listen misses nothing but this.
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_round_visits_all_targets_and_begins_with_another() {
        let orders: Vec<Vec<Rival>> = (1..=5).map(|round| in_turn(&rivals::ALL, round)).collect();
        for order in &orders {
            assert_eq!(order[0], Rival::Direct);
            assert!(rivals::ALL.iter().all(|rival| order.contains(rival)), "{order:?}");
            assert_eq!(order.len(), rivals::ALL.len());
        }
        let seconds: BTreeSet<&str> = orders.iter().map(|order| order[1].name()).collect();
        assert_eq!(seconds.len(), orders.len());
        assert!(in_turn(&[], 1).is_empty());
        assert_eq!(in_turn(&[Rival::Flowgate], 4), [Rival::Flowgate]);
    }
}
