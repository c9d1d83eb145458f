//! A keeper: a process whose end is the end of all that its child has started, sessions of their own
//! included.

use std::io;
use std::process::Child;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use super::super::kin;

/// Rounds in which processes are found that others have started meanwhile.
const ROUNDS_MAX: usize = 1000;
/// Of one that was cut short.
const EXIT_CUT: u8 = 128 + 9;

/// What becomes of the others when the child has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// They are found and ended.
    End,
    /// The system ends them with us.
    EndsWithUs,
}

/// Starts a child and stays until it has ended: its exit code, and 128 and the signal's number if it was
/// a signal. TERM is passed on; QUIT ends everything at once.
pub(super) fn keep(start: impl FnOnce() -> io::Result<Child>, rest: Rest) -> io::Result<u8> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let mut term = signal(SignalKind::terminate())?;
        let mut quit = signal(SignalKind::quit())?;
        let mut ended = signal(SignalKind::child())?;
        let child = Pid::from_child(&start()?);
        let exit_code = loop {
            tokio::select! {
                biased;
                _ = quit.recv() => break EXIT_CUT,
                _ = term.recv() => {
                    // It may just have ended.
                    let _ = kill_process(child, Signal::TERM);
                }
                _ = ended.recv() => {
                    if let Some(status) = reap(child) {
                        break exit_code(status);
                    }
                }
            }
        };
        if rest == Rest::End {
            end_all();
        }
        Ok(exit_code)
    })
}

/// Takes note of all that has ended: how the child did, if it is among them.
fn reap(child: Pid) -> Option<WaitStatus> {
    let mut found = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == child {
            found = Some(status);
        }
    }
    found
}

/// Ends whatever descends from us. They are stopped before they are killed, so that none starts another
/// meanwhile.
fn end_all() {
    let ours = std::process::id();
    let mut stopped = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let all = kin::descendants(ours);
        let new: Vec<_> = all.iter().filter(|pid| !stopped.contains(*pid)).copied().collect();
        if new.is_empty() {
            break;
        }
        for pid in new {
            signal_to(pid, Signal::STOP);
            stopped.push(pid);
        }
    }
    for pid in kin::descendants(ours) {
        signal_to(pid, Signal::KILL);
    }
    // It fails when nobody is left. Whose parent has died meanwhile has become our child.
    for _ in 0..ROUNDS_MAX {
        for pid in kin::descendants(ours) {
            signal_to(pid, Signal::KILL);
        }
        if wait(WaitOptions::empty()).is_err() {
            break;
        }
    }
}

fn signal_to(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may just have ended.
        let _ = kill_process(pid, signal);
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}
