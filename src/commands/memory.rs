//! Passwords and keys pass through this process's memory: nobody gets a picture of it.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Leaves no core dump behind, and lets no other process of the same user (a tenant's runtime, where
/// they are not apart) look into this one.
pub(super) fn keep_private() {
    // One byte, not none: a dump that goes to a program by a pipe is not kept back by none (core(5)).
    // Too short for any dump, it keeps back those that go to files as well.
    let one = Rlimit { current: Some(1), maximum: Some(1) };
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let limited = setrlimit(Resource::Core, one).or_else(|_| setrlimit(Resource::Core, none));
    let closed = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // Before there is a log; a system that knows neither has no such pictures.
    let _ = (limited, closed);
}
