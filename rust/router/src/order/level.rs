//! One level of priority: its tenants, and the requests of each.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::accounts::{Accounts, Turn};
use super::ticket::{Place, Ticket};

/// Those on one level.
#[derive(Debug, Default)]
pub(super) struct Level {
    /// Preempted requests. They go first, whatever their tenant: they had their turn, and somebody reads along.
    pub resumed: BTreeSet<u64>,
    lanes: BTreeMap<u64, Lane>,
    /// Tenants by turn, as of the last look: an account only moves back, so the first one is looked at again.
    turns: BTreeSet<(Turn, u64)>,
}

/// The requests of one tenant on one level.
#[derive(Debug)]
pub(super) struct Lane {
    /// Its turn when it came onto the level. A later one is in the account.
    base: Turn,
    /// Under which it is in `turns`.
    filed: Turn,
    places: BTreeSet<Place>,
    /// Prefix groups by due second.
    groups: BTreeMap<(u64, u64), Group>,
}

#[derive(Debug)]
struct Group {
    rank: u64,
    members: usize,
}

impl Level {
    pub fn is_empty(&self) -> bool {
        self.resumed.is_empty() && self.lanes.is_empty()
    }

    /// Files a ticket. Returns its place.
    pub fn insert(&mut self, ticket: &Ticket, due_s: u64, accounts: &mut Accounts) -> Place {
        let arrival = ticket.arrival;
        if ticket.resumes {
            self.resumed.insert(arrival);
            return Place { due_s, rank: arrival, arrival };
        }
        let turns = &mut self.turns;
        let lane = self.lanes.entry(ticket.tenant).or_insert_with(|| {
            let base = accounts.fresh_turn();
            let filed = base.max(accounts.turn(ticket.tenant));
            turns.insert((filed, ticket.tenant));
            Lane { base, filed, places: BTreeSet::new(), groups: BTreeMap::new() }
        });
        let rank = ticket.group.map_or(arrival, |group| {
            let group = lane.groups.entry((due_s, group)).or_insert(Group { rank: arrival, members: 0 });
            group.members += 1;
            group.rank
        });
        let place = Place { due_s, rank, arrival };
        lane.places.insert(place);
        place
    }

    pub fn remove(&mut self, ticket: &Ticket, place: Place) {
        if ticket.resumes {
            self.resumed.remove(&ticket.arrival);
            return;
        }
        let lane = self.lanes.get_mut(&ticket.tenant).expect("a ticket is in its tenant's lane");
        lane.places.remove(&place);
        if let Some(group) = ticket.group {
            let key = (place.due_s, group);
            let members = &mut lane.groups.get_mut(&key).expect("a member's group is there").members;
            *members -= 1;
            if *members == 0 {
                lane.groups.remove(&key);
            }
        }
        if lane.places.is_empty() {
            self.turns.remove(&(lane.filed, ticket.tenant));
            self.lanes.remove(&ticket.tenant);
        }
    }

    /// The tenant whose turn is next after `after`.
    pub fn next_turn(&mut self, after: Option<(Turn, u64)>, accounts: &Accounts) -> Option<(Turn, u64)> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        loop {
            let (filed, tenant) = *self.turns.range((after, Bound::Unbounded)).next()?;
            let lane = self.lanes.get_mut(&tenant).expect("a filed tenant has a lane");
            let turn = lane.base.max(accounts.turn(tenant));
            if turn == filed {
                return Some((turn, tenant));
            }
            self.turns.remove(&(filed, tenant));
            self.turns.insert((turn, tenant));
            lane.filed = turn;
        }
    }

    /// The first request of a tenant, or the first after `after`.
    pub fn next_place(&self, tenant: u64, after: Option<Place>) -> Option<Place> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.lanes.get(&tenant)?.places.range((after, Bound::Unbounded)).next().copied()
    }

    /// The turn of a tenant here, if it has requests here.
    pub fn turn(&self, tenant: u64, accounts: &Accounts) -> Option<Turn> {
        self.lanes.get(&tenant).map(|lane| lane.base.max(accounts.turn(tenant)))
    }

    /// The turn from which a tenant has requests here.
    pub fn base(&self, tenant: u64) -> Option<Turn> {
        self.lanes.get(&tenant).map(|lane| lane.base)
    }

    /// Requests on it.
    pub fn len(&self) -> usize {
        self.resumed.len() + self.lanes.values().map(|lane| lane.places.len()).sum::<usize>()
    }

    pub fn contains(&self, ticket: &Ticket, place: Place) -> bool {
        if ticket.resumes {
            return self.resumed.contains(&ticket.arrival);
        }
        self.lanes.get(&ticket.tenant).is_some_and(|lane| lane.places.contains(&place))
    }

    /// # Panics
    /// If the sets contradict each other.
    pub fn check_invariants(&self, accounts: &Accounts) {
        assert!(!self.is_empty(), "an empty level is dropped");
        assert_eq!(self.turns.len(), self.lanes.len(), "every tenant has a turn");
        for (tenant, lane) in &self.lanes {
            assert!(self.turns.contains(&(lane.filed, *tenant)), "tenant {tenant} is filed");
            assert!(lane.filed <= lane.base.max(accounts.turn(*tenant)), "turns only move back");
            assert!(!lane.places.is_empty(), "an empty lane is dropped");
            let members: usize = lane.groups.values().map(|group| group.members).sum();
            assert!(members <= lane.places.len(), "members of groups have places");
        }
    }
}
