//! One run: the cases, the rounds, the targets in turn.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cases::{ALL as CASES, Case, Start};
use crate::clock::now;
use crate::fault::{During, Fault, Result, fault};
use crate::load::{Load, PATIENCE, Tally};
use crate::machine;
use crate::process::{Ports, Process};
use crate::results::{Reading, Results};
use crate::rivals::{self, Rival, Running, Site, Tools};
use crate::tenants::Tenants;

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
    /// The programs.
    pub tools: Tools,
}

/// How much of everything.
#[derive(Clone, Copy)]
pub struct Scale {
    /// How often each is measured.
    pub rounds: usize,
    /// Load before measuring.
    pub warm_up: Duration,
    /// Load while measuring.
    pub time: Duration,
    /// Connections where many are wanted.
    pub many: usize,
    /// Connections where a thousand are wanted.
    pub thousand: usize,
    /// Tenants to check.
    pub tenants: usize,
    /// Bytes of a large body.
    pub large_bytes: u64,
    /// Numbers of tenants to grow to.
    pub growth: &'static [usize],
}

const FULL: Scale = Scale {
    rounds: 5,
    warm_up: Duration::from_millis(500),
    time: Duration::from_secs(2),
    many: 9_000,
    thousand: 1_000,
    tenants: 100_000,
    large_bytes: 100 << 20,
    growth: &[10, 1_000, 100_000, 1_000_000],
};

const QUICK: Scale = Scale {
    rounds: 1,
    warm_up: Duration::from_millis(50),
    time: Duration::from_millis(150),
    many: 300,
    thousand: 100,
    tenants: 1_000,
    large_bytes: 4 << 20,
    growth: &[10, 1_000],
};

/// A run.
pub struct Bench {
    /// How much of everything.
    pub scale: Scale,
    /// The programs.
    pub tools: Tools,
    /// The tenants of most cases.
    pub tenants: Tenants,
    /// The runtime's address.
    pub runtime_address: SocketAddr,
    /// Where ports come from.
    pub ports: Ports,
    /// For files.
    pub folder: PathBuf,
    /// What `direct` gave in this round, for what is told as a difference to it.
    pub direct: BTreeMap<String, f64>,
    runtime: Process,
    results: Results,
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

/// A measured stretch of load.
pub struct Sample {
    /// What was done.
    pub tally: Tally,
    /// The CPU time of the proxy.
    pub proxy_cpu: Option<Duration>,
    generator_cpu: Duration,
    runtime_cpu: Duration,
}

/// Runs what is wanted.
pub fn run(options: Options) -> Result<Results> {
    let begin = now();
    let scale = if options.quick { QUICK } else { FULL };
    let scale = Scale { rounds: options.rounds.unwrap_or(scale.rounds), ..scale };
    let cases = select(&CASES, &options.cases, |case| case.name, "case")?;
    let wanted = select(&rivals::ALL, &options.targets, |rival| rival.name(), "target")?;
    let mut bench = Bench::new(options, scale)?;
    let targets = bench.installed(wanted);
    for case in cases {
        bench.run_case(&case, &targets);
    }
    bench.runtime.check()?;
    bench.results.seconds = begin.elapsed().as_secs();
    Ok(bench.results)
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

impl Bench {
    fn new(options: Options, scale: Scale) -> Result<Self> {
        let folder = options.folder.join(format!("run-{}", std::process::id()));
        std::fs::create_dir_all(&folder).during("a folder for the run")?;
        // Rivals take paths for relative to where they please.
        let folder = folder.canonicalize().during("the folder for the run")?;
        let mut ports = Ports::default();
        let runtime_address = ports.next()?;
        let runtime = rivals::start_runtime(&options.tools, runtime_address, &folder)?;
        let begun = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let is_busy = machine::is_busy();
        if is_busy {
            progress(
                "The machine is busy with something else: the figures will tell of that, too.",
            );
        }
        let results = Results {
            quick: options.quick,
            begun,
            rounds: scale.rounds,
            is_busy,
            machine: machine::description(),
            ..Results::default()
        };
        let tenants = Tenants::new(folder.join("tenants"), scale.tenants, runtime_address)?;
        Ok(Self {
            scale,
            tools: options.tools,
            tenants,
            runtime_address,
            ports,
            folder,
            direct: BTreeMap::new(),
            runtime,
            results,
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

    fn run_case(&mut self, case: &Case, targets: &[Rival]) {
        let is_wanted = |rival: &Rival| {
            let is_spared = self.results.quick && !case.is_first && !rivals::QUICK.contains(rival);
            (case.suits)(*rival) && !is_spared
        };
        let targets: Vec<Rival> = targets.iter().copied().filter(is_wanted).collect();
        let mut failed: Vec<Rival> = Vec::new();
        for round in 1..=self.scale.rounds {
            self.direct.clear();
            for rival in &targets {
                if failed.contains(rival) {
                    continue;
                }
                let begin = now();
                let outcome = self.visit(case, *rival);
                let what = format!("{} {round}/{} {}", case.name, self.scale.rounds, rival.name());
                match outcome {
                    Ok(()) => progress(&format!("{what}: {:.1} s", begin.elapsed().as_secs_f64())),
                    Err(why) => {
                        progress(&format!("{what}: FAILED: {why}"));
                        self.results.faults.push(format!("{what}: {why}"));
                        failed.push(*rival);
                    }
                }
            }
        }
        if let Err(why) = self.check_case(case, &targets) {
            progress(&format!("{}: FAILED: {why}", case.name));
            self.results.faults.push(why.0);
        }
    }

    fn visit(&mut self, case: &Case, rival: Rival) -> Result<()> {
        let folder = self.folder.join(format!("{}-{}", case.name, rival.name()));
        std::fs::create_dir_all(&folder).during("a folder")?;
        let mut running = match case.start {
            Start::Itself => Running { address: self.runtime_address, process: None },
            Start::Relaying | Start::Checking => {
                let site = Site {
                    folder: &folder,
                    listen: self.ports.next()?,
                    spare: self.ports.next()?,
                    runtime: self.runtime_address,
                    tenants: &self.tenants,
                    checks: case.start == Start::Checking,
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

    /// Loads a target, first without and then with measuring. On a machine that has no time for us, goes
    /// on until there is something to tell.
    pub fn measure(&self, load: &mut dyn Load, process: Option<&Process>) -> Result<Sample> {
        load.drive(self.scale.warm_up)?;
        let cpu =
            || [process.map_or(0, Process::cpu_ns), machine::own_cpu_ns(), self.runtime.cpu_ns()];
        let before = cpu();
        let mut tally = load.drive(self.scale.time)?;
        let mut after = cpu();
        let is_over = |tally: &Tally, after: &[u64; 3]| {
            let is_something = tally.operations > 0 && (process.is_none() || after[0] > before[0]);
            is_something || tally.time > self.scale.time + PATIENCE
        };
        while !is_over(&tally, &after) {
            tally.add(&load.drive(self.scale.warm_up)?);
            after = cpu();
        }
        if tally.operations == 0 {
            return fault("nothing came back");
        }
        let span = |index: usize| Duration::from_nanos(after[index].saturating_sub(before[index]));
        Ok(Sample {
            tally,
            proxy_cpu: process.map(|_| span(0)),
            generator_cpu: span(1),
            runtime_cpu: span(2),
        })
    }

    /// Keeps a figure.
    pub fn keep(&mut self, visit: &Visit, variant: &str, metric: &str, value: f64) {
        self.results.readings.push(Reading {
            case: visit.case.name.to_owned(),
            variant: variant.to_owned(),
            target: visit.rival.name().to_owned(),
            metric: metric.to_owned(),
            value,
        });
    }

    /// Keeps the usual figures of a sample: CPU time of the proxy per operation, operations per second,
    /// and who was busy.
    pub fn keep_sample(&mut self, visit: &Visit, variant: &str, what: &str, sample: &Sample) {
        let operations = sample.tally.operations as f64;
        self.keep_rate(visit, variant, what, operations, sample);
    }

    /// The same for something else than operations.
    pub fn keep_rate(
        &mut self,
        visit: &Visit,
        variant: &str,
        what: &str,
        amount: f64,
        sample: &Sample,
    ) {
        let seconds = sample.tally.time.as_secs_f64();
        if let Some(cpu) = sample.proxy_cpu {
            self.keep(visit, variant, &format!("CPU µs/{what}"), cpu.as_secs_f64() * 1e6 / amount);
        }
        self.keep(visit, variant, &format!("{what}s/s"), amount / seconds);
        let share = |cpu: Duration| 100.0 * cpu.as_secs_f64() / seconds;
        if let Some(cpu) = sample.proxy_cpu {
            self.keep(visit, variant, "proxy busy %", share(cpu));
        }
        self.keep(visit, variant, "generator busy %", share(sample.generator_cpu));
        self.keep(visit, variant, "runtime busy %", share(sample.runtime_cpu));
    }
}

impl Visit<'_> {
    /// The process that is measured.
    pub fn process(&self) -> Option<&Process> {
        self.running.process.as_ref()
    }
}

/// A line for whoever waits.
pub fn progress(line: &str) {
    // Who does not listen misses nothing but this.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Writes results as JSON.
pub fn save(results: &Results, path: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(results)?;
    std::fs::write(path, text + "\n").during("the results")
}

/// Reads what [`save`] wrote.
pub fn load(path: &Path) -> Result<Results> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Fault(format!("{}: {error}", path.display())))?;
    serde_json::from_str(&text).during("the results")
}
