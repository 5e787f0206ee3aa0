//! The tree against a naive model, and single behaviours.

mod naive;
mod scenarios;

use naive::{Naive, Prefix};
use proptest::prelude::*;

use super::*;
use crate::ids::PageId;

#[derive(Clone, Debug)]
enum Operation {
    /// Look for a prompt, to lock it some time later.
    Seek {
        prompt: Pages,
        max_pages: usize,
    },
    /// Lock what was found, and publish the rest of the prompt in pieces.
    Hold {
        sought: usize,
        pieces: usize,
    },
    /// Publish more pages under something held.
    Extend {
        held: usize,
        more: Pages,
    },
    Unlock {
        held: usize,
    },
    Evict {
        count: usize,
    },
}

/// A salt, and for each page which of a few it is. In tokens, the pages differ in one place somewhere in the page.
#[derive(Clone, Debug)]
struct Pages {
    salt: u128,
    kinds: Vec<u8>,
    /// Tokens of one more page that is not whole.
    partial: bool,
}

impl Pages {
    fn tokens(&self, page_size: usize) -> Vec<u32> {
        let page = |kind: u8| {
            let place = usize::from(kind) * 5 % page_size;
            (0..page_size).map(move |index| u32::from(index == place) * (u32::from(kind) + 1))
        };
        let tail = if self.partial { page_size - 1 } else { 0 };
        self.kinds.iter().flat_map(|kind| page(*kind)).chain(std::iter::repeat_n(9, tail)).collect()
    }
}

fn pages() -> impl Strategy<Value = Pages> {
    (0u128..2, prop::collection::vec(0u8..2, 0..9), any::<bool>()).prop_map(|(salt, kinds, partial)| Pages {
        salt,
        kinds,
        partial,
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        3 => (pages(), prop_oneof![0usize..8, Just(usize::MAX)])
            .prop_map(|(prompt, max_pages)| Operation::Seek { prompt, max_pages }),
        3 => (any::<usize>(), 1usize..4).prop_map(|(sought, pieces)| Operation::Hold { sought, pieces }),
        2 => (any::<usize>(), pages()).prop_map(|(held, more)| Operation::Extend { held, more }),
        3 => any::<usize>().prop_map(|held| Operation::Unlock { held }),
        1 => (0usize..6).prop_map(|count| Operation::Evict { count }),
    ]
}

struct Harness {
    tree: PrefixCache,
    naive: Naive,
    /// Prompts that were looked for, with what was found then.
    sought: Vec<(Prefix, usize, Match)>,
    nodes: Vec<NodeId>,
    next_page: u32,
}

impl Harness {
    fn new(page_size: u32, policy: EvictionPolicy, capacity: usize) -> Self {
        Self {
            tree: PrefixCache::new(page_size, capacity, policy, 1),
            naive: Naive::new(page_size as usize, policy),
            sought: Vec::new(),
            nodes: Vec::new(),
            next_page: 0,
        }
    }

    fn publish(&mut self, held: usize, tokens: &[u32]) {
        let page_size = self.naive.page_size;
        let count = tokens.len() / page_size;
        let tokens = &tokens[..count * page_size];
        let pages: Vec<PageId> = (self.next_page..).take(count).map(PageId).collect();
        self.next_page += count as u32;
        let evictable = self.tree.evictable_pages();
        let published = self.tree.publish(self.nodes[held], tokens, &pages);
        let (mut duplicates, mut replaced) = (Vec::new(), Vec::new());
        for (page, chunk) in pages.iter().zip(tokens.chunks(page_size)) {
            match self.naive.publish(held, chunk, *page) {
                Some(back) if back == *page => duplicates.push(back),
                other => replaced.extend(other),
            }
        }
        assert_eq!((published.duplicates, published.replaced.clone()), (duplicates, replaced));
        assert_eq!(evictable - published.replaced.len(), self.tree.evictable_pages(), "as much is held as before");
        self.nodes[held] = published.node;
    }

    fn hold(&mut self, sought: usize, pieces: usize) {
        let (prompt, max_pages, mut found) = self.sought.swap_remove(sought % self.sought.len());
        self.tree.refresh(&mut found, prompt.0, &prompt.1, max_pages);
        let expected = self.naive.find(&prompt, max_pages);
        assert_eq!(found, self.tree.find(prompt.0, &prompt.1, max_pages), "a refreshed match is as good as a new one");
        assert_eq!(found.pages, expected.len());
        let matched = self.naive.prefixes(&prompt).into_iter().take(found.pages);
        let unlocked = matched.filter(|prefix| self.naive.holders(prefix) == 0).count();
        assert_eq!(self.tree.unlocked_pages(&found), unlocked);
        let (node, pages) = self.tree.lock(prompt.0, &found, 0);
        assert_eq!(pages, expected);
        let cached = expected.len() * self.naive.page_size;
        self.naive.held.push((prompt.0, prompt.1[..cached].to_vec()));
        self.nodes.push(node);
        let rest = &prompt.1[cached..];
        let piece = (rest.len() / pieces / self.naive.page_size).max(1) * self.naive.page_size;
        for chunk in rest.chunks(piece) {
            self.publish(self.nodes.len() - 1, chunk);
        }
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Seek { prompt, max_pages } => {
                let prompt = (prompt.salt, prompt.tokens(self.naive.page_size));
                let found = self.tree.find(prompt.0, &prompt.1, max_pages);
                assert_eq!(found.pages, self.naive.find(&prompt, max_pages).len());
                self.sought.push((prompt, max_pages, found));
            }
            Operation::Hold { sought, pieces } if !self.sought.is_empty() => self.hold(sought, pieces),
            Operation::Extend { held, more } if !self.nodes.is_empty() => {
                self.publish(held % self.nodes.len(), &more.tokens(self.naive.page_size));
            }
            Operation::Unlock { held } if !self.nodes.is_empty() => {
                let held = held % self.nodes.len();
                let (exclusive, evictable) = (self.naive.exclusive(held), self.tree.evictable_pages());
                assert_eq!(self.tree.exclusive_pages(self.nodes[held]), exclusive);
                self.tree.unlock(self.nodes.remove(held));
                assert_eq!(self.tree.evictable_pages(), evictable + exclusive);
                self.naive.unlock(held);
            }
            Operation::Evict { count } => {
                let expected = count.min(self.tree.evictable_pages());
                let mut evicted = Vec::new();
                assert_eq!(self.tree.evict(count, |page| evicted.push(page)), expected);
                assert_eq!(evicted.len(), expected);
                for page in evicted {
                    self.naive.evict(page);
                }
            }
            _ => {}
        }
    }

    fn check(&self) {
        self.tree.check_invariants(&self.nodes);
        assert_eq!(self.tree.pages(), self.naive.cached.len());
        assert_eq!(self.tree.evictable_pages(), self.naive.evictable());
        for (node, held) in self.nodes.iter().zip(&self.naive.held) {
            assert_eq!(self.tree.path(*node), (held.1.clone(), self.naive.find(held, usize::MAX)));
        }
    }
}

fn policy() -> impl Strategy<Value = EvictionPolicy> {
    prop::sample::select(EvictionPolicy::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// With few buckets, so that chains are long. Nothing depends on the hashes: they may even be all the same.
    #[test]
    fn behaves_as_a_flat_map(
        page_size in prop_oneof![4 => 1u32..4, 1 => prop::sample::select(vec![5, 16, 64, 256])],
        policy in policy(),
        capacity in 1usize..64,
        node_pages in prop_oneof![1usize..5, Just(1000)],
        same_hash in prop::bool::weighted(0.1),
        operations in prop::collection::vec(operation(), 0..80),
    ) {
        let mut harness = Harness::new(page_size, policy, capacity);
        harness.tree.node_pages = node_pages;
        harness.tree.fault = same_hash.then_some(Fault::SameHash);
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
