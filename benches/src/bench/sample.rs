//! A stretch of load: measured, and kept as figures.

use std::time::Duration;

use super::{Bench, Visit};
use crate::fault::{Result, fault};
use crate::load::{Load, PATIENCE, Tally};
use crate::machine;
use crate::process::Process;
use crate::results::Reading;

/// A measured stretch of load.
pub struct Sample {
    /// What was done.
    pub tally: Tally,
    /// The CPU time of the proxy.
    pub proxy_cpu: Option<Duration>,
    generator_cpu: Duration,
    runtime_cpu: Duration,
}

impl Bench {
    /// Loads a target, first without and then with measuring. On a machine that has no time for us, goes
    /// on until there is something to tell.
    pub fn measure(&self, load: &mut dyn Load, process: Option<&Process>) -> Result<Sample> {
        self.measure_for(self.scale.time, load, process)
    }

    /// The same for another time.
    pub fn measure_for(
        &self,
        time: Duration,
        load: &mut dyn Load,
        process: Option<&Process>,
    ) -> Result<Sample> {
        load.drive(self.scale.warm_up)?;
        let cpu =
            || [process.map_or(0, Process::cpu_ns), machine::own_cpu_ns(), self.runtime.cpu_ns()];
        let before = cpu();
        let mut tally = load.drive(time)?;
        let mut after = cpu();
        let is_over = |tally: &Tally, after: &[u64; 3]| {
            let is_something = tally.operations > 0 && (process.is_none() || after[0] > before[0]);
            is_something || tally.time > time + PATIENCE
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
