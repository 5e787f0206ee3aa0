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
    /// For at most about `nodes` of them: if there really are so many, two share a bucket.
    pub fn new(nodes: usize, seed: u64) -> Self {
        Self { buckets: vec![None; (nodes / 2).max(1).next_power_of_two()], seed: mix(seed, 1) }
    }

    /// The hash of a node whose first page has these tokens.
    pub fn hash(&self, page: &[u32]) -> u64 {
        let word = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
        let mut hash = self.seed;
        let blocks = page.chunks_exact(8);
        let rest = blocks.remainder();
        if page.len() >= 8 {
            // Two products that don't wait for each other.
            let (mut even, mut odd) = (hash, !hash);
            for block in blocks {
                even = fold(word(block[0], block[1]) ^ KEYS[0], word(block[2], block[3]) ^ even);
                odd = fold(word(block[4], block[5]) ^ KEYS[1], word(block[6], block[7]) ^ odd);
            }
            hash = fold(even ^ KEYS[0], odd);
        }
        rest.iter().fold(hash, |hash, token| mix(hash, u64::from(*token)))
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

/// Digits of pi: odd, and with about as many ones as zeros.
const KEYS: [u64; 2] = [0x243F_6A88_85A3_08D3, 0x082E_FA98_EC4E_6C89];

fn mix(hash: u64, word: u64) -> u64 {
    fold(hash ^ KEYS[0], word ^ KEYS[1])
}

/// The product, of which every bit counts.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn pages_that_differ_in_one_token_have_different_hashes_and_spread() {
        let index = ChildIndex::new(1 << 13, 0);
        for page_size in [1, 7, 8, 16, 37, 256] {
            let pages = (0..page_size).flat_map(|place| {
                (1..=(1 << 12) / page_size).map(move |token| {
                    let mut page = vec![0; page_size];
                    page[place] = token as u32;
                    page
                })
            });
            let hashes: BTreeSet<u64> = pages.map(|page| index.hash(&page)).collect();
            assert_eq!(hashes.len(), (1 << 12) / page_size * page_size, "page size {page_size}");
            let buckets: BTreeSet<usize> = hashes.iter().map(|hash| index.bucket(NodeId::first(), *hash)).collect();
            // Of n buckets that n keys choose at random, n/e stay empty.
            assert!(buckets.len() > hashes.len() / 2, "page size {page_size}: {} buckets", buckets.len());
        }
    }
}
