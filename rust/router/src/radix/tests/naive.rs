//! A model of the tree without a tree: a flat map from every cached prefix to its page.

use std::collections::BTreeMap;

use crate::ids::PageId;
use crate::radix::EvictionPolicy;

pub type Prefix = (u128, Vec<u32>);

/// The last page of a cached prefix.
#[derive(Clone, Copy, Debug)]
pub struct Cached {
    pub page: PageId,
    uses: u64,
    last: u64,
    clock: u64,
}

pub struct Naive {
    pub page_size: usize,
    policy: EvictionPolicy,
    pub cached: BTreeMap<Prefix, Cached>,
    /// Prefixes that are held, one entry for each lock.
    pub held: Vec<Prefix>,
    tick: u64,
    clock: u64,
}

impl Naive {
    pub fn new(page_size: usize, policy: EvictionPolicy) -> Self {
        Self { page_size, policy, cached: BTreeMap::new(), held: Vec::new(), tick: 0, clock: 0 }
    }

    pub fn prefixes(&self, (salt, tokens): &Prefix) -> Vec<Prefix> {
        let pages = tokens.chunks_exact(self.page_size).count();
        (1..=pages).map(|pages| (*salt, tokens[..pages * self.page_size].to_vec())).collect()
    }

    pub fn find(&self, prompt: &Prefix, max_pages: usize) -> Vec<PageId> {
        let hits = self.prefixes(prompt).into_iter().map_while(|prefix| Some(self.cached.get(&prefix)?.page));
        hits.take(max_pages).collect()
    }

    pub fn holders(&self, (salt, tokens): &Prefix) -> usize {
        self.held.iter().filter(|(s, t)| s == salt && t.starts_with(tokens)).count()
    }

    /// Pages that only this lock keeps.
    pub fn exclusive(&self, held: usize) -> usize {
        self.prefixes(&self.held[held]).iter().filter(|prefix| self.holders(prefix) == 1).count()
    }

    pub fn evictable(&self) -> usize {
        self.cached.keys().filter(|prefix| self.holders(prefix) == 0).count()
    }

    /// Lengthens a held path by a page. What the tree gives back: its own page if nobody held it, else this one.
    pub fn publish(&mut self, held: usize, tokens: &[u32], page: PageId) -> Option<PageId> {
        let mut prefix = self.held[held].clone();
        prefix.1.extend_from_slice(tokens);
        let holders = self.holders(&prefix);
        self.held[held] = prefix.clone();
        let Some(cached) = self.cached.get_mut(&prefix) else {
            self.cached.insert(prefix, Cached { page, uses: 0, last: 0, clock: 0 });
            return None;
        };
        Some(if holders > 0 { page } else { std::mem::replace(&mut cached.page, page) })
    }

    pub fn unlock(&mut self, held: usize) {
        self.tick += 1;
        let held = self.held.remove(held);
        for prefix in self.prefixes(&held) {
            let cached = self.cached.get_mut(&prefix).expect("held prefixes are cached");
            cached.uses += 1;
            cached.last = self.tick;
            cached.clock = self.clock;
        }
    }

    fn rank(&self, prefix: &Prefix) -> (u64, u64) {
        let Cached { uses, last, clock, .. } = self.cached[prefix];
        match self.policy {
            EvictionPolicy::Lru => (last, 0),
            EvictionPolicy::Lfu => (uses, last),
            EvictionPolicy::CostAware => (clock + uses * (1024 + prefix.1.len() as u64 / 32), last),
        }
    }

    /// The tree evicted this page: it must have been one of the lowest rank of those that nobody holds and that no
    /// other follows.
    pub fn evict(&mut self, page: PageId) {
        let followed = |prefix: &Prefix| {
            self.cached.keys().any(|(s, t)| *s == prefix.0 && t.len() > prefix.1.len() && t.starts_with(&prefix.1))
        };
        let ends = self.cached.keys().filter(|prefix| !followed(prefix) && self.holders(prefix) == 0);
        let ranks: BTreeMap<PageId, (u64, u64)> =
            ends.map(|prefix| (self.cached[prefix].page, self.rank(prefix))).collect();
        let rank = *ranks.get(&page).expect("only unheld ends of paths are evicted");
        assert_eq!(Some(&rank), ranks.values().min(), "the lowest rank goes first");
        self.clock = self.clock.max(rank.0);
        self.cached.retain(|_, cached| cached.page != page);
    }
}
