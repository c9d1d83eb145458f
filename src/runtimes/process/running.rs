//! A process that was ready.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{interval, sleep, timeout};

use super::super::answers;
use super::super::contract::{Order, RunningRuntime};
use super::super::kin;
use super::super::place::Place;
use super::folder::{Folder, Note};
use super::groups::Group;
use super::log::Log;
use super::ports::Port;
use super::spawner::Keeper;
use crate::own_network::Network;

/// Between two looks at a runtime that starts: so long do its callers wait in vain at most.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long the last words of one that has ended may take.
const LAST_WORDS_MAX: Duration = Duration::from_millis(200);
/// How long the end of one that is killed is waited for.
const KILL_MAX: Duration = Duration::from_secs(10);

/// A process that was ready. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    pub(super) address: SocketAddr,
    pub(super) network: Option<Network>,
    pub(super) keeper: Keeper,
    pub(super) folder: Folder,
    pub(super) note: Note,
    pub(super) log: Arc<Log>,
    pub(super) group: Option<Group>,
    pub(super) memory_bytes_max: Option<u64>,
    pub(super) stop_timeout: Duration,
    // Behind the keeper: a port is free once nobody listens there.
    pub(super) _port: Port,
    // The same: by it flowgates that see no process of ours know that we are there.
    pub(super) _held: File,
}

impl RunningRuntime for Running {
    fn place(&self) -> Place {
        let network = self.network.clone();
        let network = network.map(|network| (network, self.note.pid.unsigned_abs()));
        Place::local(self.address, network)
    }

    async fn log_tail(&self) -> Vec<u8> {
        self.log.tail()
    }

    async fn ended(&mut self) -> String {
        let ended = self.keeper.ended().await;
        tokio::select! {
            () = self.log.finished() => {}
            () = sleep(LAST_WORDS_MAX) => {}
        }
        match (self.group.as_ref().is_some_and(Group::was_out_of_memory), self.memory_bytes_max) {
            (true, Some(most)) => format!("it took more memory than its {most} bytes"),
            _ => how(ended),
        }
    }

    async fn stop(mut self) {
        self.keeper.signal(Signal::TERM);
        if timeout(self.stop_timeout, self.keeper.ended()).await.is_err() {
            tracing::warn!(address = %self.address, "a runtime did not end when told to; it is killed");
            self.keeper.signal(Signal::QUIT);
            if timeout(KILL_MAX, self.keeper.ended()).await.is_err() {
                // A process that waits for a device or a disk that hangs. The note stays: who starts it
                // next looks for it again.
                tracing::error!(address = %self.address, "a runtime cannot be killed; it is left to itself");
                return;
            }
        }
        if let Some(group) = &self.group {
            group.end().await;
        }
        self.folder.forget_this(&self.note);
    }

    async fn leave(self) {
        self.stop().await;
    }
}

impl Running {
    /// # Errors
    /// It has ended, or somebody else is where it should be.
    pub(super) async fn until_ready(
        &mut self,
        order: &Order,
        is_isolated: bool,
    ) -> Result<(), String> {
        let mut looks = interval(LOOK_EVERY);
        let (address, log) = (self.address, Arc::clone(&self.log));
        let pid = self.keeper.pid().unwrap_or_default();
        let network = &mut self.network;
        let answers = async {
            loop {
                looks.tick().await;
                if is_isolated && network.is_none() {
                    // It has not left ours yet, where anybody may be at that port.
                    *network = Network::of(pid).ok().flatten();
                    continue;
                }
                if log.said_ready()
                    && answers::answers(address, network.as_ref(), &order.probe_path).await
                {
                    return;
                }
            }
        };
        tokio::select! {
            ended = self.keeper.ended() => {
                // Its last words are on their way.
                let _ = timeout(LAST_WORDS_MAX, log.finished()).await;
                return Err(format!("it ended before it was ready: {}", how(ended)));
            }
            () = answers => {}
        }
        let is_its = is_isolated
            || tokio::task::spawn_blocking(move || kin::listens(pid, address.port()))
                .await
                .unwrap_or(false);
        match is_its {
            true => Ok(()),
            false => Err(format!("somebody else listens at {address}")),
        }
    }
}

/// How it ended, as its keeper tells it.
fn how(ended: io::Result<ExitStatus>) -> String {
    const SIGNALS_MAX: i32 = 64;
    match ended {
        Ok(status) => match status.code().map_or(0, |code| code - 128) {
            signal @ 1..=SIGNALS_MAX => ExitStatus::from_raw(signal).to_string(),
            _ => status.to_string(),
        },
        Err(error) => error.to_string(),
    }
}
