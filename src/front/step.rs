//! How a conversation goes on.

/// How a turn ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Nothing to do before the next event.
    Idle,
    /// It has had its share; there is more to do.
    Again,
    /// Drop it.
    Over,
    /// Hand it over, with what was read.
    HandOver(Vec<u8>),
    /// Both sides have switched protocols.
    Adopt,
}

/// What a step leads to.
pub(super) enum Step {
    /// Another step.
    On,
    /// An event.
    Wait,
    /// The end of the turn.
    End(Outcome),
}
