//! A build without Kubernetes: there is nothing that could be asked.

use super::KubernetesSettings;
use crate::clock::UnixMillis;
use crate::runtimes::contract::{
    Condition, Due, Order, RunningRuntime, RuntimeProvider, StartFault,
};
use crate::runtimes::place::Place;
use crate::tenant::TenantId;

/// There is none.
#[derive(Debug)]
pub enum Cluster {}

/// There is none.
#[derive(Debug)]
pub enum Running {}

impl KubernetesSettings {
    /// # Errors
    /// Something is to be run there.
    pub fn check(&self) -> Result<(), String> {
        match self.template {
            None => Ok(()),
            Some(_) => {
                Err("kubernetes_template: this flowgate was built without Kubernetes".to_owned())
            }
        }
    }
}

impl Cluster {
    /// `None`: nothing is run there.
    ///
    /// # Errors
    /// As [`KubernetesSettings::check`].
    pub async fn open(settings: KubernetesSettings, _: &str) -> Result<Option<Self>, String> {
        settings.check().map(|()| None)
    }

    pub(in crate::runtimes) fn where_now(&self, _: TenantId, _: Place) -> Option<Place> {
        match *self {}
    }

    pub(in crate::runtimes) async fn where_soon(&self, _: TenantId, _: Place) -> Option<Place> {
        match *self {}
    }
}

impl RuntimeProvider for Cluster {
    type Running = Running;

    async fn start(&self, _: &Order) -> Result<Running, StartFault> {
        match *self {}
    }

    async fn condition(&self, _: &Order) -> Condition {
        match *self {}
    }

    async fn log_tail(&self, _: &Order) -> Vec<u8> {
        match *self {}
    }

    async fn left_running(&self) -> Vec<TenantId> {
        match *self {}
    }

    async fn kept(&self) -> Vec<TenantId> {
        match *self {}
    }

    async fn settle(&self, _: TenantId, _: Due, _: u64, _: UnixMillis) {
        match *self {}
    }
}

impl RunningRuntime for Running {
    fn place(&self) -> Place {
        match *self {}
    }

    async fn log_tail(&self) -> Vec<u8> {
        match *self {}
    }

    async fn ended(&mut self) -> String {
        match *self {}
    }

    async fn stop(self) {
        match self {}
    }

    async fn leave(self) {
        match self {}
    }
}
