//! What the system's scheduler is told of our threads, so that who waits for a frame does not wait
//! for somebody's handshake or password.
//!
//! Linux lets whoever has a core finish a slice, of 1.4 ms or more, before another thread of the same
//! importance has its turn, even one that has just been woken; and it looks for slices' ends at the ticks
//! of its clock alone, every 4 ms with 250 Hz. Threads that relay ask for slices of 0.1 ms instead:
//! that is no more of the core, but sooner (EEVDF since kernel 6.12: who is woken and asks for less at a
//! time goes first, unless it has had more than its share). That is looked at when somebody is woken, and
//! not again: threads that calculate for long without waiting do so [`in_stints`].

use std::cell::Cell;

/// Of threads that relay: the least that the kernel takes.
const SLICE_NS: u64 = 100_000;

/// What a thread calculates for handshakes before it steps back. Others who want the core get the rest of
/// its slice for that (Linux 6.18), so it should not be too little.
pub const HANDSHAKE_STINT_MICROS: u64 = 250;
/// The same for passwords. On a core that is busy throughout, whoever steps back has its next turn a tick
/// later: a login takes a quarter as long again there, and with half of this half as long.
pub const PASSWORD_STINT_MICROS: u64 = 500;
/// A stint of [`PASSWORD_STINT_MICROS`], with the piece that ends it, and what else the kernel counts.
const STINT_SLICE_NS: u64 = 650_000;

thread_local! {
    /// Calculated since this thread stepped back last.
    static STINT_SO_FAR_MICROS: Cell<u64> = const { Cell::new(0) };
}

/// Asks for short slices for the calling thread, once and for all. Kernels before 6.12 take no notice,
/// and where the system does not allow it (a filter of system calls), the thread goes on as before.
pub fn react_quickly() {
    ask_for_slices(SLICE_NS);
}

/// Asks for slices that are hardly longer than a stint, for a thread that does nothing but check passwords
/// [`in_stints`]: it loses what is left of its slice each time that it steps back.
pub fn prepare_for_stints() {
    ask_for_slices(STINT_SLICE_NS);
}

fn ask_for_slices(slice_ns: u64) {
    if let Err(error) = system::set_slice(slice_ns) {
        tracing::debug!(%error, slice_ns, "the system gives no slices of this length");
    }
}

/// Does a piece of work that waits for nothing. Whoever has done a stint of such work lets those go first
/// who wait for this core; without any it goes on at once.
pub fn in_stints<T>(stint_micros: u64, work: impl FnOnce() -> T) -> T {
    let before = spent_micros();
    let done = work();
    let so_far = STINT_SO_FAR_MICROS.get() + spent_micros().saturating_sub(before);
    let is_over = so_far >= stint_micros;
    STINT_SO_FAR_MICROS.set(if is_over { 0 } else { so_far });
    if is_over {
        rustix::thread::sched_yield();
    }
    done
}

/// The time that the calling thread has had on a core so far, in microseconds.
#[must_use]
pub fn spent_micros() -> u64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let whole = |part: i64| u64::try_from(part).unwrap_or_default();
    whole(spent.tv_sec) * 1_000_000 + whole(spent.tv_nsec) / 1000
}

/// The one system call that we need and no crate offers.
#[expect(unsafe_code, reason = "neither rustix nor nix has sched_setattr(2)")]
mod system {
    use std::io;

    use libc::sched_attr;

    const THIS_THREAD: libc::pid_t = 0;
    const NO_FLAGS: libc::c_uint = 0;
    const SIZE: u32 = size_of::<sched_attr>() as u32;

    /// Changes nothing else: a thread that somebody has given other rules keeps them. Threads that it
    /// starts get the usual slices again.
    pub(super) fn set_slice(slice_ns: u64) -> io::Result<()> {
        let mut attributes = get()?;
        let shares_fairly = [libc::SCHED_OTHER, libc::SCHED_BATCH].map(libc::c_int::cast_unsigned);
        if !shares_fairly.contains(&attributes.sched_policy) {
            return Ok(());
        }
        attributes.sched_runtime = slice_ns;
        attributes.sched_flags |= libc::SCHED_FLAG_RESET_ON_FORK.cast_unsigned() as u64;
        let place = &raw const attributes;
        // SAFETY: the kernel reads the struct's own bytes, as many as it says, before the call returns.
        outcome(unsafe { libc::syscall(libc::SYS_sched_setattr, THIS_THREAD, place, NO_FLAGS) })
    }

    /// What holds for the calling thread.
    pub(super) fn get() -> io::Result<sched_attr> {
        let mut attributes = sched_attr {
            size: SIZE,
            sched_policy: 0,
            sched_flags: 0,
            sched_nice: 0,
            sched_priority: 0,
            sched_runtime: 0,
            sched_deadline: 0,
            sched_period: 0,
        };
        let place = &raw mut attributes;
        // SAFETY: the kernel writes at most SIZE bytes, which are the struct's own, before the call
        // returns; its fields are numbers, for which all bytes are valid.
        outcome(unsafe {
            libc::syscall(libc::SYS_sched_getattr, THIS_THREAD, place, SIZE, NO_FLAGS)
        })?;
        Ok(attributes)
    }

    fn outcome(result: libc::c_long) -> io::Result<()> {
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gets_the_slices_that_it_asks_for_and_nothing_else_changes() {
        let thread = std::thread::spawn(|| {
            rustix::process::setpriority_process(None, 3).unwrap();
            let before = system::get().unwrap();
            react_quickly();
            let started = std::thread::spawn(|| system::get().unwrap()).join().unwrap();
            let after = system::get().unwrap();
            prepare_for_stints();
            (before, after, started, system::get().unwrap())
        });
        let (before, after, started, in_stints) = thread.join().unwrap();
        // Kernels before 6.12 say nothing of slices.
        assert!([SLICE_NS, 0].contains(&after.sched_runtime), "{}", after.sched_runtime);
        assert_eq!((after.sched_policy, after.sched_nice), (before.sched_policy, 3));
        assert_ne!(started.sched_runtime, SLICE_NS, "a thread that it starts has the usual slices");
        assert_eq!(started.sched_nice, 3);
        assert!([STINT_SLICE_NS, 0].contains(&in_stints.sched_runtime));
        assert_eq!((in_stints.sched_policy, in_stints.sched_nice), (before.sched_policy, 3));
    }

    #[test]
    fn a_stint_is_summed_up_over_pieces_and_ends_by_stepping_back() {
        let thread = std::thread::spawn(|| {
            let piece = |micros| {
                let since = spent_micros();
                in_stints(HANDSHAKE_STINT_MICROS, || while spent_micros() < since + micros {});
                STINT_SO_FAR_MICROS.get()
            };
            [piece(HANDSHAKE_STINT_MICROS / 5), piece(HANDSHAKE_STINT_MICROS)]
        });
        let [after_a_part, after_all] = thread.join().unwrap();
        assert!(after_a_part == 0 || after_a_part >= HANDSHAKE_STINT_MICROS / 5, "{after_a_part}");
        assert_eq!(after_all, 0);
    }
}
