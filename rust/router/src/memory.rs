//! The KV cache as a whole: page pool and prefix cache together.
//!
//! Every page has exactly one owner: the pool (free), the prefix cache, or the [`Holding`] of one request.

#[cfg(test)]
mod tests;

use crate::config::SchedulerConfig;
use crate::ids::PageId;
use crate::pages::PagePool;
use crate::radix::{Match, NodeId, PrefixCache};

/// See the module.
#[derive(Debug)]
pub(crate) struct Memory {
    pool: PagePool,
    cache: PrefixCache,
    /// Published pages stay when nobody holds them any more. Else there is no prefix cache: the tree only serves
    /// groups of running requests that share a prompt.
    keep_unlocked: bool,
    page_size: usize,
}

/// The pages of one running request.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Holding {
    /// Its page table, by position. The first `shared` stand for published pages; the rest is private.
    pub pages: Vec<PageId>,
    /// Pages from the front whose tokens are in the prefix cache.
    shared: usize,
    /// Where the shared pages end in the prefix cache.
    lock: Option<NodeId>,
    /// Those of the shared ones that the cache did not take, since it had others with the same tokens. The backend
    /// knows them in this request's page table, so they stay there until the request is gone.
    duplicates: Vec<PageId>,
}

impl Holding {
    /// Pages from the front that are published: the prefix cache has them, or others with the same tokens.
    pub fn shared_pages(&self) -> usize {
        self.shared
    }
}

impl Memory {
    pub fn new(config: &SchedulerConfig) -> Self {
        Self {
            pool: PagePool::new(config.pages),
            cache: PrefixCache::new(config.page_size, config.pages as usize, config.eviction, config.seed),
            keep_unlocked: config.prefix_cache,
            page_size: config.page_size as usize,
        }
    }

    /// Finds the longest cached prefix of at most `max_tokens`. Where there is no prefix cache, only members of a group
    /// of requests share pages, and `salt` is the group's own.
    pub fn find(&self, salt: u128, tokens: &[u32], max_tokens: usize) -> Match {
        self.cache.find(salt, tokens, max_tokens / self.page_size)
    }

    /// Brings a match up to date. Of constant cost where nothing about it has changed; what was published behind it
    /// since then is added.
    pub fn refresh(&self, found: &mut Match, salt: u128, tokens: &[u32], max_tokens: usize) {
        self.cache.refresh(found, salt, tokens, max_tokens / self.page_size);
    }

    /// Pages that can be had once `found` is locked: free ones and those that can be evicted.
    pub fn available(&self, found: Option<&Match>) -> usize {
        let locked = found.map_or(0, |found| self.cache.unlocked_pages(found));
        self.pool.free() + self.cache.evictable_pages() - locked
    }

    /// Pages that can't be had until somebody leaves: neither free nor evictable. Only [`hold`](Self::hold) and
    /// [`grow`](Self::grow) make them more.
    pub fn held(&self) -> usize {
        self.pool.total() - self.pool.free() - self.cache.evictable_pages()
    }

    /// Those of them that this one alone keeps.
    pub fn exclusive(&self, holding: &Holding) -> usize {
        let private = holding.pages.len() - holding.shared + holding.duplicates.len();
        private + holding.lock.map_or(0, |node| self.cache.exclusive_pages(node))
    }

    /// Locks the match and takes private pages up to `pages` in all. The caller knows that they are available.
    /// Without a match nothing is published for it later.
    pub fn hold(&mut self, salt: u128, found: Option<&Match>, pages: usize) -> Holding {
        let mut holding = Holding::default();
        if let Some(found) = found {
            self.prepend(&mut holding, salt, found, pages.saturating_sub(found.pages));
        } else {
            holding.pages.reserve(pages);
        }
        while holding.pages.len() < pages {
            let page = self.take(pages - holding.pages.len());
            holding.pages.push(page.expect("admission has checked that the pages are available"));
        }
        holding
    }

    /// Locks a match for a holding without one: the matched pages come before those that it has. For the members of
    /// a group whose prompt another has computed.
    #[allow(dead_code, reason = "the scheduler is about to use it")]
    pub fn join(&mut self, holding: &mut Holding, salt: u128, found: &Match) {
        self.prepend(holding, salt, found, holding.pages.len());
    }

    fn prepend(&mut self, holding: &mut Holding, salt: u128, found: &Match, room: usize) {
        assert!(holding.lock.is_none(), "a holding has one lock");
        let (node, mut pages) = self.cache.lock(salt, found, room);
        holding.shared = pages.len();
        pages.append(&mut holding.pages);
        holding.pages = pages;
        holding.lock = Some(node);
    }

    /// Adds one private page, evicting if need be. False if there is none.
    pub fn grow(&mut self, holding: &mut Holding) -> bool {
        let page = self.take(1);
        holding.pages.extend(page);
        page.is_some()
    }

    /// Publishes the full pages of the first `computed` positions, whose tokens are `tokens`. What is held does not
    /// get more: where the cache has the same pages, either others hold them already, or it gives them up for these.
    pub fn publish(&mut self, holding: &mut Holding, tokens: &[u32], computed: usize) {
        let Some(node) = holding.lock.filter(|_| computed >= (holding.shared + 1) * self.page_size) else { return };
        let full = computed / self.page_size;
        let tokens = &tokens[holding.shared * self.page_size..full * self.page_size];
        let published = self.cache.publish(node, tokens, &holding.pages[holding.shared..full]);
        holding.lock = Some(published.node);
        holding.duplicates.extend(published.duplicates);
        published.replaced.into_iter().for_each(|page| self.pool.give(page));
        holding.shared = full;
    }

    /// Takes everything back. What was published stays cached until it is evicted; where there is no prefix cache,
    /// until nobody holds it.
    pub fn release(&mut self, holding: Holding) {
        // The last pages first, so that the next request gets them in order.
        for page in holding.pages.into_iter().skip(holding.shared).rev().chain(holding.duplicates) {
            self.pool.give(page);
        }
        if let Some(node) = holding.lock {
            self.cache.unlock(node);
            if !self.keep_unlocked {
                self.clear_cache();
            }
        }
    }

    /// Evicts all that nobody holds. Returns the number of pages.
    pub fn clear_cache(&mut self) -> usize {
        self.evict(usize::MAX)
    }

    pub fn page_size(&self) -> usize {
        self.page_size
    }

    /// Published pages stay when nobody holds them any more, until they are evicted.
    pub fn keeps_prefixes(&self) -> bool {
        self.keep_unlocked
    }

    pub fn total_pages(&self) -> usize {
        self.pool.total()
    }

    pub fn free_pages(&self) -> usize {
        self.pool.free()
    }

    pub fn cached_pages(&self) -> usize {
        self.cache.pages()
    }

    pub fn evictable_pages(&self) -> usize {
        self.cache.evictable_pages()
    }

    /// Takes one page; where the pool is empty, evicts as many as will be `wanted`.
    fn take(&mut self, wanted: usize) -> Option<PageId> {
        if self.pool.free() == 0 {
            self.evict(wanted);
        }
        self.pool.take()
    }

    fn evict(&mut self, count: usize) -> usize {
        self.cache.evict(count, |page| self.pool.give(page))
    }

    /// Checks that every page has exactly one owner and that all locks are accounted for. Each holding comes with
    /// the tokens known of its request.
    ///
    /// # Panics
    /// If anything is wrong.
    pub fn check_invariants<'a>(&self, holdings: impl Iterator<Item = (&'a Holding, &'a [u32])>) {
        self.pool.check_invariants();
        let mut owners = vec![0u32; self.pool.total()];
        (0..self.pool.total()).filter(|index| self.pool.is_free(PageId(*index as u32))).for_each(|i| owners[i] += 1);
        self.cache.all_pages().for_each(|page| owners[page.index()] += 1);
        let mut locks = Vec::new();
        for (holding, tokens) in holdings {
            holding.pages[holding.shared..].iter().chain(&holding.duplicates).for_each(|p| owners[p.index()] += 1);
            locks.extend(holding.lock);
            let Some(node) = holding.lock else {
                assert_eq!(holding.shared, 0, "shared pages are locked");
                continue;
            };
            let (path_tokens, path_pages) = self.cache.path(node);
            assert_eq!(path_pages.len(), holding.shared, "a lock ends where the shared pages end");
            assert_eq!(path_tokens, tokens[..path_tokens.len()], "a lock is on the request's own tokens");
            let mut duplicates = holding.duplicates.iter();
            for (own, cached) in holding.pages.iter().zip(&path_pages) {
                assert!(own == cached || duplicates.next() == Some(own), "page {own} is neither cached nor own");
            }
            assert_eq!(duplicates.next(), None, "duplicates are in the page table");
        }
        for (page, count) in owners.into_iter().enumerate() {
            assert_eq!(count, 1, "owners of page {page}");
        }
        self.cache.check_invariants(&locks);
        assert!(self.keep_unlocked || self.cache.evictable_pages() == 0, "nothing is kept without a prefix cache");
    }
}
