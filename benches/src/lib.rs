//! What `flowgate-bench`, which measures, and `flowgate-chaos`, which breaks, have in common.

pub mod clock;
pub mod fault;
pub mod machine;
pub mod ports;
pub mod websocket;
