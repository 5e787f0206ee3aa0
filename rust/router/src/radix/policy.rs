//! What is worth least: the order in which pages that nobody holds are given up.

use std::fmt;

/// What goes first when pages are needed. Pages go from the ends of paths in any case, since a page is of no use
/// without those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EvictionPolicy {
    /// What was used least recently.
    #[default]
    Lru,
    /// What was used least often since it was cached; of those alike, what was used least recently.
    Lfu,
    /// What is cheapest to compute again, times how often it was used, with ageing: greedy-dual-size-frequency
    /// (L. Cherkasova, "Improving WWW proxies performance with greedy-dual-size-frequency caching policy", HP
    /// Laboratories, HPL-98-69, 1998).
    CostAware,
}

impl EvictionPolicy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Lru, Self::Lfu, Self::CostAware];

    /// The name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lru => "lru",
            Self::Lfu => "lfu",
            Self::CostAware => "cost_aware",
        }
    }

    /// The policy of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }

    /// A new policy for pages of so many positions.
    pub(super) fn build(self, page_size: usize) -> Box<dyn Eviction> {
        match self {
            Self::Lru => Box::new(Lru),
            Self::Lfu => Box::new(Lfu),
            Self::CostAware => Box::new(CostAware { page_size: page_size as u64, clock: 0 }),
        }
    }
}

/// How pages were used so far, as far as the policy wants to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Tick of the last use.
    pub last: u64,
    /// The policy's own clock at the last use.
    pub clock: u64,
    /// Number of uses.
    pub uses: u32,
}

/// The lowest is evicted first.
pub(super) type Rank = (u64, u64);

/// One order of eviction. A path is used when a lock of it is given back.
pub(super) trait Eviction: fmt::Debug + Send {
    /// Notes one use.
    fn touch(&self, usage: &mut Usage, tick: u64);

    /// The rank of a page used so, where `end` pages are from the start of the prompt to its end. It does not rise
    /// towards the start of a path that was used as one.
    fn rank(&self, usage: &Usage, end: usize) -> Rank;

    /// Something of this rank was evicted.
    fn evicted(&mut self, _rank: Rank) {}

    /// Whether two that are both used next will be alike from then on.
    fn will_be_alike(&self, a: &Usage, b: &Usage) -> bool {
        a == b
    }
}

#[derive(Debug)]
struct Lru;

impl Eviction for Lru {
    fn touch(&self, usage: &mut Usage, tick: u64) {
        usage.last = tick;
    }

    fn rank(&self, usage: &Usage, _end: usize) -> Rank {
        (usage.last, 0)
    }

    fn will_be_alike(&self, _a: &Usage, _b: &Usage) -> bool {
        true
    }
}

#[derive(Debug)]
struct Lfu;

impl Eviction for Lfu {
    fn touch(&self, usage: &mut Usage, tick: u64) {
        usage.last = tick;
        usage.uses = usage.uses.saturating_add(1);
    }

    fn rank(&self, usage: &Usage, _end: usize) -> Rank {
        (usage.uses.into(), usage.last)
    }
}

/// A page's value is the clock at its last use plus its uses times the cost of computing it. The clock is the value of
/// what was evicted last: what stays unused is overtaken by it. All pages are of one size, so the size is left out;
/// the number of uses stands for the probability of one more.
#[derive(Debug)]
struct CostAware {
    page_size: u64,
    clock: u64,
}

impl CostAware {
    /// Cost of a position that attends to nothing. Integers, so that ranks are the same on every machine.
    const UNIT: u64 = 1024;
    /// Attending to so many positions costs one more unit. With 8 billion parameters, 32 layers and a hidden size of
    /// 4,096 a position takes 16 GFLOP in the matrices and 0.5 MFLOP for each position that it attends to.
    const ATTENDED: u64 = 32;

    fn cost(&self, end: usize) -> u64 {
        Self::UNIT + end as u64 * self.page_size / Self::ATTENDED
    }
}

impl Eviction for CostAware {
    fn touch(&self, usage: &mut Usage, tick: u64) {
        usage.last = tick;
        usage.clock = self.clock;
        usage.uses = usage.uses.saturating_add(1);
    }

    fn rank(&self, usage: &Usage, end: usize) -> Rank {
        let worth = u64::from(usage.uses).saturating_mul(self.cost(end));
        (usage.clock.saturating_add(worth), usage.last)
    }

    fn evicted(&mut self, rank: Rank) {
        self.clock = self.clock.max(rank.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for policy in EvictionPolicy::ALL {
            assert_eq!(EvictionPolicy::from_name(policy.name()), Some(policy));
        }
        assert_eq!(EvictionPolicy::from_name("random"), None);
    }

    fn ranks(policy: EvictionPolicy) -> [Rank; 3] {
        let mut policy = policy.build(16);
        let mut usages = [Usage::default(); 3];
        // The first once at tick 5, the second twice early on, the third once in between and far from the start.
        for (usage, tick) in [(1, 1), (1, 2), (2, 3), (0, 5)] {
            policy.touch(&mut usages[usage], tick);
        }
        policy.evicted((7, 0));
        [(0, 10), (1, 10), (2, 3000)].map(|(usage, end)| policy.rank(&usages[usage], end))
    }

    #[test]
    fn each_has_its_own_order() {
        assert_eq!(ranks(EvictionPolicy::Lru), [(5, 0), (2, 0), (3, 0)]);
        assert_eq!(ranks(EvictionPolicy::Lfu), [(1, 5), (2, 2), (1, 3)]);
        assert_eq!(ranks(EvictionPolicy::CostAware), [(1029, 5), (2058, 2), (2524, 3)]);
    }

    #[test]
    fn what_stays_unused_is_overtaken() {
        let mut policy = EvictionPolicy::CostAware.build(16);
        let (mut old, mut new) = (Usage::default(), Usage::default());
        (1..=4).for_each(|tick| policy.touch(&mut old, tick));
        policy.touch(&mut new, 5);
        assert!(policy.rank(&new, 1) < policy.rank(&old, 1));
        policy.evicted((4000, 0));
        policy.touch(&mut new, 6);
        assert!(policy.rank(&new, 1) > policy.rank(&old, 1));
    }
}
