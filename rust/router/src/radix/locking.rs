//! Locks: what a request uses is not evicted.

use super::{Fault, Match, NodeId, PrefixCache};
use crate::ids::PageId;

impl PrefixCache {
    /// Locks a match. Returns the node to hold and the pages of the match in order of position, with room for some
    /// more behind them.
    pub fn lock(&mut self, salt: u128, found: &Match, room: usize) -> (NodeId, Vec<PageId>) {
        let node = match self.end(found) {
            Some(end) if end.pages < self.arena[end.node].pages.len() => self.split(end.node, end.pages),
            Some(end) => end.node,
            None => self.root(salt),
        };
        let mut pages = Vec::with_capacity(found.pages + room);
        pages.resize(found.pages, PageId(0));
        let mut at = Some(node);
        while let Some(id) = at {
            if !self.has(Fault::ForgetsLocks) {
                self.lock_one(id);
            }
            let node = &self.arena[id];
            pages[node.depth as usize..node.end()].copy_from_slice(&node.pages);
            at = node.parent;
        }
        assert_eq!(self.arena[node].end(), found.pages, "a lock covers what was matched");
        (node, pages)
    }

    pub(super) fn lock_one(&mut self, id: NodeId) {
        let node = &mut self.arena[id];
        node.locks += 1;
        if node.locks == 1 {
            self.evictable_pages -= node.pages.len();
            if node.children == 0 && node.parent.is_some() {
                let rank = self.policy.rank(&node.usage, node.end());
                self.evictable.remove(&(rank, id));
            }
        }
    }

    /// Gives a lock back: the path was used until now.
    pub fn unlock(&mut self, node: NodeId) {
        self.tick += 1;
        let mut below: Option<NodeId> = None;
        let mut at = Some(node);
        while let Some(id) = at {
            let forgotten = self.has(Fault::ForgetsLocks);
            let node = &mut self.arena[id];
            if forgotten && node.locks == 0 {
                return;
            }
            node.locks = node.locks.checked_sub(1).expect("each lock is given back once");
            self.policy.touch(&mut node.usage, self.tick);
            at = node.parent;
            if node.locks == 0 {
                // It grew while it was locked, a few pages at a time.
                node.tokens.shrink_to_fit();
                node.pages.shrink_to_fit();
                self.evictable_pages += node.pages.len();
                self.settle(id);
            }
            match below {
                Some(below) if self.are_one(id, below) => self.merge(id, below),
                _ => below = Some(id),
            }
        }
    }

    /// Pages of a locked path that one lock less would make evictable.
    pub fn exclusive_pages(&self, node: NodeId) -> usize {
        let path = self.arena.upwards(node).take_while(|(_, node)| node.locks == 1);
        path.map(|(_, node)| node.pages.len()).sum()
    }

    /// A node lost its last lock or its last child: it may now be evicted, or, as a root, go.
    pub(super) fn settle(&mut self, id: NodeId) {
        let node = &self.arena[id];
        if node.locks > 0 || node.children > 0 {
            return;
        }
        if let Some(salt) = &node.salt {
            self.roots.remove(salt);
            self.arena.remove(id);
        } else {
            self.evictable.insert((self.policy.rank(&node.usage, node.end()), id));
        }
    }
}
