//! Finding cached prefixes. Nothing here changes the tree.

use super::{Fault, NodeId, PrefixCache};

/// Where a prefix was found. It holds no lock: it has to be [refreshed](PrefixCache::refresh) before it is used, if
/// the tree has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    end: Option<End>,
    /// Pages that match in all.
    pub pages: usize,
    /// Pages that were looked for.
    sought: usize,
    /// Generation of the tree when it was found.
    pub generation: u64,
}

/// The last node of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub node: NodeId,
    version: u64,
    /// How many of its pages match: one at least.
    pub pages: usize,
}

impl PrefixCache {
    /// Finds the longest cached prefix of `tokens`, of at most `max_pages` pages.
    pub fn find(&self, salt: u128, tokens: &[u32], max_pages: usize) -> Match {
        let sought = max_pages.min(tokens.len() / self.page_size);
        let mut found = Match { end: None, pages: 0, sought, generation: self.generation };
        let salt = if self.has(Fault::MixesSalts) { 0 } else { salt };
        if let Some(root) = self.roots.get(&salt) {
            self.descend(*root, &mut found, tokens);
        }
        found
    }

    /// Brings a match of a tree that has changed up to date. It goes on from where the match ended, unless that place
    /// is gone: its node was removed, cut short or split.
    pub fn refresh(&self, found: &mut Match, salt: u128, tokens: &[u32], max_pages: usize) {
        let sought = max_pages.min(tokens.len() / self.page_size);
        if found.generation == self.generation && found.sought == sought {
            return;
        }
        let Some(mut end) = self.live_end(found).filter(|_| found.pages <= sought) else {
            *found = self.find(salt, tokens, max_pages);
            return;
        };
        (found.sought, found.generation) = (sought, self.generation);
        let node = &self.arena[end.node];
        let grown = &node.tokens[end.pages * self.page_size..];
        let more = common_tokens(grown, self.rest(found, tokens)) / self.page_size;
        end.pages += more;
        found.pages += more;
        found.end = Some(end);
        if end.pages == node.pages.len() {
            self.descend(end.node, found, tokens);
        }
    }

    /// Whether a match can still be locked. There may be a longer one.
    pub(super) fn holds(&self, found: &Match) -> bool {
        found.end.is_none() || self.live_end(found).is_some()
    }

    /// Pages of a match that could be evicted until it is locked.
    pub fn unlocked_pages(&self, found: &Match) -> usize {
        let Some(end) = self.end(found) else { return 0 };
        // Locks count paths: from the first locked node upwards all are locked.
        let locked = self.arena.upwards(end.node).find(|(_, node)| node.locks > 0);
        match locked {
            Some((id, _)) if id == end.node => 0,
            Some((_, node)) => found.pages - node.end(),
            None => found.pages,
        }
    }

    /// The last node of a match that holds. None if nothing matches.
    ///
    /// # Panics
    /// If it does not hold.
    pub(super) fn end(&self, found: &Match) -> Option<End> {
        assert!(self.holds(found), "a match is refreshed before it is used");
        found.end
    }

    fn live_end(&self, found: &Match) -> Option<End> {
        found.end.filter(|end| {
            let node = self.arena.get(end.node);
            let same = |version| version == end.version || self.has(Fault::TrustsStaleMatches);
            node.is_some_and(|node| same(node.version) && node.pages.len() >= end.pages)
        })
    }

    /// Extends a match that ends where `at` ends.
    fn descend(&self, mut at: NodeId, found: &mut Match, tokens: &[u32]) {
        while let Some((child, pages)) = self.child(at, self.rest(found, tokens)) {
            let node = &self.arena[child];
            found.end = Some(End { node: child, version: node.version, pages });
            found.pages += pages;
            if pages < node.pages.len() {
                return;
            }
            at = child;
        }
    }

    /// The tokens that are looked for and not found so far.
    fn rest<'a>(&self, found: &Match, tokens: &'a [u32]) -> &'a [u32] {
        &tokens[found.pages * self.page_size..found.sought * self.page_size]
    }

    /// The child that begins with the first page of `tokens`, and how many of its pages they match.
    pub(super) fn child(&self, at: NodeId, tokens: &[u32]) -> Option<(NodeId, usize)> {
        if self.arena[at].children == 0 {
            return None;
        }
        let hash = self.hash(tokens.get(..self.page_size)?);
        let candidates = self.index.candidates(&self.arena, at, hash);
        // Those of the same hash almost always match. One page at least has to.
        let pages = |child: NodeId| common_tokens(&self.arena[child].tokens, tokens) / self.page_size;
        candidates.map(|child| (child, pages(child))).find(|(_, pages)| *pages > 0)
    }
}

/// How many tokens two sequences have in common at their beginning.
pub(super) fn common_tokens(a: &[u32], b: &[u32]) -> usize {
    // Blocks are compared as memory; only in the one that differs does it matter where.
    let mut same = 0;
    for block in [128, 8] {
        let blocks = a[same..].chunks_exact(block).zip(b[same..].chunks_exact(block));
        same += blocks.take_while(|(a, b)| a == b).count() * block;
    }
    same + a[same..].iter().zip(&b[same..]).take_while(|(a, b)| a == b).count()
}
