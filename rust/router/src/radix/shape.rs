//! Cutting nodes in two and joining them again.

use super::{NodeId, PrefixCache};
use crate::radix::arena::Node;

impl PrefixCache {
    /// Cuts a node after its first `keep` pages. The new node is the upper one: handles of the node stay right.
    pub(super) fn split(&mut self, id: NodeId, keep: usize) -> NodeId {
        self.generation += 1;
        self.index.remove(&mut self.arena, id);
        let hash = self.hash(&self.arena[id].tokens[keep * self.page_size..][..self.page_size]);
        let node = &mut self.arena[id];
        let lower_tokens = node.tokens.split_off(keep * self.page_size);
        let lower_pages = node.pages.split_off(keep);
        let mut upper = Node {
            parent: node.parent,
            next: None,
            hash: node.hash,
            tokens: std::mem::replace(&mut node.tokens, lower_tokens),
            pages: std::mem::replace(&mut node.pages, lower_pages),
            depth: node.depth,
            children: 1,
            locks: node.locks,
            was_cut: false,
            version: self.generation,
            usage: node.usage,
            salt: None,
        };
        upper.tokens.shrink_to_fit();
        upper.pages.shrink_to_fit();
        let upper = self.arena.insert(upper);
        self.index.insert(&mut self.arena, upper);
        let node = &mut self.arena[id];
        node.parent = Some(upper);
        node.hash = hash;
        node.depth += keep as u32;
        node.version = self.generation;
        self.index.insert(&mut self.arena, id);
        upper
    }

    /// Whether a node and a child of it are told apart by nothing: no other child follows, no lock ends in between,
    /// they will be evicted as if they were one, and one node has room for both.
    pub(super) fn are_one(&self, upper: NodeId, lower: NodeId) -> bool {
        let (a, b) = (&self.arena[upper], &self.arena[lower]);
        let alike = a.usage == b.usage || (a.locks > 0 && self.policy.will_be_alike(&a.usage, &b.usage));
        let fits = a.pages.len() + b.pages.len() <= self.node_pages;
        a.parent.is_some() && a.children == 1 && a.locks == b.locks && alike && fits
    }

    /// Joins a node and its only child. The child's name stays, since locks may end there.
    ///
    /// This is tried where a lock is given back and the walk passes both. A node whose other children were evicted and
    /// that nobody uses afterwards stays as it is: it costs its 120 bytes until it is evicted itself.
    pub(super) fn merge(&mut self, upper: NodeId, lower: NodeId) {
        self.generation += 1;
        self.index.remove(&mut self.arena, upper);
        self.index.remove(&mut self.arena, lower);
        let Node { parent, hash, mut tokens, mut pages, depth, .. } = self.arena.remove(upper);
        let node = &mut self.arena[lower];
        tokens.reserve_exact(node.tokens.len());
        tokens.extend_from_slice(&node.tokens);
        pages.reserve_exact(node.pages.len());
        pages.extend_from_slice(&node.pages);
        (node.parent, node.hash, node.tokens, node.pages, node.depth) = (parent, hash, tokens, pages, depth);
        node.was_cut = false;
        node.version = self.generation;
        self.index.insert(&mut self.arena, lower);
    }
}
