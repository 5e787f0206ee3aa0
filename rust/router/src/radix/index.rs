//! Which node follows a node: one hash table for all of them.
//!
//! Buckets are chains through the nodes. Since every node but a root has a page, there are never more nodes than pages:
//! the table has its size from the start, and no call ever pays for making it larger.

use super::arena::{Arena, NodeId};

/// See the module.
#[derive(Debug)]
pub(super) struct ChildIndex {
    /// The first node of each bucket. A power of two of them.
    buckets: Vec<Option<NodeId>>,
    /// Begins every hash. What is found doesn't depend on it, only how long it takes when somebody makes up tokens
    /// that fall into one bucket.
    seed: u64,
}

impl ChildIndex {
    /// For at most about `nodes` of them.
    pub fn new(nodes: usize, seed: u64) -> Self {
        Self { buckets: vec![None; nodes.max(1).next_power_of_two()], seed: mix(seed, 1) }
    }

    /// The hash of a node whose first page has these tokens.
    pub fn hash(&self, page: &[u32]) -> u64 {
        let mut hash = self.seed;
        let mut pairs = page.chunks_exact(2);
        for pair in &mut pairs {
            hash = mix(hash, u64::from(pair[0]) << 32 | u64::from(pair[1]));
        }
        match pairs.remainder() {
            [last] => mix(hash, u64::from(*last)),
            _ => hash,
        }
    }

    /// Those that may be the child of `parent` that begins with a page of this hash.
    pub fn candidates<'a>(&self, arena: &'a Arena, parent: NodeId, hash: u64) -> impl Iterator<Item = NodeId> + 'a {
        let first = self.buckets[self.bucket(parent, hash)];
        let chain = std::iter::successors(first, |id| arena[*id].next);
        chain.filter(move |id| arena[*id].hash == hash && arena[*id].parent == Some(parent))
    }

    /// Adds a node that has its parent and its hash.
    pub fn insert(&mut self, arena: &mut Arena, id: NodeId) {
        let bucket = self.bucket_of(arena, id);
        arena[id].next = self.buckets[bucket].replace(id);
    }

    /// Takes a node out, before its parent or its hash change.
    pub fn remove(&mut self, arena: &mut Arena, id: NodeId) {
        let bucket = self.bucket_of(arena, id);
        let next = arena[id].next.take();
        let mut at = self.buckets[bucket].expect("a node is in its bucket");
        if at == id {
            self.buckets[bucket] = next;
            return;
        }
        while arena[at].next != Some(id) {
            at = arena[at].next.expect("a node is in its bucket");
        }
        arena[at].next = next;
    }

    fn bucket_of(&self, arena: &Arena, id: NodeId) -> usize {
        let node = &arena[id];
        self.bucket(node.parent.expect("roots are not in the index"), node.hash)
    }

    fn bucket(&self, parent: NodeId, hash: u64) -> usize {
        mix(hash, u64::from(parent.number())) as usize & (self.buckets.len() - 1)
    }
}

/// Both halves of a product, folded: a word goes in, every bit of it counts.
fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word ^ 0x9E37_79B9_7F4A_7C15) * 0xA076_1D64_78BD_642F;
    (product as u64) ^ ((product >> 64) as u64).rotate_left(32)
}
