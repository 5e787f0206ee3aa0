//! Order: which of the requests that wait is asked first.
//!
//! The precedence, and the reason for each key, is in docs/scheduling.md. In short: aged priority; preempted requests;
//! the tenant whose turn it is; the second of the deadline; the prefix group; the arrival.

mod accounts;
mod ageing;
mod config;
mod deadline;
mod level;
mod round;
#[cfg(test)]
mod tests;
mod ticket;

use std::collections::BTreeMap;

pub use config::OrderConfig;
pub(crate) use ticket::Ticket;

use self::accounts::Accounts;
use self::ageing::Ageing;
use self::deadline::{Deadline, Deadlines};
use self::level::Level;
use self::round::Round;
use self::ticket::{Entry, Place};

/// The order of all that wait. Every operation takes logarithmic time, and a round is bounded.
#[derive(Debug)]
pub(crate) struct Order {
    config: OrderConfig,
    entries: BTreeMap<u64, Entry>,
    levels: BTreeMap<i32, Level>,
    ageing: Ageing,
    accounts: Accounts,
    deadlines: Deadlines,
    round: Round,
}

impl Order {
    /// Requests that are offered and do not fit, before a round is over.
    pub const MAX_REFUSED: usize = 16;
    /// Requests that are offered and deferred, before a round is over.
    pub const MAX_DEFERRED: usize = 32;
    /// Ages, and deadlines, looked at in one round.
    pub const MAX_LOOKS: usize = 64;

    pub fn new(config: &OrderConfig) -> Self {
        Self {
            config: *config,
            entries: BTreeMap::new(),
            levels: BTreeMap::new(),
            ageing: Ageing::new(config.priority_age_ns),
            accounts: Accounts::new(config.tenant_quantum),
            deadlines: Deadlines::default(),
            round: Round::default(),
        }
    }

    pub fn insert(&mut self, ticket: Ticket) {
        let deadline = self.deadlines.enter(&ticket, &self.config);
        let look_ns = self.ageing.enter(ticket.arrival, ticket.priority, ticket.added_ns);
        self.accounts.enter(ticket.tenant);
        let level = ticket.priority;
        let place = self.file(&ticket, level, deadline);
        let entry = Entry { ticket, level, place, deadline, look_ns, passed: 0 };
        let replaced = self.entries.insert(ticket.arrival, entry);
        assert!(replaced.is_none(), "arrivals are counted");
    }

    /// Takes a request out, wherever it is. False if it isn't there.
    pub fn remove(&mut self, arrival: u64) -> bool {
        let Some(entry) = self.entries.remove(&arrival) else { return false };
        let ticket = &entry.ticket;
        self.unfile(ticket, entry.level, entry.place);
        self.deadlines.leave(arrival, &entry.deadline);
        self.ageing.leave(arrival, ticket.priority, entry.look_ns);
        self.accounts.leave(ticket.tenant);
        self.round.refused.retain(|refused| *refused != arrival);
        self.round.offered = self.round.offered.filter(|offer| offer.arrival != arrival);
        true
    }

    /// Starts a round: ages and deadlines as of `now`. `left` says how many prompt tokens a request has to compute by
    /// now: the cache may have come to hold more of them, or less.
    pub fn begin_round(&mut self, now: u64, mut left: impl FnMut(u64) -> u32) {
        self.round.reset();
        for _ in 0..Self::MAX_LOOKS {
            let Some(arrival) = self.ageing.due(now) else { break };
            self.look_at_age(arrival, now);
        }
        if !self.config.refuse_late {
            for _ in 0..Self::MAX_LOOKS {
                let Some(arrival) = self.next_late(now, &mut left) else { break };
                self.miss(arrival);
            }
        }
    }

    /// The next request in order. None if all were offered, or if no more may be.
    pub fn next(&mut self) -> Option<u64> {
        self.settle_offer();
        if self.round.over {
            return None;
        }
        let mut levels = self.levels.range_mut(self.round.level()..);
        let offer = levels.find_map(|(number, level)| self.round.next_on(*number, level, &self.accounts));
        let offer = offer?;
        let level = &self.levels[&self.entries[&offer.arrival].level];
        if self.round.leads_too_far(offer, level, &self.accounts) {
            self.round.over = true;
            return None;
        }
        self.round.offered = Some(offer);
        Some(offer.arrival)
    }

    /// What was offered last, and is still there, is passed over.
    fn settle_offer(&mut self) {
        let Some(offer) = self.round.offered.take() else { return };
        self.pass(offer, false);
        self.round.refused.push(offer.arrival);
        let entry = &self.entries[&offer.arrival];
        // Nobody overtakes one that ran before: somebody reads along, and what others take now it lacks again soon.
        let barrier = entry.ticket.resumes || entry.passed >= self.config.bypass_limit;
        self.round.over |= barrier || self.round.refused.len() >= Self::MAX_REFUSED;
    }

    fn pass(&mut self, offer: round::Offer, fits: bool) {
        let entry = &self.entries[&offer.arrival];
        let level = self.levels.get(&entry.level).expect("an entry's level is there");
        self.round.pass(offer, fits, entry.ticket.tokens.into(), level, &mut self.accounts);
    }

    /// The request that was offered last waits for something that is about to come: those behind it do not pass it.
    pub fn defer(&mut self, arrival: u64) {
        let Some(offer) = self.round.offered.take_if(|offer| offer.arrival == arrival) else { return };
        self.pass(offer, true);
        self.round.deferred += 1;
        self.round.over |= self.round.deferred >= Self::MAX_DEFERRED;
    }

    /// A request is admitted, with so many prompt tokens to compute: its tenant pays, unless it was preempted. Those
    /// that were passed over for it in this round remember that.
    pub fn take(&mut self, arrival: u64, tokens: u64) {
        let entry = self.entries.get(&arrival).expect("a candidate is in the order");
        let tenant = entry.ticket.tenant;
        if !entry.ticket.resumes {
            let turn = self.levels[&entry.level].turn(tenant, &self.accounts).expect("it has a place there");
            self.accounts.pay(tenant, turn, tokens);
            self.round.note_taken(tenant, tokens, &mut self.accounts);
        }
        self.remove(arrival);
        for passed in &self.round.refused {
            let entry = self.entries.get_mut(passed).expect("what leaves the order leaves the round");
            entry.passed += 1;
            self.round.over |= entry.passed >= self.config.bypass_limit;
        }
    }

    /// Tokens that running requests of a tenant generated.
    pub fn charge(&mut self, tenant: u64, tokens: u64) {
        self.accounts.charge(tenant, tokens);
    }

    /// A prompt token takes so long to compute; 0 if that isn't known. Latest starts that were worked out before are
    /// worked out again when they come up.
    pub fn set_pace(&mut self, ns_per_token: u64) {
        self.deadlines.ns_per_token = ns_per_token;
    }

    /// Takes out the next request that can no longer make its deadline, if such are to be refused. `left` as in
    /// [`begin_round`](Self::begin_round).
    pub fn take_late(&mut self, now: u64, mut left: impl FnMut(u64) -> u32) -> Option<u64> {
        if !self.config.refuse_late {
            return None;
        }
        let late = self.next_late(now, &mut left)?;
        self.remove(late);
        Some(late)
    }

    /// The first that can no longer make its deadline.
    fn next_late(&mut self, now: u64, left: &mut impl FnMut(u64) -> u32) -> Option<u64> {
        for _ in 0..Self::MAX_LOOKS {
            let arrival = self.deadlines.due(now)?;
            let entry = self.entries.get_mut(&arrival).expect("what is watched waits");
            if self.deadlines.look(arrival, &mut entry.deadline, left(arrival), now) {
                return Some(arrival);
            }
        }
        None
    }

    fn miss(&mut self, arrival: u64) {
        let entry = self.entries.get_mut(&arrival).expect("what is watched waits");
        self.deadlines.leave(arrival, &entry.deadline);
        entry.deadline.miss();
        let (ticket, level, place, deadline) = (entry.ticket, entry.level, entry.place, entry.deadline);
        if deadline.due_s() != place.due_s {
            // The new place first, so that the tenant stays on the level and keeps its turn.
            let moved = self.file(&ticket, level, deadline);
            self.unfile(&ticket, level, place);
            self.entries.get_mut(&arrival).expect("just seen").place = moved;
        }
    }

    fn look_at_age(&mut self, arrival: u64, now: u64) {
        let entry = self.entries.get_mut(&arrival).expect("what ages waits");
        let (ticket, old, place, deadline) = (entry.ticket, entry.level, entry.place, entry.deadline);
        let level;
        (level, entry.look_ns) = self.ageing.look(&ticket, old, entry.look_ns, now);
        if level != old {
            self.unfile(&ticket, old, place);
            let place = self.file(&ticket, level, deadline);
            let entry = self.entries.get_mut(&arrival).expect("just seen");
            (entry.level, entry.place) = (level, place);
        }
    }

    fn file(&mut self, ticket: &Ticket, number: i32, deadline: Deadline) -> Place {
        let level = self.levels.entry(number).or_default();
        let place = level.insert(ticket, deadline.due_s(), &mut self.accounts);
        self.round.note_change(number, Some(level), ticket.tenant);
        place
    }

    fn unfile(&mut self, ticket: &Ticket, number: i32, place: Place) {
        let level = self.levels.get_mut(&number).expect("an entry's level is there");
        level.remove(ticket, place);
        if level.is_empty() {
            self.levels.remove(&number);
        }
        self.round.note_change(number, self.levels.get(&number), ticket.tenant);
    }

    /// All that wait, oldest first.
    pub fn arrivals(&self) -> impl Iterator<Item = u64> {
        self.entries.keys().copied()
    }

    /// Checks everything against everything.
    ///
    /// # Panics
    /// If anything is wrong.
    pub fn check_invariants(&self) {
        assert_eq!(self.ageing.len(), self.entries.len(), "all that wait age");
        self.accounts.check_invariants(self.entries.values().map(|entry| entry.ticket.tenant));
        self.levels.values().for_each(|level| level.check_invariants(&self.accounts));
        let filed: usize = self.levels.values().map(Level::len).sum();
        assert_eq!(filed, self.entries.len(), "all that wait are filed");
        for (arrival, entry) in &self.entries {
            assert_eq!(*arrival, entry.ticket.arrival, "keys of the order");
            assert!(self.levels[&entry.level].contains(&entry.ticket, entry.place), "place of {arrival}");
            assert!(entry.level <= entry.ticket.priority, "nobody ages backwards");
            assert_eq!(self.deadlines.contains(*arrival, &entry.deadline), entry.deadline.is_watched(), "{arrival}");
        }
    }
}
