//! The tree against a naive model: a flat map from every cached prefix to its page.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type Prefix = (u128, Vec<u32>);

#[derive(Default)]
struct Naive {
    page_size: usize,
    /// Each cached prefix of whole pages: its last page, and when it was last unlocked.
    cached: BTreeMap<Prefix, (PageId, u64)>,
    /// Prefixes that are held, one entry for each lock.
    held: Vec<Prefix>,
    tick: u64,
}

impl Naive {
    fn prefixes(&self, (salt, tokens): &Prefix) -> impl Iterator<Item = Prefix> {
        let (salt, tokens, page_size) = (*salt, tokens.clone(), self.page_size);
        (1..=tokens.len() / page_size).map(move |pages| (salt, tokens[..pages * page_size].to_vec()))
    }

    fn find(&self, prompt: &Prefix, max_pages: usize) -> Vec<PageId> {
        let hits = self.prefixes(prompt).map_while(|prefix| self.cached.get(&prefix).map(|(page, _)| *page));
        hits.take(max_pages).collect()
    }

    fn is_held(&self, (salt, tokens): &Prefix) -> bool {
        self.held.iter().any(|(s, t)| s == salt && t.starts_with(tokens))
    }

    fn unlock(&mut self, index: usize) {
        self.tick += 1;
        let held = self.held.remove(index);
        for prefix in self.prefixes(&held).collect::<Vec<_>>() {
            self.cached.get_mut(&prefix).expect("held prefixes are cached").1 = self.tick;
        }
    }

    /// When each prefix that may be evicted next was last used: those that nobody holds and that none follows.
    fn leaves(&self) -> impl Iterator<Item = (&Prefix, u64)> {
        self.cached.iter().filter_map(|(prefix, (_, used))| {
            let followed =
                self.cached.keys().any(|(s, t)| *s == prefix.0 && t.len() > prefix.1.len() && t.starts_with(&prefix.1));
            (!followed && !self.is_held(prefix)).then_some((prefix, *used))
        })
    }

    /// The tree evicted this page: it must have been one of those unused for longest.
    fn evicted(&mut self, page: PageId) {
        let oldest = self.leaves().map(|(_, used)| used).min().expect("something may be evicted");
        let (prefix, used) = self
            .leaves()
            .find(|(prefix, _)| self.cached[*prefix].0 == page)
            .map(|(prefix, used)| (prefix.clone(), used))
            .expect("only unheld ends of paths are evicted");
        assert_eq!(used, oldest, "the least recently used goes first");
        self.cached.remove(&prefix);
    }
}

#[derive(Clone, Debug)]
enum Operation {
    /// Lock the cached part of a prompt and publish the rest of it, in pieces.
    Hold {
        salt: u128,
        tokens: Vec<u32>,
        max_pages: usize,
        pieces: usize,
    },
    /// Publish more pages under something held.
    Extend {
        held: usize,
        tokens: Vec<u32>,
    },
    Unlock {
        held: usize,
    },
    Evict {
        count: usize,
    },
}

fn operation() -> impl Strategy<Value = Operation> {
    let tokens = || prop::collection::vec(0u32..2, 0..14);
    prop_oneof![
        3 => (0u128..2, tokens(), 0usize..8, 1usize..4)
            .prop_map(|(salt, tokens, max_pages, pieces)| Operation::Hold { salt, tokens, max_pages, pieces }),
        2 => (any::<usize>(), tokens()).prop_map(|(held, tokens)| Operation::Extend { held, tokens }),
        3 => any::<usize>().prop_map(|held| Operation::Unlock { held }),
        1 => (0usize..6).prop_map(|count| Operation::Evict { count }),
    ]
}

struct Harness {
    tree: PrefixCache,
    naive: Naive,
    nodes: Vec<NodeId>,
    next_page: u32,
}

impl Harness {
    fn new(page_size: u32) -> Self {
        let naive = Naive { page_size: page_size as usize, ..Naive::default() };
        Self { tree: PrefixCache::new(page_size), naive, nodes: Vec::new(), next_page: 0 }
    }

    fn publish(&mut self, held: usize, tokens: &[u32]) {
        let count = tokens.len() / self.naive.page_size;
        let tokens = &tokens[..count * self.naive.page_size];
        let pages: Vec<PageId> = (self.next_page..).take(count).map(PageId).collect();
        self.next_page += count as u32;
        let mut expected = Vec::new();
        for (page, chunk) in pages.iter().zip(tokens.chunks(self.naive.page_size)) {
            let prefix = &mut self.naive.held[held];
            prefix.1.extend_from_slice(chunk);
            if self.naive.cached.contains_key(prefix) {
                expected.push(*page);
            } else {
                self.naive.cached.insert(prefix.clone(), (*page, self.naive.tick));
            }
        }
        let published = self.tree.publish(self.nodes[held], tokens, &pages);
        assert_eq!(published.duplicates, expected);
        self.nodes[held] = published.node;
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Hold { salt, tokens, max_pages, pieces } => {
                let prompt = (salt, tokens);
                let expected = self.naive.find(&prompt, max_pages);
                let found = self.tree.find(salt, &prompt.1, max_pages);
                assert_eq!(found.pages, expected.len());
                let held_before: Vec<_> = self.naive.prefixes(&prompt).take(found.pages).collect();
                let unlocked = held_before.iter().filter(|prefix| !self.naive.is_held(prefix)).count();
                assert_eq!(self.tree.unlocked_pages(&found), unlocked);
                let (node, pages) = self.tree.lock(salt, &found);
                assert_eq!(pages, expected);
                let cached = expected.len() * self.naive.page_size;
                self.naive.held.push((salt, prompt.1[..cached].to_vec()));
                self.nodes.push(node);
                let rest = &prompt.1[cached..];
                let piece = (rest.len() / pieces / self.naive.page_size).max(1) * self.naive.page_size;
                for chunk in rest.chunks(piece) {
                    self.publish(self.nodes.len() - 1, chunk);
                }
            }
            Operation::Extend { held, tokens } if !self.nodes.is_empty() => {
                self.publish(held % self.nodes.len(), &tokens);
            }
            Operation::Unlock { held } if !self.nodes.is_empty() => {
                let held = held % self.nodes.len();
                self.tree.unlock(self.nodes.remove(held));
                self.naive.unlock(held);
            }
            Operation::Evict { count } => {
                let evictable = self.tree.evictable_pages();
                let freed = self.tree.evict(count);
                assert_eq!(freed.len(), count.min(evictable));
                for page in freed {
                    self.naive.evicted(page);
                }
            }
            Operation::Extend { .. } | Operation::Unlock { .. } => {}
        }
    }

    fn check(&self) {
        self.tree.check_invariants(&self.nodes);
        assert_eq!(self.tree.pages(), self.naive.cached.len());
        let evictable = self.naive.cached.keys().filter(|prefix| !self.naive.is_held(prefix)).count();
        assert_eq!(self.tree.evictable_pages(), evictable);
        for (node, held) in self.nodes.iter().zip(&self.naive.held) {
            assert_eq!(self.tree.path(*node), (held.1.clone(), self.naive.find(held, usize::MAX)));
        }
    }
}

proptest! {
    #[test]
    fn behaves_as_a_flat_map(page_size in 1u32..4, operations in prop::collection::vec(operation(), 0..60)) {
        let mut harness = Harness::new(page_size);
        for operation in operations {
            harness.apply(operation);
            harness.check();
        }
        while !harness.nodes.is_empty() {
            harness.apply(Operation::Unlock { held: 0 });
        }
        harness.apply(Operation::Evict { count: usize::MAX });
        harness.check();
        prop_assert_eq!(harness.tree.pages(), 0);
        prop_assert_eq!(harness.tree.arena.iter().count(), 0);
    }
}

#[test]
fn a_growing_output_stays_one_node() {
    let mut tree = PrefixCache::new(1);
    let (mut node, _) = tree.lock(0, &tree.find(0, &[], 0));
    for token in 0..100 {
        node = tree.publish(node, &[token], &[PageId(token)]).node;
    }
    assert_eq!(tree.arena.iter().count(), 2, "a root and one node");
    assert_eq!(tree.find(0, &(0..100).collect::<Vec<_>>(), usize::MAX).pages, 100);
}

#[test]
fn salts_do_not_share() {
    let mut tree = PrefixCache::new(2);
    let (node, _) = tree.lock(1, &tree.find(1, &[], 0));
    tree.publish(node, &[7, 8], &[PageId(0)]);
    assert_eq!(tree.find(1, &[7, 8], 9).pages, 1);
    assert_eq!(tree.find(2, &[7, 8], 9).pages, 0);
}
