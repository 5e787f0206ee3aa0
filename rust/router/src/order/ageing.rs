//! Ageing: nobody starves behind better priorities.

use std::collections::{BTreeMap, BTreeSet};

use super::Ticket;

/// Priorities of those that wait, and when the age of each is looked at.
///
/// A request's age is looked at each time that it has waited for a whole age more: then its level becomes its
/// priority less the ages waited, but no better than the best priority that any waiting request was given: so requests
/// of equal priority stay on one level, where tenants are compared. A level that was reached is kept.
#[derive(Debug)]
pub(super) struct Ageing {
    age_ns: u64,
    given: BTreeMap<i32, usize>,
    /// (when, arrival), for all that wait.
    looks: BTreeSet<(u64, u64)>,
}

impl Ageing {
    pub fn new(age_ns: u64) -> Self {
        Self { age_ns, given: BTreeMap::new(), looks: BTreeSet::new() }
    }

    /// A request waits. Returns when its age is looked at first.
    pub fn enter(&mut self, arrival: u64, priority: i32, added_ns: u64) -> u64 {
        *self.given.entry(priority).or_default() += 1;
        let look_ns = if self.age_ns == 0 { u64::MAX } else { added_ns.saturating_add(self.age_ns) };
        self.looks.insert((look_ns, arrival));
        look_ns
    }

    pub fn leave(&mut self, arrival: u64, priority: i32, look_ns: u64) {
        self.looks.remove(&(look_ns, arrival));
        let count = self.given.get_mut(&priority).expect("it was counted when it came");
        *count -= 1;
        if *count == 0 {
            self.given.remove(&priority);
        }
    }

    /// The next request whose age is to be looked at by `now`.
    pub fn due(&self, now: u64) -> Option<u64> {
        self.looks.first().filter(|(look_ns, _)| self.age_ns > 0 && *look_ns <= now).map(|(_, arrival)| *arrival)
    }

    /// Looks at the age of a request. Returns its level, and when the next look is.
    pub fn look(&mut self, ticket: &Ticket, level: i32, look_ns: u64, now: u64) -> (i32, u64) {
        let waited = now.saturating_sub(ticket.added_ns) / self.age_ns;
        let best = *self.given.first_key_value().expect("this one waits").0;
        let aged = ticket.priority.saturating_sub(i32::try_from(waited).unwrap_or(i32::MAX)).max(best);
        let next_ns = ticket.added_ns.saturating_add((waited + 1).saturating_mul(self.age_ns));
        self.looks.remove(&(look_ns, ticket.arrival));
        self.looks.insert((next_ns, ticket.arrival));
        (level.min(aged), next_ns)
    }

    /// Requests that are counted.
    pub fn len(&self) -> usize {
        self.looks.len()
    }
}
