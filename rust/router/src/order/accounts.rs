//! Accounts of the tenants: deficit round robin.
//!
//! "Efficient fair queuing using deficit round robin" (Shreedhar and Varghese, 1995), in the form that serves a tenant
//! as long as it is not in debt ("surplus round robin"), since what a request will cost in the end is not known when
//! it starts. Instead of a deficit that each round raises by a quantum, an account holds all that was spent: the
//! tenant's round is what was spent by the quantum, so that the rounds in which a tenant in debt would only get its
//! quantum are jumped over at once.

use std::collections::{BTreeMap, BTreeSet};

/// When a tenant's turn is. The lowest goes first; `since` says who came into the round first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    pub round: u64,
    pub since: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// Tokens, counted from where the tenant's first round began.
    spent: u64,
    turn: Turn,
    /// Requests that wait.
    waiting: usize,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Accounts {
    quantum: u64,
    tenants: BTreeMap<u64, Account>,
    /// Tenants that only have a debt, by the round in which it is paid off.
    idle: BTreeSet<(u64, u64)>,
    /// The latest round in which a request was taken.
    round: u64,
    next_since: u64,
    /// Requests that wait, of all tenants.
    waiting: usize,
}

impl Accounts {
    pub fn new(quantum: u32) -> Self {
        Self {
            quantum: quantum.max(1).into(),
            tenants: BTreeMap::new(),
            idle: BTreeSet::new(),
            round: 0,
            next_since: 0,
            waiting: 0,
        }
    }

    /// A request of this tenant waits. What a tenant did not spend while nothing of it waited is lost, so it begins
    /// with the next round; a debt stays.
    pub fn enter(&mut self, tenant: u64) {
        let fresh = Turn { round: self.round + 1, since: self.next_since };
        let account = self.tenants.entry(tenant).or_default();
        if account.waiting == 0 {
            self.idle.remove(&(account.turn.round, tenant));
            account.spent = account.spent.max(fresh.round * self.quantum);
            if account.turn.round < fresh.round {
                account.turn = fresh;
                self.next_since += 1;
            }
        }
        account.waiting += 1;
        self.waiting += 1;
    }

    /// A request of this tenant waits no more.
    pub fn leave(&mut self, tenant: u64) {
        self.waiting -= 1;
        if self.waiting == 0 {
            // Nobody is kept waiting, so nobody owes anybody anything.
            self.tenants.clear();
            self.idle.clear();
            return;
        }
        let account = self.tenants.get_mut(&tenant).expect("who waits has an account");
        account.waiting -= 1;
        if account.waiting == 0 {
            self.idle.insert((account.turn.round, tenant));
            self.forget_paid();
        }
    }

    /// The turn of a tenant that comes onto a level now: the next round at the earliest, so that what others were
    /// served on better levels gives it no claim.
    pub fn fresh_turn(&mut self) -> Turn {
        self.next_since += 1;
        Turn { round: self.round + 1, since: self.next_since - 1 }
    }

    /// The turn of a tenant of which requests wait.
    pub fn turn(&self, tenant: u64) -> Turn {
        self.tenants[&tenant].turn
    }

    /// What a tenant has spent by the time of its turn.
    pub fn spent(&self, tenant: u64, turn: Turn) -> u64 {
        self.tenants[&tenant].spent.max(self.begin_of(turn))
    }

    /// What is spent when the round of a turn begins.
    pub fn begin_of(&self, turn: Turn) -> u64 {
        turn.round * self.quantum
    }

    /// The turn that follows for a tenant that has spent so much.
    pub fn turn_after(&mut self, turn: Turn, spent: u64) -> Turn {
        let round = spent / self.quantum;
        if round <= turn.round {
            return turn;
        }
        self.next_since += 1;
        Turn { round, since: self.next_since - 1 }
    }

    /// A request is taken in the tenant's turn.
    pub fn pay(&mut self, tenant: u64, turn: Turn, tokens: u64) {
        let spent = self.spent(tenant, turn) + tokens;
        let next = self.turn_after(turn, spent);
        let account = self.tenants.get_mut(&tenant).expect("who waits has an account");
        account.spent = spent;
        if next.round > account.turn.round {
            account.turn = next;
        }
        self.round = self.round.max(turn.round);
        self.forget_paid();
    }

    /// Tokens that running requests of a tenant generated. They count only while anybody waits.
    pub fn charge(&mut self, tenant: u64, tokens: u64) {
        if self.waiting == 0 || tokens == 0 {
            return;
        }
        let account = self.tenants.entry(tenant).or_insert_with(|| {
            let turn = Turn { round: self.round, since: self.next_since };
            self.next_since += 1;
            self.idle.insert((turn.round, tenant));
            Account { spent: self.round * self.quantum, turn, waiting: 0 }
        });
        account.spent += tokens;
        let round = account.spent / self.quantum;
        if round > account.turn.round {
            if account.waiting == 0 {
                self.idle.remove(&(account.turn.round, tenant));
                self.idle.insert((round, tenant));
            }
            account.turn = Turn { round, since: self.next_since };
            self.next_since += 1;
        }
    }

    /// Tenants without requests that owe nothing need no account.
    fn forget_paid(&mut self) {
        while let Some((round, tenant)) = self.idle.first().copied()
            && round < self.round
        {
            self.idle.pop_first();
            self.tenants.remove(&tenant);
        }
    }

    /// # Panics
    /// If an account doesn't fit those that wait, given as tenants.
    pub fn check_invariants(&self, tenants: impl Iterator<Item = u64>) {
        let mut waiting: BTreeMap<u64, usize> = BTreeMap::new();
        tenants.for_each(|tenant| *waiting.entry(tenant).or_default() += 1);
        assert_eq!(self.waiting, waiting.values().sum(), "requests of all accounts");
        for (tenant, count) in &waiting {
            assert_eq!(self.tenants[tenant].waiting, *count, "requests of tenant {tenant}");
        }
        for (tenant, account) in &self.tenants {
            let idle = self.idle.contains(&(account.turn.round, *tenant));
            assert_eq!(idle, account.waiting == 0, "tenant {tenant} is idle");
            assert!(account.turn.round >= account.spent / self.quantum, "turn of tenant {tenant}");
        }
        assert_eq!(self.tenants.len(), waiting.len() + self.idle.len(), "every account is of use");
    }
}
