//! All providers, as one: which it is, the tenant's instance says.

use super::contract::{Condition, Due, Order, RunningRuntime, RuntimeProvider, StartFault};
use super::kubernetes::{self, Cluster};
use super::place::Place;
use super::process::{self, Processes};
use crate::clock::UnixMillis;
use crate::tenant::{Provider, TenantId};

/// All providers.
#[derive(Debug)]
pub struct Providers {
    processes: Processes,
    cluster: Option<Cluster>,
}

/// A runtime of one of them.
#[allow(clippy::large_enum_variant, reason = "one for each runtime, which is larger by far")]
#[derive(Debug)]
pub enum Running {
    /// A process of this machine.
    Process(process::Running),
    /// A workload in Kubernetes.
    Kubernetes(kubernetes::Running),
}

impl Providers {
    /// These.
    #[must_use]
    pub fn new(processes: Processes, cluster: Option<Cluster>) -> Self {
        Self { processes, cluster }
    }

    /// Whether any of them can start something.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.processes.can_start() || self.cluster.is_some()
    }
}

impl Providers {
    /// Where one that is ready is at this moment, as far as that is known here; `None` if it is on its way
    /// to another address.
    pub(super) fn where_now(
        &self,
        provider: Provider,
        tenant: TenantId,
        place: Place,
    ) -> Option<Place> {
        match (provider, &self.cluster) {
            (Provider::Kubernetes { .. }, Some(cluster)) => cluster.where_now(tenant, place),
            _ => Some(place),
        }
    }

    /// The same, and waits a little until that is known.
    pub(super) async fn where_soon(
        &self,
        provider: Provider,
        tenant: TenantId,
        place: Place,
    ) -> Option<Place> {
        match (provider, &self.cluster) {
            (Provider::Kubernetes { .. }, Some(cluster)) => cluster.where_soon(tenant, place).await,
            _ => Some(place),
        }
    }
}

impl RuntimeProvider for Providers {
    type Running = Running;

    async fn start(&self, order: &Order) -> Result<Running, StartFault> {
        match order.provider {
            Provider::Process { .. } => self.processes.start(order).await.map(Running::Process),
            Provider::Kubernetes { .. } => match &self.cluster {
                Some(cluster) => cluster.start(order).await.map(Running::Kubernetes),
                None => Err(StartFault::new(
                    "kubernetes_template is not set: nothing can be started there",
                )),
            },
            Provider::Static => Err(StartFault::new("it is somebody else's to start")),
        }
    }

    async fn condition(&self, order: &Order) -> Condition {
        match order.provider {
            Provider::Process { .. } => self.processes.condition(order).await,
            Provider::Kubernetes { .. } => match &self.cluster {
                Some(cluster) => cluster.condition(order).await,
                None => Condition::Down,
            },
            Provider::Static => Condition::Down,
        }
    }

    async fn log_tail(&self, order: &Order) -> Vec<u8> {
        match order.provider {
            Provider::Process { .. } => self.processes.log_tail(order).await,
            Provider::Kubernetes { .. } => match &self.cluster {
                Some(cluster) => cluster.log_tail(order).await,
                None => Vec::new(),
            },
            Provider::Static => Vec::new(),
        }
    }

    async fn left_running(&self) -> Vec<TenantId> {
        // Processes end with flowgate, and leave nothing that somebody would have to look after.
        match &self.cluster {
            Some(cluster) => cluster.left_running().await,
            None => Vec::new(),
        }
    }

    async fn kept(&self) -> Vec<TenantId> {
        match &self.cluster {
            Some(cluster) => cluster.kept().await,
            None => Vec::new(),
        }
    }

    fn needs_settling(&self, tenant: TenantId, due: Due) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.needs_settling(tenant, due))
    }

    async fn settle(&self, tenant: TenantId, due: Due, fence: u64, now: UnixMillis) {
        if let Some(cluster) = &self.cluster {
            cluster.settle(tenant, due, fence, now).await;
        }
    }
}

impl RunningRuntime for Running {
    fn place(&self) -> Place {
        match self {
            Self::Process(running) => running.place(),
            Self::Kubernetes(running) => running.place(),
        }
    }

    async fn log_tail(&self) -> Vec<u8> {
        match self {
            Self::Process(running) => running.log_tail().await,
            Self::Kubernetes(running) => running.log_tail().await,
        }
    }

    async fn ended(&mut self) -> String {
        match self {
            Self::Process(running) => running.ended().await,
            Self::Kubernetes(running) => running.ended().await,
        }
    }

    async fn stop(self) {
        match self {
            Self::Process(running) => running.stop().await,
            Self::Kubernetes(running) => running.stop().await,
        }
    }

    async fn leave(self) {
        match self {
            Self::Process(running) => running.leave().await,
            Self::Kubernetes(running) => running.leave().await,
        }
    }
}
