//! Computed pages enter the tree.

use super::{Fault, NodeId, PrefixCache};
use crate::ids::PageId;
use crate::radix::arena::Node;
use crate::radix::policy::Usage;

/// What became of published pages.
#[derive(Debug)]
pub(crate) struct Published {
    /// The node that the publisher now holds instead of the one it came with.
    pub node: NodeId,
    /// Pages that the tree did not take, because others hold pages of the same tokens. They stay the publisher's.
    pub duplicates: Vec<PageId>,
    /// Pages of the same tokens that nobody held, and that the tree gave up for the publisher's.
    pub replaced: Vec<PageId>,
}

impl PrefixCache {
    /// Puts computed pages under a node that the publisher holds: `pages[i]` holds the i-th `page_size` of `tokens`,
    /// the first of them right after the node. The publisher's lock moves down to the end of them.
    pub fn publish(&mut self, node: NodeId, tokens: &[u32], pages: &[PageId]) -> Published {
        assert_eq!(tokens.len(), pages.len() * self.page_size, "only whole pages are published");
        let mut published = Published { node, duplicates: Vec::new(), replaced: Vec::new() };
        let mut done = 0;
        while done < pages.len() {
            let rest = &tokens[done * self.page_size..];
            let Some((child, common)) = self.child(published.node, rest) else {
                published.node = self.append(published.node, rest, &pages[done..]);
                break;
            };
            let at = if common < self.arena[child].pages.len() { self.split(child, common) } else { child };
            let takes_all = self.has(Fault::ReplacesHeldPages);
            let (node, ours) = (&mut self.arena[at], &pages[done..done + common]);
            if node.locks > 0 && !takes_all {
                published.duplicates.extend_from_slice(ours);
            } else {
                // Else both would be held from now on: those of the tree, and those that the publisher works with.
                published.replaced.extend_from_slice(&node.pages);
                node.pages.copy_from_slice(ours);
            }
            self.lock_one(at);
            published.node = at;
            done += common;
        }
        published
    }

    /// The tree takes `pages` below `at`, which the publisher holds and which has no child that begins like them.
    fn append(&mut self, mut at: NodeId, mut tokens: &[u32], mut pages: &[PageId]) -> NodeId {
        self.generation += 1;
        self.pages += pages.len();
        while !pages.is_empty() {
            let room = self.room_to_grow(at);
            let count = pages.len().min(if room > 0 { room } else { self.node_pages });
            let (now_tokens, later_tokens) = tokens.split_at(count * self.page_size);
            let (now_pages, later_pages) = pages.split_at(count);
            if room > 0 {
                self.grow(at, now_tokens, now_pages);
            } else {
                at = self.add_child(at, now_tokens, now_pages);
            }
            (tokens, pages) = (later_tokens, later_pages);
        }
        at
    }

    /// Pages that a node can take at its end. If nobody else ends there, it grows: the output of a request is one node,
    /// not one a page.
    fn room_to_grow(&self, id: NodeId) -> usize {
        let node = &self.arena[id];
        let alone = node.parent.is_some() && node.children == 0 && node.locks == 1;
        let alike = alone && self.policy.will_be_alike(&node.usage, &Usage::default());
        if alike { self.node_pages - node.pages.len() } else { 0 }
    }

    fn grow(&mut self, id: NodeId, tokens: &[u32], pages: &[PageId]) {
        let node = &mut self.arena[id];
        if std::mem::take(&mut node.was_cut) {
            // Matches from before the cut may be as long as what it is now, but of other tokens.
            node.version = self.generation;
        }
        node.tokens.extend_from_slice(tokens);
        node.pages.extend_from_slice(pages);
    }

    fn add_child(&mut self, parent: NodeId, tokens: &[u32], pages: &[PageId]) -> NodeId {
        let node = &mut self.arena[parent];
        node.children += 1;
        let depth = node.end() as u32;
        let child = self.arena.insert(Node {
            parent: Some(parent),
            next: None,
            hash: self.hash(&tokens[..self.page_size]),
            tokens: tokens.to_vec(),
            pages: pages.to_vec(),
            depth,
            children: 0,
            locks: 1,
            was_cut: false,
            version: self.generation,
            usage: Usage::default(),
            salt: None,
        });
        self.index.insert(&mut self.arena, child);
        child
    }
}
