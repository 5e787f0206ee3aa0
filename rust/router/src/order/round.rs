//! One round: where it stands, and what was passed over.

use super::accounts::{Accounts, Turn};
use super::level::Level;
use super::ticket::Place;

/// Rounds of the deficit round robin that a tenant may be ahead of another, and still overtake a request of it that
/// does not fit. So a tenant with small requests does not crowd out one with large requests, however many they are.
pub(super) const MAX_LEAD: u64 = 8;

/// A round offers requests in the order in which they would be taken if all of them fitted: one that is passed over
/// counts, for the rest of the round, as if its tenant had paid for it.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// The level that is being offered.
    level: Option<i32>,
    /// The latest preempted request of the level that was passed over.
    resumed: Option<u64>,
    /// The latest turn of a tenant of which a request was passed over.
    turn: Option<(Turn, u64)>,
    /// Tenants of which requests were passed over.
    tenants: Vec<Passed>,
    /// The candidate that was offered last, and that nothing has become of yet.
    pub offered: Option<Offer>,
    /// Requests that did not fit.
    pub refused: Vec<u64>,
    /// Requests that wait for something else.
    pub deferred: usize,
    /// Nothing more is offered.
    pub over: bool,
}

/// A request that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub arrival: u64,
    pub lane: Option<OfferLane>,
}

/// Where it was found, unless it was a preempted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OfferLane {
    tenant: u64,
    turn: Turn,
    place: Place,
}

/// A tenant of which a request was passed over.
#[derive(Debug)]
struct Passed {
    tenant: u64,
    /// What it has spent, and its account's turn, if all were taken that were passed over.
    spent: u64,
    turn: Turn,
    /// Its turn on this level, if it has requests here.
    here: Turn,
    /// The latest request that was passed over on this level.
    place: Option<Place>,
    /// The next one on this level.
    next: Option<Place>,
    /// The round of its turn on this level, if one of its requests did not fit.
    claim: Option<u64>,
}

impl Round {
    /// Ready for a new round. Keeps the memory.
    pub fn reset(&mut self) {
        self.level = None;
        self.resumed = None;
        self.turn = None;
        self.tenants.clear();
        self.offered = None;
        self.refused.clear();
        self.deferred = 0;
        self.over = false;
    }

    /// The level from which on requests are offered.
    pub fn level(&self) -> i32 {
        self.level.unwrap_or(i32::MIN)
    }

    /// The next request on this level. None if all of them were offered.
    pub fn next_on(&mut self, number: i32, level: &mut Level, accounts: &Accounts) -> Option<Offer> {
        if self.level != Some(number) {
            self.enter(number, level);
        }
        let first = self.resumed.map_or(0, |latest| latest + 1);
        if let Some(&arrival) = level.resumed.range(first..).next() {
            return Some(Offer { arrival, lane: None });
        }
        let fresh = self.next_fresh(level, accounts);
        let passed = self.tenants.iter().filter(|tenant| tenant.next.is_some());
        let passed = passed.map(|tenant| (tenant.here, tenant.tenant)).min();
        let (turn, tenant) = match (fresh, passed) {
            (Some(fresh), Some(passed)) => fresh.min(passed),
            (fresh, passed) => fresh.or(passed)?,
        };
        let known = self.tenants.iter().find(|known| known.tenant == tenant);
        let place = known.map_or_else(|| level.next_place(tenant, None), |known| known.next);
        let place = place.expect("a tenant with a turn has a request");
        Some(Offer { arrival: place.arrival, lane: Some(OfferLane { tenant, turn, place }) })
    }

    /// The next tenant of which nothing was passed over.
    fn next_fresh(&self, level: &mut Level, accounts: &Accounts) -> Option<(Turn, u64)> {
        let mut after = self.turn;
        loop {
            let next = level.next_turn(after, accounts)?;
            if self.tenants.iter().all(|passed| passed.tenant != next.1) {
                return Some(next);
            }
            after = Some(next);
        }
    }

    fn enter(&mut self, number: i32, level: &Level) {
        self.level = Some(number);
        self.resumed = None;
        self.turn = None;
        for passed in &mut self.tenants {
            (passed.place, passed.claim) = (None, None);
            passed.next = level.next_place(passed.tenant, None);
            passed.here = passed.turn.max(level.base(passed.tenant).unwrap_or_default());
        }
    }

    /// Whether an offer would bring its tenant too far ahead of one of which a request does not fit.
    pub fn leads_too_far(&self, offer: Offer, level: &Level, accounts: &Accounts) -> bool {
        let Some(OfferLane { tenant, .. }) = offer.lane else { return false };
        let own = level.turn(tenant, accounts).map_or(0, |turn| turn.round);
        let others = self.tenants.iter().filter(|passed| passed.tenant != tenant);
        others.filter_map(|passed| passed.claim).any(|claim| own > claim + MAX_LEAD)
    }

    /// The request that was offered last is passed over: it does not fit, unless it is deferred.
    pub fn pass(&mut self, offer: Offer, fits: bool, tokens: u64, level: &Level, accounts: &mut Accounts) {
        let Some(lane) = offer.lane else {
            self.resumed = Some(offer.arrival);
            return;
        };
        let index = self.tenants.iter().position(|passed| passed.tenant == lane.tenant).unwrap_or_else(|| {
            self.turn = self.turn.max(Some((lane.turn, lane.tenant)));
            let (tenant, turn) = (lane.tenant, lane.turn);
            let spent = accounts.spent(tenant, turn);
            let account = accounts.turn(tenant);
            self.tenants.push(Passed {
                tenant,
                spent,
                turn: account,
                here: turn,
                place: None,
                next: None,
                claim: None,
            });
            self.tenants.len() - 1
        });
        let passed = &mut self.tenants[index];
        passed.place = Some(lane.place);
        passed.next = level.next_place(lane.tenant, passed.place);
        if !fits {
            passed.claim = level.turn(lane.tenant, accounts).map(|turn| turn.round);
        }
        passed.spend(tokens, accounts);
    }

    /// A request of the tenant was taken, for so much.
    pub fn note_taken(&mut self, tenant: u64, tokens: u64, accounts: &mut Accounts) {
        if let Some(passed) = self.tenants.iter_mut().find(|passed| passed.tenant == tenant) {
            passed.spend(tokens, accounts);
        }
    }

    /// A request left this level, or came to it.
    pub fn note_change(&mut self, number: i32, level: Option<&Level>, tenant: u64) {
        if self.level == Some(number)
            && let Some(passed) = self.tenants.iter_mut().find(|passed| passed.tenant == tenant)
        {
            passed.next = level.and_then(|level| level.next_place(tenant, passed.place));
        }
    }
}

impl Passed {
    fn spend(&mut self, tokens: u64, accounts: &mut Accounts) {
        self.spent = self.spent.max(accounts.begin_of(self.here)) + tokens;
        self.here = accounts.turn_after(self.here, self.spent);
        if self.here.round > self.turn.round {
            self.turn = self.here;
        }
    }
}
