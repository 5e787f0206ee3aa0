//! Eviction: pages that nobody holds, in the order of the policy.

use super::PrefixCache;
use crate::ids::PageId;

impl PrefixCache {
    /// Frees up to `count` pages, one after the other. Each is the last page of the leaf of the lowest rank: pages are
    /// useless without those before them, so a path is eaten from its end. Returns how many there were.
    pub fn evict(&mut self, count: usize, mut free: impl FnMut(PageId)) -> usize {
        let mut freed = 0;
        while freed < count {
            let Some(&(rank, id)) = self.evictable.first() else { break };
            self.generation += 1;
            self.policy.evicted(rank);
            let node = &mut self.arena[id];
            // The ranks of a node's pages do not rise towards its start, so it stays the lowest while it is eaten.
            let keep = node.pages.len().saturating_sub(count - freed);
            freed += node.pages.len() - keep;
            node.pages.drain(keep..).rev().for_each(&mut free);
            if keep > 0 {
                node.tokens.truncate(keep * self.page_size);
                node.was_cut = true;
                let cut = self.policy.rank(&node.usage, node.end());
                if cut != rank {
                    self.evictable.remove(&(rank, id));
                    self.evictable.insert((cut, id));
                }
                break;
            }
            self.evictable.remove(&(rank, id));
            self.index.remove(&mut self.arena, id);
            let parent = self.arena.remove(id).parent.expect("roots are not in the evictable set");
            self.arena[parent].children -= 1;
            self.settle(parent);
        }
        self.pages -= freed;
        self.evictable_pages -= freed;
        freed
    }
}
