//! The relay of one connection, against simulated wires and a model.

mod backpressure;
mod bench;
mod closing;
mod conversation;
mod endings;
mod every_cut;
mod invalid;
mod memory;
mod model;
mod patience;
mod pings;
mod plans;
mod runtime_pings;
mod sealed;
mod sim;
mod tls;
mod tokio_driver;
