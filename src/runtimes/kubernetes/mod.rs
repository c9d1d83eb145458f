//! The provider `kubernetes`: each runtime is a StatefulSet of one pod at most, with a headless Service and
//! a volume that outlives it. It is reached at the address of its pod.
//!
//! What is made comes from the operator's template. Objects are written by server-side apply, under
//! one field manager; what they are like is known from one watch per kind, so that nobody who calls a
//! runtime asks the API server anything. Runtimes live longer than the flowgate that started them.

mod settings;

pub use settings::{KubernetesSettings, Label, LabelPair};

#[cfg(feature = "kubernetes")]
mod api;
#[cfg(feature = "kubernetes")]
mod claim;
#[cfg(feature = "kubernetes")]
mod cluster;
#[cfg(feature = "kubernetes")]
mod election;
#[cfg(feature = "kubernetes")]
mod names;
#[cfg(feature = "kubernetes")]
mod objects;
#[cfg(feature = "kubernetes")]
mod ready_line;
#[cfg(feature = "kubernetes")]
mod running;
#[cfg(feature = "kubernetes")]
mod seen;
#[cfg(feature = "kubernetes")]
mod start;
#[cfg(feature = "kubernetes")]
mod template;
#[cfg(feature = "kubernetes")]
mod watched;
#[cfg(feature = "kubernetes")]
pub use cluster::Cluster;
#[cfg(feature = "kubernetes")]
pub use running::Running;

#[cfg(not(feature = "kubernetes"))]
mod absent;
#[cfg(not(feature = "kubernetes"))]
pub use absent::{Cluster, Running};

#[cfg(feature = "kubernetes")]
#[cfg(test)]
mod tests;
