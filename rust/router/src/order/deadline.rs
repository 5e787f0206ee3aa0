//! Deadlines: earliest feasible first.

use std::collections::BTreeSet;

use super::{OrderConfig, Ticket};

/// Within this time a request without a deadline should be served, and also one that missed its deadline or was given
/// a later one: by then all that come after it go behind it, so that nothing starves.
const PATIENCE_NS: u64 = 60_000_000_000;

/// Deadlines of the same second are equal, so that prefix groups stay together.
const BUCKET_NS: u64 = 1_000_000_000;

/// When one request should have its first token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadline {
    /// What the client or the operator asked for. None if nobody did, or if the request had its first token already.
    wanted: Option<u64>,
    patience: u64,
    /// Prompt tokens to compute, as of the last look.
    tokens: u64,
    missed: bool,
    /// Latest start that still makes it, as of the last look. It is what the request is filed under.
    start_ns: u64,
}

impl Deadline {
    fn new(ticket: &Ticket, config: &OrderConfig) -> Self {
        let target = (config.ttft_target_ns > 0).then(|| ticket.added_ns.saturating_add(config.ttft_target_ns));
        Self {
            wanted: ticket.deadline.or(target).filter(|_| !ticket.resumes),
            patience: ticket.added_ns.saturating_add(PATIENCE_NS),
            tokens: ticket.tokens.into(),
            missed: false,
            start_ns: 0,
        }
    }

    /// Whether it can still be missed, and must be watched.
    pub fn is_watched(&self) -> bool {
        self.wanted.is_some() && !self.missed
    }

    fn set_start(&mut self, ns_per_token: u64) {
        let wanted = self.wanted.unwrap_or(u64::MAX);
        self.start_ns = wanted.saturating_sub(self.tokens.saturating_mul(ns_per_token));
    }

    /// It can't be made any more.
    pub fn miss(&mut self) {
        self.missed = true;
    }

    /// The second by which it is ordered.
    pub fn due_s(&self) -> u64 {
        let wanted = self.wanted.filter(|_| !self.missed).unwrap_or(u64::MAX);
        wanted.min(self.patience) / BUCKET_NS
    }
}

/// Watches the deadlines that can still be missed.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// (latest start, arrival)
    starts: BTreeSet<(u64, u64)>,
    /// Time to compute a prompt token, as the caller said last.
    pub ns_per_token: u64,
}

impl Deadlines {
    pub fn enter(&mut self, ticket: &Ticket, config: &OrderConfig) -> Deadline {
        let mut deadline = Deadline::new(ticket, config);
        deadline.set_start(self.ns_per_token);
        if deadline.is_watched() {
            self.starts.insert((deadline.start_ns, ticket.arrival));
        }
        deadline
    }

    pub fn leave(&mut self, arrival: u64, deadline: &Deadline) {
        self.starts.remove(&(deadline.start_ns, arrival));
    }

    /// The first whose latest start is past, as far as is known: its deadline is to be looked at.
    pub fn due(&self, now: u64) -> Option<u64> {
        self.starts.first().filter(|(start_ns, _)| *start_ns < now).map(|(_, arrival)| *arrival)
    }

    /// Works the latest start out again, with so many prompt tokens left to compute. Says if it is past.
    pub fn look(&mut self, arrival: u64, deadline: &mut Deadline, tokens: u32, now: u64) -> bool {
        self.starts.remove(&(deadline.start_ns, arrival));
        deadline.tokens = tokens.into();
        deadline.set_start(self.ns_per_token);
        self.starts.insert((deadline.start_ns, arrival));
        deadline.start_ns < now
    }

    pub fn contains(&self, arrival: u64, deadline: &Deadline) -> bool {
        self.starts.contains(&(deadline.start_ns, arrival))
    }
}
