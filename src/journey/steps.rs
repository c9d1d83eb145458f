//! The moments of a handshake between which a revocation can come. Tests hold a handshake at one of
//! them; elsewhere passing one costs nothing.

/// A moment that a handshake has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The credential was checked; nothing knows of the handshake yet.
    Admitted,
    /// It is in the live table.
    Entered,
    /// The tenant was read again, and the grant held.
    Confirmed,
    /// The runtime has switched protocols; the client has not been told.
    Answered,
    /// The client has been told; the relay has not got the sockets yet.
    Switched,
}

#[cfg(not(test))]
impl super::Journey {
    #[expect(clippy::unused_async, reason = "in tests it waits")]
    pub(super) async fn reach(&self, _: Step) {}

    /// On a thread that is no runtime's.
    pub(super) fn reach_at_once(&self, _: Step) {}
}

#[cfg(test)]
pub use held::Gate;

#[cfg(test)]
mod held {
    use std::sync::{Arc, Mutex};

    use tokio::sync::Notify;

    use super::Step;

    /// Holds handshakes at one step.
    #[derive(Debug, Default)]
    pub struct Gate {
        step: Mutex<Option<Step>>,
        reached: Notify,
        opened: Notify,
    }

    impl Gate {
        /// From now on the next handshake is held there.
        pub fn hold_at(&self, step: Step) {
            *self.step.lock().unwrap() = Some(step);
        }

        /// Waits until one is held.
        pub async fn reached(&self) {
            self.reached.notified().await;
        }

        /// Lets it go on.
        pub fn open(&self) {
            self.opened.notify_one();
        }
    }

    impl super::super::Journey {
        pub(in super::super) fn reach_at_once(&self, step: Step) {
            tokio::runtime::Handle::current().block_on(self.reach(step));
        }

        pub(in super::super) async fn reach(&self, step: Step) {
            let gate = Arc::clone(&self.gate);
            let is_held = gate.step.lock().unwrap().take_if(|held| *held == step).is_some();
            if is_held {
                gate.reached.notify_one();
                gate.opened.notified().await;
            }
        }
    }
}
