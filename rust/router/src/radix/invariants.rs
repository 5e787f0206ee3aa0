//! What is always true of the tree.

use std::collections::{BTreeMap, BTreeSet};

use super::{NodeId, PrefixCache};
use crate::ids::PageId;

impl PrefixCache {
    /// Every page of the tree, in no particular order.
    pub fn all_pages(&self) -> impl Iterator<Item = PageId> {
        self.arena.iter().flat_map(|(_, node)| node.pages.iter().copied())
    }

    /// Tokens and pages from the root to the end of a node.
    pub fn path(&self, node: NodeId) -> (Vec<u32>, Vec<PageId>) {
        let mut nodes: Vec<_> = self.arena.upwards(node).map(|(_, node)| node).collect();
        nodes.reverse();
        let tokens = nodes.iter().flat_map(|node| node.tokens.iter().copied()).collect();
        let pages = nodes.iter().flat_map(|node| node.pages.iter().copied()).collect();
        (tokens, pages)
    }

    /// Checks the whole tree. `held` are the nodes that somebody holds a lock of, one entry for each lock.
    ///
    /// # Panics
    /// If anything is wrong.
    pub fn check_invariants(&self, held: &[NodeId]) {
        let mut locks: BTreeMap<NodeId, u32> = BTreeMap::new();
        for &node in held {
            self.arena.upwards(node).for_each(|(id, _)| *locks.entry(id).or_default() += 1);
        }
        let mut children: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
        for (id, node) in self.arena.iter() {
            children.entry(node.parent.unwrap_or(id)).or_default().extend(node.parent.map(|_| id));
        }
        let (mut pages, mut evictable_pages, mut nodes) = (0, 0, 0);
        let mut evictable = BTreeSet::new();
        for (id, node) in self.arena.iter() {
            nodes += 1;
            let own = children.get(&id).map_or(&[][..], Vec::as_slice);
            assert_eq!(node.children as usize, own.len(), "children of {id:?}");
            assert_eq!(node.locks, locks.get(&id).copied().unwrap_or(0), "locks of {id:?}");
            assert_eq!(node.tokens.len(), node.pages.len() * self.page_size, "whole pages in {id:?}");
            assert!(node.version <= self.generation, "version of {id:?}");
            pages += node.pages.len();
            self.check_children(id, own);
            if let Some(salt) = &node.salt {
                assert_eq!(self.roots.get(salt), Some(&id), "a root is known by its salt");
                assert!(node.pages.is_empty() && node.depth == 0 && node.parent.is_none(), "roots have no pages");
                assert!(node.locks > 0 || node.children > 0, "an unused root is removed");
                continue;
            }
            assert!((1..=self.node_pages).contains(&node.pages.len()), "{id:?} has pages, but not too many");
            if node.locks == 0 {
                evictable_pages += node.pages.len();
                if node.children == 0 {
                    evictable.insert((self.policy.rank(&node.usage, node.end()), id));
                }
            }
        }
        assert_eq!(self.pages, pages, "page count");
        assert_eq!(self.evictable_pages, evictable_pages, "evictable page count");
        assert_eq!(self.evictable, evictable, "evictable set");
        let reached: usize = self.roots.values().map(|root| reach(*root, &children)).sum();
        assert_eq!(reached, nodes, "every node is reached from a root");
    }

    /// The children of a node: they are found by their first page, and no two begin with the same one.
    fn check_children(&self, id: NodeId, children: &[NodeId]) {
        let node = &self.arena[id];
        let mut locks = 0;
        for &child in children {
            let below = &self.arena[child];
            locks += below.locks;
            assert_eq!(below.depth as usize, node.end(), "depth of {child:?}");
            assert!(below.usage.last <= node.usage.last || node.parent.is_none(), "a path is used from its start");
            assert_eq!(below.hash, self.hash(&below.tokens[..self.page_size]), "hash of {child:?}");
            let found = self.child(id, &below.tokens);
            assert_eq!(found, Some((child, below.pages.len())), "{child:?} is found, it alone");
        }
        assert!(locks <= node.locks, "who holds a child of {id:?} holds it too");
    }
}

/// Nodes of the tree under `root`.
fn reach(root: NodeId, children: &BTreeMap<NodeId, Vec<NodeId>>) -> usize {
    let mut reached = 0;
    let mut next = vec![root];
    while let Some(id) = next.pop() {
        reached += 1;
        next.extend(children.get(&id).into_iter().flatten());
    }
    reached
}
