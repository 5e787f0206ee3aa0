//! The order as it is written down, worked out anew at each call.

use std::collections::BTreeMap;

use crate::order::{Order, OrderConfig, Ticket};

const SECOND: u64 = 1_000_000_000;

/// (round, since)
type Turn = (u64, u64);

#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    level: i32,
    look_ns: u64,
    /// None where no deadline can be missed any more.
    start_ns: Option<u64>,
    missed: bool,
    due_s: u64,
    rank: u64,
    passed: u32,
    /// Offered in this round.
    offered: bool,
    /// Did not fit in this round.
    refused: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    spent: u64,
    turn: Turn,
}

#[derive(Debug)]
pub struct Naive {
    config: OrderConfig,
    waiting: Vec<Waiting>,
    accounts: BTreeMap<u64, Account>,
    /// Accounts as if all were taken that were passed over in this round.
    passed: BTreeMap<u64, Account>,
    /// Turn at which a tenant came onto a level.
    bases: BTreeMap<(i32, u64), Turn>,
    /// Rank and members of (level, tenant, second, group).
    groups: BTreeMap<(i32, u64, u64, u64), (u64, usize)>,
    round: u64,
    next_since: u64,
    ns_per_token: u64,
    current: Option<u64>,
    /// Rounds of tenants of which a request did not fit in this round, by level.
    claims: BTreeMap<(i32, u64), u64>,
    deferred: usize,
    over: bool,
}

impl Naive {
    pub fn new(config: &OrderConfig) -> Self {
        Self {
            config: *config,
            waiting: Vec::new(),
            accounts: BTreeMap::new(),
            passed: BTreeMap::new(),
            bases: BTreeMap::new(),
            groups: BTreeMap::new(),
            round: 0,
            next_since: 0,
            ns_per_token: 0,
            current: None,
            claims: BTreeMap::new(),
            deferred: 0,
            over: false,
        }
    }

    fn index(&self, arrival: u64) -> usize {
        self.waiting.iter().position(|waiting| waiting.ticket.arrival == arrival).expect("it waits")
    }

    fn since(&mut self) -> u64 {
        self.next_since += 1;
        self.next_since
    }

    fn quantum(&self) -> u64 {
        self.config.tenant_quantum.into()
    }

    fn wanted(&self, ticket: &Ticket) -> Option<u64> {
        let target = self.config.ttft_target_ns;
        let target = (target > 0).then(|| ticket.added_ns + target);
        if ticket.resumes { None } else { ticket.deadline.or(target) }
    }

    fn start(&self, ticket: &Ticket, tokens: u32) -> Option<u64> {
        self.wanted(ticket).map(|wanted| wanted.saturating_sub(u64::from(tokens) * self.ns_per_token))
    }

    pub fn insert(&mut self, ticket: Ticket) {
        let tenant = ticket.tenant;
        if self.waiting.iter().all(|waiting| waiting.ticket.tenant != tenant) {
            let fresh = self.round + 1;
            let since = self.since();
            let begin = fresh * self.quantum();
            let account = self.accounts.entry(tenant).or_default();
            account.spent = account.spent.max(begin);
            if account.turn.0 < fresh {
                account.turn = (fresh, since);
            }
        }
        let start_ns = self.start(&ticket, ticket.tokens);
        let look_ns =
            if self.config.priority_age_ns == 0 { u64::MAX } else { ticket.added_ns + self.config.priority_age_ns };
        self.waiting.push(Waiting {
            ticket,
            level: ticket.priority,
            look_ns,
            start_ns,
            missed: false,
            due_s: 0,
            rank: 0,
            passed: 0,
            offered: false,
            refused: false,
        });
        self.file(self.waiting.len() - 1, ticket.priority);
    }

    /// Gives it its second, its rank and its tenant's base on a level.
    fn file(&mut self, index: usize, level: i32) {
        let Waiting { ticket, missed, .. } = self.waiting[index];
        let patience = ticket.added_ns + 60 * SECOND;
        let wanted = self.wanted(&ticket).filter(|_| !missed).unwrap_or(u64::MAX);
        let due_s = wanted.min(patience) / SECOND;
        let mut rank = ticket.arrival;
        if !ticket.resumes {
            if !self.bases.contains_key(&(level, ticket.tenant)) {
                let base = (self.round + 1, self.since());
                self.bases.insert((level, ticket.tenant), base);
            }
            if let Some(group) = ticket.group {
                let group = self.groups.entry((level, ticket.tenant, due_s, group)).or_insert((rank, 0));
                group.1 += 1;
                rank = group.0;
            }
        }
        let waiting = &mut self.waiting[index];
        (waiting.level, waiting.due_s, waiting.rank) = (level, due_s, rank);
    }

    /// After it left, or moved away from, this place.
    fn unfile(&mut self, ticket: &Ticket, level: i32, due_s: u64) {
        if ticket.resumes {
            return;
        }
        if let Some(group) = ticket.group {
            let key = (level, ticket.tenant, due_s, group);
            self.groups.get_mut(&key).expect("it is in its group").1 -= 1;
            self.groups.retain(|_, (_, members)| *members > 0);
        }
        let stays = |w: &Waiting| w.level == level && w.ticket.tenant == ticket.tenant && !w.ticket.resumes;
        if !self.waiting.iter().any(stays) {
            self.bases.remove(&(level, ticket.tenant));
        }
    }

    pub fn remove(&mut self, arrival: u64) -> Ticket {
        let index = self.index(arrival);
        let Waiting { ticket, level, due_s, .. } = self.waiting.remove(index);
        self.unfile(&ticket, level, due_s);
        self.current = self.current.filter(|current| *current != arrival);
        if self.waiting.is_empty() {
            self.accounts.clear();
        }
        ticket
    }

    pub fn begin_round(&mut self, now: u64, left: impl Fn(u64) -> u32) {
        (self.current, self.deferred, self.over) = (None, 0, false);
        self.passed.clear();
        self.claims.clear();
        self.waiting.iter_mut().for_each(|waiting| (waiting.offered, waiting.refused) = (false, false));
        let mut due: Vec<(u64, u64)> = self.waiting.iter().map(|w| (w.look_ns, w.ticket.arrival)).collect();
        due.retain(|(look_ns, _)| *look_ns <= now && self.config.priority_age_ns > 0);
        due.sort_unstable();
        for (_, arrival) in due {
            self.look(self.index(arrival), now);
        }
        while !self.config.refuse_late
            && let Some(index) = self.next_late(now, &left)
        {
            let Waiting { ticket, level, due_s, .. } = self.waiting[index];
            (self.waiting[index].missed, self.waiting[index].start_ns) = (true, None);
            let old = self.waiting[index].rank;
            self.file(index, level);
            if self.waiting[index].due_s == due_s {
                // It stays where it is.
                self.waiting[index].rank = old;
            }
            self.unfile(&ticket, level, due_s);
        }
    }

    fn look(&mut self, index: usize, now: u64) {
        let age = self.config.priority_age_ns;
        let best = self.waiting.iter().map(|waiting| waiting.ticket.priority).min().expect("one waits");
        let Waiting { ticket, level: old, due_s, .. } = self.waiting[index];
        let waited = (now - ticket.added_ns) / age;
        self.waiting[index].look_ns = ticket.added_ns + (waited + 1) * age;
        let level = (ticket.priority - waited as i32).max(best).min(old);
        if level != old {
            self.file(index, level);
            self.unfile(&ticket, old, due_s);
        }
    }

    fn next_late(&mut self, now: u64, left: impl Fn(u64) -> u32) -> Option<usize> {
        loop {
            let starts = self.waiting.iter().filter_map(|w| Some((w.start_ns?, w.ticket.arrival)));
            let (_, arrival) = starts.filter(|(start, _)| *start < now).min()?;
            let index = self.index(arrival);
            let start = self.start(&self.waiting[index].ticket, left(arrival));
            self.waiting[index].start_ns = start;
            if start.expect("it has a deadline") < now {
                return Some(index);
            }
        }
    }

    pub fn set_pace(&mut self, ns_per_token: u64) {
        self.ns_per_token = ns_per_token;
    }

    pub fn take_late(&mut self, now: u64, left: impl Fn(u64) -> u32) -> Option<u64> {
        if !self.config.refuse_late {
            return None;
        }
        let arrival = self.next_late(now, left).map(|index| self.waiting[index].ticket.arrival)?;
        self.remove(arrival);
        Some(arrival)
    }

    fn turn(&self, account: &Account, waiting: &Waiting) -> Turn {
        account.turn.max(self.bases[&(waiting.level, waiting.ticket.tenant)])
    }

    pub fn next(&mut self) -> Option<u64> {
        if let Some(arrival) = self.current.take() {
            let index = self.index(arrival);
            self.waiting[index].refused = true;
            let Waiting { ticket, level, .. } = self.waiting[index];
            if !ticket.resumes {
                let claim = self.turn(&self.accounts[&ticket.tenant], &self.waiting[index]).0;
                self.claims.insert((level, ticket.tenant), claim);
            }
            self.pass(index);
            let refused = self.waiting.iter().filter(|waiting| waiting.refused).count();
            let Waiting { ticket, passed, .. } = &self.waiting[index];
            self.over |= ticket.resumes || *passed >= self.config.bypass_limit || refused >= Order::MAX_REFUSED;
        }
        if self.over {
            return None;
        }
        let key = |waiting: &Waiting| {
            let ticket = &waiting.ticket;
            if ticket.resumes {
                return (waiting.level, false, (0, 0), 0, 0, 0, ticket.arrival);
            }
            let account = self.passed.get(&ticket.tenant).unwrap_or_else(|| &self.accounts[&ticket.tenant]);
            let turn = self.turn(account, waiting);
            (waiting.level, true, turn, ticket.tenant, waiting.due_s, waiting.rank, ticket.arrival)
        };
        let next = self.waiting.iter().filter(|waiting| !waiting.offered).min_by_key(|waiting| key(waiting))?;
        let arrival = next.ticket.arrival;
        if !next.ticket.resumes {
            let own = self.turn(&self.accounts[&next.ticket.tenant], next).0;
            let claims =
                self.claims.iter().filter(|((level, tenant), _)| *level == next.level && *tenant != next.ticket.tenant);
            if claims.map(|(_, claim)| *claim).any(|claim| own > claim + 8) {
                self.over = true;
                return None;
            }
        }
        let index = self.index(arrival);
        self.waiting[index].offered = true;
        self.current = Some(arrival);
        self.current
    }

    pub fn defer(&mut self, arrival: u64) {
        self.current = None;
        self.pass(self.index(arrival));
        self.deferred += 1;
        self.over |= self.deferred >= Order::MAX_DEFERRED;
    }

    fn pass(&mut self, index: usize) {
        let Ticket { tenant, tokens, resumes, .. } = self.waiting[index].ticket;
        if !resumes {
            let account = *self.passed.get(&tenant).unwrap_or_else(|| &self.accounts[&tenant]);
            let account = self.spend(account, index, tokens.into());
            self.passed.insert(tenant, account);
        }
    }

    /// The account of its tenant after a request is taken.
    fn spend(&mut self, account: Account, index: usize, tokens: u64) -> Account {
        let turn = self.turn(&account, &self.waiting[index]);
        let spent = account.spent.max(turn.0 * self.quantum()) + tokens;
        let round = spent / self.quantum();
        let turn = if round > turn.0 { (round, self.since()) } else { turn };
        Account { spent, turn: if turn.0 > account.turn.0 { turn } else { account.turn } }
    }

    pub fn take(&mut self, arrival: u64, tokens: u64) -> Ticket {
        let index = self.index(arrival);
        let ticket = self.waiting[index].ticket;
        if !ticket.resumes {
            let account = self.accounts[&ticket.tenant];
            self.round = self.round.max(self.turn(&account, &self.waiting[index]).0);
            let account = self.spend(account, index, tokens);
            self.accounts.insert(ticket.tenant, account);
            if let Some(account) = self.passed.get(&ticket.tenant).copied() {
                let account = self.spend(account, index, tokens);
                self.passed.insert(ticket.tenant, account);
            }
        }
        self.remove(arrival);
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.refused) {
            waiting.passed += 1;
            self.over |= waiting.passed >= self.config.bypass_limit;
        }
        ticket
    }

    pub fn charge(&mut self, tenant: u64, tokens: u64) {
        if self.waiting.is_empty() || tokens == 0 {
            return;
        }
        let idle = self.waiting.iter().all(|waiting| waiting.ticket.tenant != tenant);
        let floor = if idle { self.round * self.quantum() } else { 0 };
        let since = self.since();
        let quantum = self.quantum();
        let account = self.accounts.entry(tenant).or_default();
        account.spent = account.spent.max(floor) + tokens;
        if account.spent / quantum > account.turn.0 {
            account.turn = (account.spent / quantum, since);
        }
    }
}
