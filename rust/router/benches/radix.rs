//! Costs of the prefix cache: `cargo bench -p lightllm-router --bench radix`.
//!
//! The cache is private to the crate, so its files are compiled here once more.

#![allow(clippy::print_stdout, reason = "figures are printed")]
#![allow(missing_docs, reason = "macros of criterion make public items")]

#[path = "../src/ids.rs"]
#[allow(dead_code)]
mod ids;
#[path = "../src/radix/mod.rs"]
#[allow(dead_code, unused_imports)]
mod radix;

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ids::PageId;
use radix::{EvictionPolicy, Match, NodeId, PrefixCache};

const PROMPT: usize = 8192;
const PAGE_SIZES: [usize; 3] = [1, 16, 64];

/// Counts the bytes that are in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        IN_USE.fetch_add(size, Ordering::Relaxed);
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A tree, and page numbers that were not used yet.
struct Cache {
    tree: PrefixCache,
    page_size: usize,
    next_page: u32,
}

impl Cache {
    fn new(page_size: usize, capacity: usize, policy: EvictionPolicy) -> Self {
        Self { tree: PrefixCache::new(page_size as u32, capacity, policy, 0), page_size, next_page: 0 }
    }

    fn find(&self, tokens: &[u32]) -> Match {
        self.tree.find(0, tokens, usize::MAX)
    }

    fn pages(&mut self, tokens: usize) -> Vec<PageId> {
        let first = self.next_page;
        self.next_page += (tokens / self.page_size) as u32;
        (first..self.next_page).map(PageId).collect()
    }

    /// Locks what is cached, publishes the rest. Returns the handle and the time of publishing.
    fn hold(&mut self, tokens: &[u32]) -> (NodeId, Duration) {
        let found = self.find(tokens);
        let (node, _) = self.tree.lock(0, &found, 0);
        let rest = &tokens[found.pages * self.page_size..];
        let pages = self.pages(rest.len());
        let begin = Instant::now();
        let node = black_box(self.tree.publish(node, rest, &pages)).node;
        (node, begin.elapsed())
    }

    fn add(&mut self, tokens: &[u32]) {
        let (node, _) = self.hold(tokens);
        self.tree.unlock(node);
    }
}

/// Tokens that begin with no other's.
fn prompt(number: u32, length: usize) -> Vec<u32> {
    let mut state = number.wrapping_mul(2_654_435_761);
    let token = |index: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if index == 0 { number } else { state >> 15 }
    };
    (0..length).map(token).collect()
}

/// A prompt whose path has so many nodes: others leave it at even distances.
fn path(cache: &mut Cache, nodes: usize) -> Vec<u32> {
    let tokens = prompt(1, PROMPT);
    cache.add(&tokens);
    for cut in 1..nodes {
        let mut other = tokens[..cut * PROMPT / nodes].to_vec();
        other.extend(prompt(2, 64));
        cache.add(&other);
    }
    tokens
}

fn matching(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("match 8192 tokens");
    for page_size in PAGE_SIZES {
        for nodes in [1, 32, PROMPT / page_size.max(16)] {
            let mut cache = Cache::new(page_size, 1 << 20, EvictionPolicy::Lru);
            let tokens = path(&mut cache, nodes);
            assert_eq!(cache.find(&tokens).pages * page_size, PROMPT);
            let id = BenchmarkId::new(format!("page size {page_size}"), format!("{nodes} nodes"));
            group.bench_function(id, |bencher| bencher.iter(|| cache.find(black_box(&tokens))));
        }
    }
    group.finish();
    let mut group = criterion.benchmark_group("refresh a match after a change");
    for page_size in PAGE_SIZES {
        let mut cache = Cache::new(page_size, 1 << 20, EvictionPolicy::Lru);
        let tokens = path(&mut cache, 32);
        let old = cache.tree.find(0, &tokens, PROMPT / page_size / 2);
        cache.add(&prompt(9, PROMPT));
        let max_pages = PROMPT / page_size / 2;
        let refresh = |found: &Match| {
            let mut found = *found;
            cache.tree.refresh(&mut found, 0, black_box(&tokens), max_pages);
            found
        };
        assert_eq!(refresh(&old).pages, max_pages);
        group.bench_function(format!("page size {page_size}"), |bencher| bencher.iter(|| refresh(black_box(&old))));
    }
    group.finish();
}

fn inserting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("insert 8192 tokens");
    for page_size in PAGE_SIZES {
        for (name, shared) in [("all new", 0), ("half of it cached, with a split", PROMPT / 2)] {
            let mut cache = Cache::new(page_size, 1 << 20, EvictionPolicy::Lru);
            let base = prompt(1, PROMPT);
            cache.add(&base);
            let mut number = 1;
            group.bench_function(format!("page size {page_size}, {name}"), |bencher| {
                bencher.iter_custom(|iterations| {
                    let mut time = Duration::ZERO;
                    for _ in 0..iterations {
                        number += 1;
                        let tokens = [&base[..shared], &prompt(number, PROMPT - shared)].concat();
                        let pages = cache.pages(PROMPT);
                        let (root, _) = cache.tree.lock(0, &cache.tree.find(0, &[], 0), 0);
                        let begin = Instant::now();
                        let published = cache.tree.publish(root, &tokens, &pages);
                        time += begin.elapsed();
                        assert_eq!(published.replaced.len(), shared / page_size);
                        cache.tree.unlock(published.node);
                        // The first goes: what was published now is the base of the next.
                        cache.tree.evict((PROMPT - shared) / page_size, |_| ());
                        if cache.next_page > 1 << 30 {
                            cache.next_page = 0;
                        }
                    }
                    time
                });
            });
        }
    }
    group.finish();
}

fn locking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lock and unlock 8192 tokens");
    for page_size in PAGE_SIZES {
        for nodes in [1, 32] {
            let mut cache = Cache::new(page_size, 1 << 20, EvictionPolicy::Lru);
            let tokens = path(&mut cache, nodes);
            let id = BenchmarkId::new(format!("page size {page_size}"), format!("{nodes} nodes"));
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|iterations| {
                    let mut time = Duration::ZERO;
                    for _ in 0..iterations {
                        let found = cache.find(&tokens);
                        let begin = Instant::now();
                        let (node, pages) = cache.tree.lock(0, &found, 0);
                        cache.tree.unlock(node);
                        time += begin.elapsed();
                        black_box(pages);
                    }
                    time
                });
            });
        }
    }
    group.finish();
    criterion.bench_function("publish one generated token, page size 1", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut cache = Cache::new(1, 1 << 20, EvictionPolicy::Lru);
            let (mut node, _) = cache.hold(&prompt(1, 1024));
            let begin = Instant::now();
            for token in 0..iterations as u32 {
                node = cache.tree.publish(node, &[token], &[PageId(token)]).node;
            }
            let time = begin.elapsed();
            cache.tree.unlock(node);
            time
        });
    });
}

/// Of a tree of so many pages: a leaf has `leaf` of them.
fn evicting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("evict one page");
    for policy in EvictionPolicy::ALL {
        for (pages, leaf) in [(10_000, 1), (100_000, 1), (1_000_000, 1), (1_000_000, 64)] {
            let mut cache = Cache::new(16, pages, policy);
            let mut number = 0;
            let mut add = |cache: &mut Cache| {
                number += 1;
                cache.add(&prompt(number, leaf * 16));
            };
            (0..pages / leaf).for_each(|_| add(&mut cache));
            assert_eq!(cache.tree.evictable_pages(), pages / leaf * leaf);
            let id = BenchmarkId::new(policy.name(), format!("{pages} pages, {leaf} a leaf"));
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|iterations| {
                    let mut time = Duration::ZERO;
                    for _ in 0..iterations {
                        let begin = Instant::now();
                        cache.tree.evict(1, |page| {
                            black_box(page);
                        });
                        time += begin.elapsed();
                        if cache.tree.pages() + leaf <= pages {
                            add(&mut cache);
                        }
                    }
                    time
                });
            });
        }
    }
    group.finish();
}

/// Not a time: bytes of the tree for each token in it.
fn memory(_: &mut Criterion) {
    println!(
        "memory of a tree of 1,048,576 tokens, in bytes a token, without the index of 4 bytes a page of the pool:"
    );
    for page_size in [1, 16, 64, 256] {
        for length in [64, 1024, 8192] {
            if length < page_size {
                continue;
            }
            let mut cache = Cache::new(page_size, 1, EvictionPolicy::Lru);
            let before = IN_USE.load(Ordering::Relaxed);
            let requests = (1 << 20) / length;
            for number in 0..requests {
                cache.add(&prompt(number as u32, length));
            }
            let bytes = IN_USE.load(Ordering::Relaxed) - before;
            println!(
                "  page size {page_size:>3}, {length:>4} tokens a request: {:.2}",
                bytes as f64 / f64::from(1 << 20)
            );
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500));
    targets = matching, inserting, locking, evicting, memory
}
criterion_main!(benches);
