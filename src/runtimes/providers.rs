//! All providers, as one: which it is, the tenant's instance says.

use super::contract::{Condition, Order, RunningRuntime, RuntimeProvider, StartFault};
use super::place::Place;
use super::process::{self, Processes};
use crate::tenant::{Provider, TenantId};

/// All providers.
#[derive(Debug)]
pub struct Providers {
    processes: Processes,
}

/// A runtime of one of them.
#[derive(Debug)]
pub enum Running {
    /// A process of this machine.
    Process(process::Running),
}

impl Providers {
    /// These.
    #[must_use]
    pub fn new(processes: Processes) -> Self {
        Self { processes }
    }

    /// Whether any of them can start something.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.processes.can_start()
    }
}

impl RuntimeProvider for Providers {
    type Running = Running;

    async fn start(&self, order: &Order) -> Result<Running, StartFault> {
        match order.provider {
            Provider::Process { .. } => self.processes.start(order).await.map(Running::Process),
            Provider::Static => Err(StartFault::new("it is somebody else's to start")),
        }
    }

    async fn condition(&self, order: &Order) -> Condition {
        match order.provider {
            Provider::Process { .. } => self.processes.condition(order).await,
            Provider::Static => Condition::Down,
        }
    }

    async fn log_tail(&self, order: &Order) -> Vec<u8> {
        match order.provider {
            Provider::Process { .. } => self.processes.log_tail(order).await,
            Provider::Static => Vec::new(),
        }
    }

    async fn left_running(&self) -> Vec<TenantId> {
        self.processes.left_running().await
    }
}

impl RunningRuntime for Running {
    fn place(&self) -> Place {
        match self {
            Self::Process(running) => running.place(),
        }
    }

    async fn log_tail(&self) -> Vec<u8> {
        match self {
            Self::Process(running) => running.log_tail().await,
        }
    }

    async fn ended(&mut self) -> String {
        match self {
            Self::Process(running) => running.ended().await,
        }
    }

    async fn stop(self) {
        match self {
            Self::Process(running) => running.stop().await,
        }
    }

    async fn leave(self) {
        match self {
            Self::Process(running) => running.leave().await,
        }
    }
}
