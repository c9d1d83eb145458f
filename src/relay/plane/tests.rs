//! The relay plane for real: threads, sockets, the live table.

mod adopting;
mod closing;
mod cluster;
mod relaying;
