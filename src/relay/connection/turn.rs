//! A connection's turn on its thread.

use crate::clock::Millis;
use crate::plan::Budget;
use crate::relay::buffers::Pool;

/// The most bytes that one leg may bring in one turn, so that no connection starves the others.
pub const TURN_BYTES_MAX: usize = 256 * 1024;

/// What a turn needs from its thread.
#[derive(Debug)]
pub struct Turn<'a> {
    /// The present moment.
    pub now: Millis,
    /// The tenant's message budget, if the plan has one.
    pub budget: Option<&'a Budget>,
    /// [`crate::relay::pair::HOLD_BYTES_MAX`] + [`crate::relay::buffers::READ_BYTES_MAX`] bytes to read into.
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
