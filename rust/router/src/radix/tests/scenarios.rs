//! Single behaviours, one by one.

use super::*;
use crate::radix::matching::common_tokens;

fn tree(page_size: u32) -> PrefixCache {
    PrefixCache::new(page_size, 1 << 10, EvictionPolicy::Lru, 0)
}

/// Locks what is cached of a prompt and publishes the rest, with pages from `first` on.
fn hold(tree: &mut PrefixCache, tokens: &[u32], first: u32) -> NodeId {
    let found = tree.find(0, tokens, usize::MAX);
    let (node, _) = tree.lock(0, &found, 0);
    let rest = &tokens[found.pages * tree.page_size..];
    let count = (rest.len() / tree.page_size) as u32;
    let pages: Vec<PageId> = (first..first + count).map(PageId).collect();
    tree.publish(node, rest, &pages).node
}

fn cache(tree: &mut PrefixCache, tokens: &[u32], first: u32) {
    let node = hold(tree, tokens, first);
    tree.unlock(node);
}

fn nodes(tree: &PrefixCache) -> usize {
    tree.arena.iter().filter(|(_, node)| node.parent.is_some()).count()
}

fn evict(tree: &mut PrefixCache, count: usize) -> Vec<u32> {
    let mut pages = Vec::new();
    tree.evict(count, |page| pages.push(page.0));
    pages
}

#[test]
fn a_growing_output_stays_one_node() {
    for policy in EvictionPolicy::ALL {
        let mut tree = PrefixCache::new(1, 100, policy, 0);
        let (mut node, _) = tree.lock(0, &tree.find(0, &[], 0), 0);
        for token in 0..100 {
            node = tree.publish(node, &[token], &[PageId(token)]).node;
        }
        assert_eq!(nodes(&tree), 1);
        assert_eq!(tree.find(0, &(0..100).collect::<Vec<_>>(), usize::MAX).pages, 100);
    }
}

#[test]
fn a_long_path_is_several_nodes() {
    for policy in EvictionPolicy::ALL {
        let mut tree = PrefixCache::new(16, 4096, policy, 0);
        let tokens: Vec<u32> = (0..20_000).collect();
        let node = hold(&mut tree, &tokens, 0);
        assert_eq!(nodes(&tree), 3);
        assert_eq!(tree.find(0, &tokens, usize::MAX).pages, 1250);
        tree.check_invariants(&[node]);
        tree.unlock(node);
        assert_eq!(nodes(&tree), 3, "they are not joined again");
        assert_eq!(evict(&mut tree, 1250), (0..1250).rev().collect::<Vec<_>>());
    }
}

#[test]
fn salts_do_not_share() {
    let mut tree = tree(2);
    let (node, _) = tree.lock(1, &tree.find(1, &[], 0), 0);
    tree.publish(node, &[7, 8], &[PageId(0)]);
    assert_eq!(tree.find(1, &[7, 8], 9).pages, 1);
    assert_eq!(tree.find(2, &[7, 8], 9).pages, 0);
}

#[test]
fn children_that_begin_with_the_same_token_are_told_apart() {
    let mut tree = tree(4);
    cache(&mut tree, &[1, 2, 3, 4], 0);
    cache(&mut tree, &[1, 2, 3, 5], 1);
    assert_eq!(tree.find(0, &[1, 2, 3, 4], 9).pages, 1);
    assert_eq!(tree.find(0, &[1, 2, 3, 6], 9).pages, 0);
    assert_eq!(nodes(&tree), 2);
}

#[test]
fn a_page_that_nobody_holds_makes_way_for_one_that_is_in_use() {
    let mut tree = tree(1);
    cache(&mut tree, &[1, 2, 3], 0);
    // The second began before the first was published, so it has pages of its own.
    let (node, _) = tree.lock(0, &tree.find(0, &[], 0), 0);
    let published = tree.publish(node, &[1, 2, 4], &[PageId(10), PageId(11), PageId(12)]);
    assert_eq!(published.replaced, [PageId(0), PageId(1)]);
    assert_eq!(published.duplicates, []);
    let (node, pages) = tree.lock(0, &tree.find(0, &[1, 2, 3], 9), 0);
    assert_eq!(pages, [PageId(10), PageId(11), PageId(2)]);
    tree.check_invariants(&[published.node, node]);
}

#[test]
fn a_page_that_others_hold_stays() {
    let mut tree = tree(1);
    let first = hold(&mut tree, &[1, 2], 0);
    let (node, _) = tree.lock(0, &tree.find(0, &[], 0), 0);
    let published = tree.publish(node, &[1, 3], &[PageId(10), PageId(11)]);
    assert_eq!(published.duplicates, [PageId(10)]);
    assert_eq!(published.replaced, []);
    tree.check_invariants(&[first, published.node]);
}

/// A match of a prompt of three pages, of which `cached` were there when it was found.
fn sought(tree: &mut PrefixCache, cached: u32) -> (Vec<u32>, Match) {
    let prompt: Vec<u32> = (0..6).collect();
    cache(tree, &prompt[..cached as usize * 2], 0);
    (prompt.clone(), tree.find(0, &prompt, 9))
}

#[test]
fn a_match_holds_while_its_node_grows() {
    let mut tree = tree(2);
    let (prompt, mut found) = sought(&mut tree, 2);
    let node = hold(&mut tree, &prompt, 5);
    assert!(tree.holds(&found));
    tree.refresh(&mut found, 0, &prompt, 9);
    assert_eq!(found.pages, 3);
    tree.check_invariants(&[node]);
}

#[test]
fn a_match_holds_until_it_is_cut_short() {
    let mut tree = tree(2);
    let prompt: Vec<u32> = (0..6).collect();
    cache(&mut tree, &prompt, 0);
    let mut found = tree.find(0, &[0, 1, 2, 3, 9, 9], 9);
    assert_eq!(evict(&mut tree, 1), [2]);
    assert!(tree.holds(&found), "what was evicted lies behind it");
    assert_eq!(evict(&mut tree, 1), [1]);
    assert!(!tree.holds(&found));
    tree.refresh(&mut found, 0, &[0, 1, 2, 3, 9, 9], 9);
    assert_eq!(found.pages, 1);
}

#[test]
fn a_match_from_before_a_cut_is_not_taken_for_what_grew_there() {
    let mut tree = tree(2);
    let (prompt, mut found) = sought(&mut tree, 3);
    assert_eq!(evict(&mut tree, 1), [2]);
    let node = hold(&mut tree, &[0, 1, 2, 3, 8, 8], 7);
    assert_eq!(nodes(&tree), 1, "it grew where it was cut");
    assert!(!tree.holds(&found));
    tree.refresh(&mut found, 0, &prompt, 9);
    assert_eq!(found.pages, 2);
    tree.check_invariants(&[node]);
}

#[test]
fn a_match_does_not_survive_its_node() {
    let mut tree = tree(2);
    let (prompt, mut found) = sought(&mut tree, 3);
    assert_eq!(evict(&mut tree, 3), [2, 1, 0]);
    cache(&mut tree, &[7, 7, 7, 7, 7, 7], 10);
    assert!(!tree.holds(&found), "the node of that name is another");
    tree.refresh(&mut found, 0, &prompt, 9);
    assert_eq!(found.pages, 0);
}

#[test]
#[should_panic(expected = "a match is refreshed before it is used")]
fn a_stale_match_is_not_locked() {
    let mut tree = tree(2);
    let (_, found) = sought(&mut tree, 3);
    evict(&mut tree, 2);
    tree.lock(0, &found, 0);
}

#[test]
fn what_was_split_grows_together_again() {
    let mut tree = tree(1);
    cache(&mut tree, &[1, 2, 3], 0);
    let short = hold(&mut tree, &[1, 2], 10);
    assert_eq!(nodes(&tree), 2);
    let long = hold(&mut tree, &[1, 2, 3], 10);
    tree.unlock(short);
    assert_eq!(nodes(&tree), 2, "the two had different users until now");
    tree.unlock(long);
    assert_eq!(nodes(&tree), 1);
    tree.check_invariants(&[]);
    assert_eq!(evict(&mut tree, 3), [2, 1, 0]);
}

#[test]
fn parts_of_different_use_stay_apart() {
    let mut tree = tree(1);
    cache(&mut tree, &[1, 2, 3], 0);
    cache(&mut tree, &[1, 2], 10);
    cache(&mut tree, &[9], 20);
    assert_eq!(evict(&mut tree, 2), [2, 1], "the end was used before the start was");
    assert_eq!(evict(&mut tree, 2), [0, 20]);
}

#[test]
fn what_is_used_often_outlives_what_is_used_late() {
    let mut tree = PrefixCache::new(1, 10, EvictionPolicy::Lfu, 0);
    (0..3).for_each(|_| cache(&mut tree, &[1], 0));
    cache(&mut tree, &[2], 1);
    assert_eq!(evict(&mut tree, 1), [1]);
}

#[test]
fn what_is_costly_outlives_what_is_cheap() {
    let mut tree = PrefixCache::new(256, 10, EvictionPolicy::CostAware, 0);
    cache(&mut tree, &[1; 256 * 4], 0);
    cache(&mut tree, &[2; 256], 9);
    assert_eq!(evict(&mut tree, 1), [9], "the end of the long one takes longer to compute");
}

#[test]
fn common_tokens_are_counted() {
    let tokens: Vec<u32> = (0..400).collect();
    for same in [0, 1, 127, 128, 129, 255, 256, 300, 399] {
        let mut other = tokens.clone();
        other[same] = 1000;
        assert_eq!(common_tokens(&tokens, &other), same);
        assert_eq!(common_tokens(&tokens[..same], &tokens), same);
        assert_eq!(common_tokens(&tokens, &tokens[..same]), same);
    }
}
