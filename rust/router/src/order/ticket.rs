//! What the order knows of a request.

use super::deadline::Deadline;

/// A request that waits. Times are in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    /// Its name: unique, and increasing with the time of `add`.
    pub arrival: u64,
    pub added_ns: u64,
    /// Lower goes first.
    pub priority: i32,
    /// When the first token should be there.
    pub deadline: Option<u64>,
    pub tenant: u64,
    /// Prompt tokens to compute.
    pub tokens: u32,
    /// Requests of the same group share an uncached prefix.
    pub group: Option<u64>,
    /// It ran before, and gave its pages to another.
    pub resumes: bool,
}

/// Place among the requests of one tenant on one level; the lowest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Second of the deadline.
    pub due_s: u64,
    /// Arrival of the member that made the prefix group; without a group, its own.
    pub rank: u64,
    pub arrival: u64,
}

/// A ticket in the order.
#[derive(Debug)]
pub(super) struct Entry {
    pub ticket: Ticket,
    /// Priority, less the ages that it has waited.
    pub level: i32,
    pub place: Place,
    pub deadline: Deadline,
    /// When its age is looked at next.
    pub look_ns: u64,
    /// Requests that were taken while this one was passed over.
    pub passed: u32,
}
