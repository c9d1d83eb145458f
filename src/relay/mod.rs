//! The relay plane: once both handshakes are done, frames travel here and nowhere else.
//!
//! From pure to real: [`walk`] reads frame headers, [`pair`] decides about one connection,
//! [`connection`] moves its bytes, [`wire`] is its sockets, [`tls`] what is spoken on some, [`plane`] runs many of them on a few
//! threads. [`control`] writes the frames of our own, [`buffers`] are one thread's memory.

pub mod buffers;
pub mod connection;
pub mod control;
pub mod counts;
#[cfg(test)]
mod frames;
pub mod pair;
pub mod plane;
mod thread;
pub mod tls;
pub mod walk;
pub mod wire;
