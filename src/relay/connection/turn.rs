//! A connection's turn on its thread.

use crate::clock::Millis;
use crate::plan::Accounts;
use crate::relay::buffers::{Pool, READ_BYTES_MAX};

/// The most bytes that one leg may bring in one turn: one read, so that no connection starves the others.
/// Large messages cost less so, too, than with several reads in a row: meanwhile their senders go on.
pub const TURN_BYTES_MAX: usize = READ_BYTES_MAX;

/// What a turn needs from its thread.
#[derive(Debug)]
pub struct Turn<'a> {
    /// The present moment.
    pub now: Millis,
    /// What plans have left for its messages; see [`Accounts::for_messages`].
    pub accounts: Accounts<'a>,
    /// [`crate::relay::pair::HOLD_BYTES_MAX`] + [`READ_BYTES_MAX`] bytes to read into.
    pub scratch: &'a mut [u8],
    /// Buffers to borrow.
    pub pool: Pool<'a>,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to do before the next event.
    Idle,
    /// It has had its share; there is more to do.
    Again,
    /// Both legs are done: drop it.
    Over,
}
