//! A fixed rate, kept by a timer of the kernel: a readiness loop's own timeout knows milliseconds only.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token, event::Source};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::clock::now;
use crate::fault::{During, Result};

/// The timer rings at most this often.
const RING_MIN: Duration = Duration::from_micros(50);

/// Tells which messages are due. A message is due when it is, not when it could be sent: what waits
/// behind a stall counts as late.
pub struct Pace {
    timer: OwnedFd,
    begun: Instant,
    per_second: u32,
    sent: u64,
}

impl Pace {
    /// Begins now.
    pub fn start(per_second: u32) -> Result<Self> {
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )
        .during("a timer")?;
        let interval = (Duration::from_secs(1) / per_second).max(RING_MIN);
        let interval = Timespec {
            tv_sec: interval.as_secs() as i64,
            tv_nsec: i64::from(interval.subsec_nanos()),
        };
        let rings = Itimerspec { it_interval: interval, it_value: interval };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &rings).during("a timer")?;
        Ok(Self { timer, begun: now(), per_second, sent: 0 })
    }

    /// The rate.
    pub fn per_second(&self) -> u64 {
        u64::from(self.per_second)
    }

    /// The messages that are due by now, with their numbers.
    pub fn due(&mut self) -> Result<impl Iterator<Item = (u64, Instant)> + use<>> {
        // Only so that it can ring again; how often it rang does not matter.
        let mut rings = [0; 8];
        match rustix::io::read(&self.timer, &mut rings) {
            Ok(_) | Err(rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(error).during("a timer"),
        }
        // The first is due at the very beginning.
        let due = 1 + (self.begun.elapsed().as_secs_f64() * f64::from(self.per_second)) as u64;
        let (begun, first, per_second) = (self.begun, self.sent, f64::from(self.per_second));
        self.sent = due.max(first);
        Ok((first..due).map(move |number| {
            (number, begun + Duration::from_secs_f64(number as f64 / per_second))
        }))
    }
}

impl Source for Pace {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        SourceFd(&self.timer.as_raw_fd()).register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        SourceFd(&self.timer.as_raw_fd()).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.timer.as_raw_fd()).deregister(registry)
    }
}
