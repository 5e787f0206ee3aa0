//! The prefix cache: computed pages, found by the tokens that led to them.
//!
//! A radix tree for each cache salt. It differs from the textbook in four ways:
//!
//! - An edge is whole pages. Two children of a node may begin with the same token; they differ within their first
//!   page, so a child is found by a hash of the tokens of its first page, and then by the tokens themselves.
//! - A node can be locked. A request locks the path from the root to the node where its shared pages end; what is
//!   locked is not evicted. Locks count paths, so a node without locks has no locked node below it.
//! - Leaves without locks are kept in a set ordered by the rank that the policy gives them, so that finding what to
//!   evict costs a logarithm and not a walk. Time is a counter of unlocks, not a clock.
//! - A node has a version. What was found without locking it is looked at again in constant time.
//!
//! Nodes live in an arena and name each other by index. Whoever holds a locked [`NodeId`] can rely on it: splitting
//! a node puts the new node above it, and joining two keeps the lower one, so the path to a handle's end stays.

mod arena;
mod evict;
mod fault;
mod index;
mod invariants;
mod locking;
mod matching;
mod policy;
mod publish;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use arena::NodeId;
use arena::{Arena, Node};
pub(crate) use fault::Fault;
use index::ChildIndex;
pub(crate) use matching::Match;
pub use policy::EvictionPolicy;
use policy::{Eviction, Rank};

/// Tokens of a node at most, so that cutting one in two never copies much. A longer path is several nodes.
const NODE_TOKENS: usize = 8192;

/// See the module.
#[derive(Debug)]
pub(crate) struct PrefixCache {
    page_size: usize,
    /// Pages of a node at most.
    node_pages: usize,
    arena: Arena,
    index: ChildIndex,
    policy: Box<dyn Eviction>,
    /// The root of each salt that has a page or a lock. Roots have no pages.
    roots: BTreeMap<u128, NodeId>,
    /// Leaves without locks. Roots are not in it.
    evictable: BTreeSet<(Rank, NodeId)>,
    /// Pages of all nodes.
    pages: usize,
    /// Pages of the nodes without locks.
    evictable_pages: usize,
    /// Logical clock: counts unlocks.
    tick: u64,
    /// Counts changes of the tree. A match found under the same generation is still the longest.
    generation: u64,
    /// For tests of the tests: what the tree does wrong.
    #[cfg(test)]
    pub fault: Option<Fault>,
}

impl PrefixCache {
    /// An empty one. `capacity`: pages that it will hold at most; `seed`: of the hashes, on which no result depends.
    pub fn new(page_size: u32, capacity: usize, policy: EvictionPolicy, seed: u64) -> Self {
        Self {
            page_size: page_size as usize,
            node_pages: (NODE_TOKENS / page_size as usize).max(1),
            arena: Arena::default(),
            index: ChildIndex::new(capacity, seed),
            policy: policy.build(page_size as usize),
            roots: BTreeMap::new(),
            evictable: BTreeSet::new(),
            pages: 0,
            evictable_pages: 0,
            tick: 0,
            generation: 0,
            #[cfg(test)]
            fault: None,
        }
    }

    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Pages that [`evict`](Self::evict) could free now.
    pub fn evictable_pages(&self) -> usize {
        self.evictable_pages
    }

    fn root(&mut self, salt: u128) -> NodeId {
        let salt = if self.has(Fault::MixesSalts) { 0 } else { salt };
        let arena = &mut self.arena;
        *self.roots.entry(salt).or_insert_with(|| arena.insert(Node::root(salt)))
    }

    /// The hash of a page.
    fn hash(&self, page: &[u32]) -> u64 {
        if self.has(Fault::SameHash) { 0 } else { self.index.hash(page) }
    }
}
