//! Eviction: the least recently used pages that nobody holds.

use super::PrefixCache;
use crate::ids::PageId;

impl PrefixCache {
    /// Frees up to `count` pages and returns them. Each is the last page of the leaf used least recently: pages are
    /// useless without those before them, so a path is eaten from its end.
    pub fn evict(&mut self, count: usize) -> Vec<PageId> {
        let mut freed = Vec::with_capacity(count.min(self.evictable_pages));
        while freed.len() < count {
            let Some((last_used, id)) = self.evictable.pop_first() else { break };
            self.generation += 1;
            let node = &mut self.arena[id];
            let keep = node.pages.len().saturating_sub(count - freed.len());
            freed.extend(node.pages.drain(keep..).rev());
            if keep > 0 {
                node.tokens.truncate(keep * self.page_size);
                self.evictable.insert((last_used, id));
                break;
            }
            let node = self.arena.remove(id);
            let parent = node.parent.expect("roots are not in the evictable set");
            self.arena[parent].children.remove(&node.tokens[..self.page_size]);
            self.settle(parent);
        }
        self.pages -= freed.len();
        self.evictable_pages -= freed.len();
        freed
    }
}
