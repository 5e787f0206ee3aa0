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
        let mut nodes = Vec::new();
        let mut at = Some(node);
        while let Some(id) = at {
            nodes.push(&self.arena[id]);
            at = self.arena[id].parent;
        }
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
            let mut at = Some(node);
            while let Some(id) = at {
                *locks.entry(id).or_default() += 1;
                at = self.arena[id].parent;
            }
        }
        let (mut pages, mut evictable_pages, mut children) = (0, 0, 0);
        let mut evictable = BTreeSet::new();
        for (id, node) in self.arena.iter() {
            assert_eq!(node.locks, locks.get(&id).copied().unwrap_or(0), "locks of {id:?}");
            assert_eq!(node.tokens.len(), node.pages.len() * self.page_size, "whole pages in {id:?}");
            pages += node.pages.len();
            children += node.children.len();
            for (key, &child) in &node.children {
                assert_eq!(self.arena[child].parent, Some(id), "parent of {child:?}");
                assert_eq!(self.arena[child].salt, node.salt, "salt of {child:?}");
                assert_eq!(**key, self.arena[child].tokens[..self.page_size], "key of {child:?}");
            }
            if node.parent.is_none() {
                assert_eq!(self.roots.get(&node.salt), Some(&id), "a root is known by its salt");
                assert!(node.pages.is_empty(), "roots have no pages");
                assert!(node.locks > 0 || !node.children.is_empty(), "an unused root is removed");
                continue;
            }
            assert!(!node.pages.is_empty(), "{id:?} has pages");
            if node.locks == 0 {
                evictable_pages += node.pages.len();
                if node.children.is_empty() {
                    evictable.insert((node.last_used, id));
                }
            }
        }
        assert_eq!(self.pages, pages, "page count");
        assert_eq!(self.evictable_pages, evictable_pages, "evictable page count");
        assert_eq!(self.evictable, evictable, "evictable set");
        assert_eq!(children + self.roots.len(), self.arena.iter().count(), "every node is reached from a root");
    }
}
