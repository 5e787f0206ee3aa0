//! The prefix cache: computed pages, found by the tokens that led to them.
//!
//! A radix tree for each cache salt. It differs from the textbook in three ways:
//!
//! - An edge is whole pages. Two children of a node may begin with the same token; they differ within their first
//!   page, so a child is found by the tokens of its first page.
//! - A node can be locked. A request locks the path from the root to the node where its shared pages end; what is
//!   locked is not evicted. Locks count paths, so a node without locks has no locked node below it.
//! - Leaves without locks are kept in a set ordered by their last use, so that finding what to evict costs a
//!   logarithm and not a walk. Time is a counter of unlocks, not a clock.
//!
//! Nodes live in an arena and name each other by index. Whoever holds a locked [`NodeId`] can rely on it: splitting
//! a node puts the new node above it, so the path below a handle never grows and the pages it stands for stay.

mod arena;
mod evict;
mod invariants;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use arena::NodeId;
use arena::{Arena, Node};

use crate::ids::PageId;

/// What goes first when pages are needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EvictionPolicy {
    /// What was used least recently.
    #[default]
    Lru,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct PrefixCache {
    page_size: usize,
    arena: Arena,
    /// The root of each salt that has a page or a lock. Roots have no pages.
    roots: BTreeMap<u128, NodeId>,
    /// Leaves without locks, by last use. Roots are not in it.
    evictable: BTreeSet<(u64, NodeId)>,
    /// Pages of all nodes.
    pages: usize,
    /// Pages of the nodes without locks.
    evictable_pages: usize,
    /// Logical clock: counts unlocks.
    tick: u64,
    /// Counts changes of the tree. A match found under the same generation still holds.
    generation: u64,
}

/// Where a prefix was found. It holds no lock, so it is good only while the generation is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    /// The last node, and how many of its pages match (one at least).
    end: Option<(NodeId, usize)>,
    /// Pages that match in all.
    pub pages: usize,
    /// Generation of the tree when it was found.
    pub generation: u64,
}

/// What became of published pages.
#[derive(Debug)]
pub(crate) struct Published {
    /// The node that the publisher now holds instead of the one it came with.
    pub node: NodeId,
    /// Pages that the tree did not take, because it has others with the same tokens. They stay the publisher's.
    pub duplicates: Vec<PageId>,
}

impl PrefixCache {
    pub fn new(page_size: u32) -> Self {
        Self {
            page_size: page_size as usize,
            arena: Arena::default(),
            roots: BTreeMap::new(),
            evictable: BTreeSet::new(),
            pages: 0,
            evictable_pages: 0,
            tick: 0,
            generation: 0,
        }
    }

    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Pages that [`evict`](Self::evict) could free now.
    pub fn evictable_pages(&self) -> usize {
        self.evictable_pages
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Finds the longest cached prefix of `tokens`, of at most `max_pages` pages. Changes nothing.
    pub fn find(&self, salt: u128, tokens: &[u32], max_pages: usize) -> Match {
        let mut found = Match { end: None, pages: 0, generation: self.generation };
        let Some(mut at) = self.roots.get(&salt).copied() else { return found };
        let tokens = &tokens[..(max_pages.min(tokens.len() / self.page_size)) * self.page_size];
        loop {
            let rest = &tokens[found.pages * self.page_size..];
            let Some(child) = self.child(at, rest) else { return found };
            let common = self.common_pages(child, rest);
            found.end = Some((child, common));
            found.pages += common;
            if common < self.arena[child].pages.len() {
                return found;
            }
            at = child;
        }
    }

    /// Pages of a match that could be evicted until it is locked.
    pub fn unlocked_pages(&self, found: &Match) -> usize {
        assert_eq!(found.generation, self.generation, "a stale match is not looked at");
        let Some((end, in_end)) = found.end else { return 0 };
        let mut unlocked = 0;
        let mut at = Some(end);
        while let Some(id) = at {
            let node = &self.arena[id];
            // Locks count paths: from the first locked node upwards all are locked.
            if node.locks > 0 {
                break;
            }
            unlocked += if id == end { in_end } else { node.pages.len() };
            at = node.parent;
        }
        unlocked
    }

    /// Pages of a locked path that one lock less would make evictable.
    pub fn exclusive_pages(&self, node: NodeId) -> usize {
        let path = std::iter::successors(Some(&self.arena[node]), |node| Some(&self.arena[node.parent?]));
        path.take_while(|node| node.locks == 1).map(|node| node.pages.len()).sum()
    }

    /// Locks a match. Returns the node to hold and the pages of the match in order of position.
    pub fn lock(&mut self, salt: u128, found: &Match) -> (NodeId, Vec<PageId>) {
        assert_eq!(found.generation, self.generation, "a stale match is not locked");
        let node = match found.end {
            Some((end, in_end)) if in_end < self.arena[end].pages.len() => self.split(end, in_end),
            Some((end, _)) => end,
            None => self.root(salt),
        };
        let mut parts: Vec<NodeId> = Vec::new();
        let mut at = Some(node);
        while let Some(id) = at {
            self.lock_one(id);
            parts.push(id);
            at = self.arena[id].parent;
        }
        let mut pages = Vec::with_capacity(found.pages);
        for id in parts.into_iter().rev() {
            pages.extend_from_slice(&self.arena[id].pages);
        }
        assert_eq!(pages.len(), found.pages, "a lock covers what was matched");
        (node, pages)
    }

    /// Gives a lock back: the path was used until now.
    pub fn unlock(&mut self, node: NodeId) {
        self.tick += 1;
        let mut at = Some(node);
        while let Some(id) = at {
            let node = &mut self.arena[id];
            node.locks = node.locks.checked_sub(1).expect("each lock is given back once");
            node.last_used = self.tick;
            at = node.parent;
            if node.locks == 0 {
                self.evictable_pages += node.pages.len();
                self.settle(id);
            }
        }
    }

    /// Puts computed pages under a node that the publisher holds: `pages[i]` holds the i-th `page_size` of `tokens`,
    /// the first of them right after the node. The publisher's lock moves down to the end of them.
    pub fn publish(&mut self, node: NodeId, tokens: &[u32], pages: &[PageId]) -> Published {
        assert_eq!(tokens.len(), pages.len() * self.page_size, "only whole pages are published");
        let mut at = node;
        let mut done = 0;
        let mut duplicates = Vec::new();
        while done < pages.len() {
            let rest = &tokens[done * self.page_size..];
            let Some(child) = self.child(at, rest) else {
                at = self.append(at, rest, &pages[done..]);
                break;
            };
            let common = self.common_pages(child, rest);
            at = if common < self.arena[child].pages.len() { self.split(child, common) } else { child };
            self.lock_one(at);
            duplicates.extend_from_slice(&pages[done..done + common]);
            done += common;
        }
        Published { node: at, duplicates }
    }

    /// The tree takes `pages` below `at`, which the publisher holds and which has no child that begins like them.
    fn append(&mut self, at: NodeId, tokens: &[u32], pages: &[PageId]) -> NodeId {
        self.generation += 1;
        self.pages += pages.len();
        let node = &mut self.arena[at];
        // Nobody else ends here, so the node can grow: the output of a request is one node, not one a page.
        if node.parent.is_some() && node.children.is_empty() && node.locks == 1 {
            node.tokens.extend_from_slice(tokens);
            node.pages.extend_from_slice(pages);
            return at;
        }
        let child = self.arena.insert(Node {
            parent: Some(at),
            tokens: tokens.to_vec(),
            pages: pages.to_vec(),
            children: BTreeMap::new(),
            locks: 1,
            last_used: self.tick,
            salt: self.arena[at].salt,
        });
        self.arena[at].children.insert(tokens[..self.page_size].into(), child);
        child
    }

    /// Cuts a node after its first `keep` pages. The new node is the upper one: handles of the node stay right.
    fn split(&mut self, id: NodeId, keep: usize) -> NodeId {
        self.generation += 1;
        let page_size = self.page_size;
        let node = &mut self.arena[id];
        let lower_tokens = node.tokens.split_off(keep * page_size);
        let lower_pages = node.pages.split_off(keep);
        let first_page: Box<[u32]> = lower_tokens[..page_size].into();
        let upper = Node {
            parent: node.parent,
            tokens: std::mem::replace(&mut node.tokens, lower_tokens),
            pages: std::mem::replace(&mut node.pages, lower_pages),
            children: BTreeMap::from([(first_page, id)]),
            locks: node.locks,
            last_used: node.last_used,
            salt: node.salt,
        };
        let parent = upper.parent.expect("roots have no pages to split");
        let upper = self.arena.insert(upper);
        self.arena[id].parent = Some(upper);
        let key = &self.arena[upper].tokens[..page_size];
        let key: Box<[u32]> = key.into();
        self.arena[parent].children.insert(key, upper);
        upper
    }

    fn lock_one(&mut self, id: NodeId) {
        let node = &mut self.arena[id];
        node.locks += 1;
        if node.locks == 1 {
            self.evictable_pages -= node.pages.len();
            self.evictable.remove(&(node.last_used, id));
        }
    }

    /// A node lost its last lock or its last child: it may now be evicted, or, as a root, go.
    fn settle(&mut self, id: NodeId) {
        let node = &self.arena[id];
        if node.locks > 0 || !node.children.is_empty() {
            return;
        }
        if node.parent.is_some() {
            self.evictable.insert((node.last_used, id));
        } else {
            self.roots.remove(&node.salt);
            self.arena.remove(id);
        }
    }

    fn root(&mut self, salt: u128) -> NodeId {
        let (arena, tick) = (&mut self.arena, self.tick);
        *self.roots.entry(salt).or_insert_with(|| arena.insert(Node::root(salt, tick)))
    }

    /// The child that begins with the first page of `tokens`.
    fn child(&self, at: NodeId, tokens: &[u32]) -> Option<NodeId> {
        self.arena[at].children.get(tokens.get(..self.page_size)?).copied()
    }

    /// How many pages of a node `tokens` begins with.
    fn common_pages(&self, id: NodeId, tokens: &[u32]) -> usize {
        let own = self.arena[id].tokens.chunks_exact(self.page_size);
        own.zip(tokens.chunks_exact(self.page_size)).take_while(|(a, b)| a == b).count()
    }
}
