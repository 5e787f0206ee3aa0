//! Any interleaving of calls.

use lightllm_router::{
    EvictionPolicy, ImageSpan, OrderConfig, PolicyConfig, Request, RequestId, ScheduleMode, SchedulerConfig,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::backend::{Fault, VOCABULARY};
use crate::driver::Driver;

#[derive(Clone, Debug)]
enum Operation {
    Add(Request),
    Schedule,
    Answer(Fault),
    Abort(usize),
    /// An image that is missing becomes ready.
    Ready(usize),
    ClearCache,
}

/// Images in order: (positions before it, its positions, whether it is ready), as far as the prompt goes.
fn images(prompt: usize) -> impl Strategy<Value = Vec<ImageSpan>> {
    let places = prop::collection::vec((0u32..5, 1u32..6, prop::bool::weighted(0.3)), 0..4);
    prop_oneof![1 => Just(Vec::new()), 1 => places].prop_map(move |places| {
        let mut start = 0;
        let spans = places.into_iter().map(|(before, tokens, ready)| {
            let image = ImageSpan { start: start + before, tokens, ready };
            start += before + tokens;
            image
        });
        spans.take_while(|image| image.end() <= prompt as u64).collect()
    })
}

fn request() -> impl Strategy<Value = Request> {
    let prompt = prop::collection::vec(0u32..2, 1..20);
    let prompt = prompt.prop_flat_map(|prompt| (images(prompt.len()), Just(prompt)));
    let ends = prop::collection::vec(0..VOCABULARY as u32, 0..2);
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    // The ids of siblings are set when it is added.
    let siblings = prop_oneof![4 => Just(0usize), 1 => 1usize..4].prop_map(|count| vec![RequestId(0); count]);
    let rank = (-2i32..3, 0u64..3, prop::option::weighted(0.3, 0u64..500_000_000), 0u64..3);
    (prompt, 0u32..24, ends, 0u32..6, 0u128..2, flags, siblings, rank).prop_map(
        |((images, prompt), max_tokens, end_ids, min_tokens, cache_salt, flags, siblings, rank)| Request {
            end_ids,
            min_tokens,
            cache_salt,
            wants_history: flags.0,
            prompt_logprobs: flags.1,
            siblings,
            images,
            priority: rank.0,
            tenant: rank.1,
            deadline: rank.2,
            class: rank.3,
            ..Request::new(RequestId(0), prompt, max_tokens)
        },
    )
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        12 => Just(Fault::default()),
        2 => (0usize..4).prop_map(|row| Fault { row: Some(row), step: false }),
        1 => Just(Fault { row: None, step: true }),
    ]
}

fn operation(faults: bool) -> impl Strategy<Value = Operation> {
    let fault = if faults { fault().boxed() } else { Just(Fault::default()).boxed() };
    let weight = u32::from(faults);
    prop_oneof![
        4 => request().prop_map(Operation::Add),
        6 => Just(Operation::Schedule),
        6 => fault.prop_map(Operation::Answer),
        weight => any::<usize>().prop_map(Operation::Abort),
        3 => any::<usize>().prop_map(Operation::Ready),
        weight => Just(Operation::ClearCache),
    ]
}

fn policy() -> impl Strategy<Value = PolicyConfig> {
    let by_name = |name| PolicyConfig::from_name(name).expect("the names are those of policies");
    let names: Vec<PolicyConfig> = PolicyConfig::NAMES.iter().map(|name| by_name(name)).collect();
    let watermark = (6u32..11).prop_map(|tenths| PolicyConfig::Aggressive { watermark: f64::from(tenths) / 10.0 });
    prop_oneof![1 => watermark, 1 => prop::sample::select(names)]
}

fn order() -> impl Strategy<Value = OrderConfig> {
    let age = prop_oneof![Just(1_000_000u64), Just(50_000_000), Just(5_000_000_000)];
    let target = prop_oneof![Just(0u64), Just(200_000_000)];
    (age, 1u32..30, target, prop::bool::weighted(0.3), 0u32..5, 0u32..8).prop_map(
        |(priority_age_ns, tenant_quantum, ttft_target_ns, refuse_late, bypass_limit, group_tokens)| OrderConfig {
            priority_age_ns,
            tenant_quantum,
            ttft_target_ns,
            refuse_late,
            bypass_limit,
            group_tokens,
        },
    )
}

/// Half of them have pages for about one long request, so that running ones are preempted often.
fn config() -> impl Strategy<Value = SchedulerConfig> {
    let sizes = (4u32..24, 1u32..6, 1u32..6, 0u32..12, 1u32..9);
    let modes = vec![ScheduleMode::Chunked, ScheduleMode::PrefillFirst, ScheduleMode::DecodeFirst];
    let evictions = vec![EvictionPolicy::Lru, EvictionPolicy::Lfu, EvictionPolicy::CostAware];
    let ways = (prop::sample::select(modes), 0u32..5, prop::sample::select(evictions), policy(), order());
    let sharing = (2u32..4, 1u32..7, prop_oneof![3 => Just(0u64), 1 => Just(1), 1 => Just(20_100_000)]);
    (sizes, any::<bool>(), prop::bool::weighted(0.8), ways, sharing).prop_map(
        |((pages, page_size, slots, more_tokens, prefill_chunk), tight, prefix_cache, ways, sharing)| {
            let (mode, max_wait_tokens, eviction, policy, order) = ways;
            let context = 40;
            SchedulerConfig {
                pages: if tight { context / page_size + pages % 4 } else { pages },
                page_size,
                slots: if tight { slots + 2 } else { slots },
                context,
                step_tokens: slots + 2 + more_tokens,
                step_ns: sharing.2,
                plan_lead_ns: 0,
                balance_tokens: sharing.1 - 1,
                prefill_chunk,
                queue_requests: 8,
                queue_tokens: 90,
                shared_rows: sharing.0,
                shared_tokens: sharing.1,
                prefix_cache,
                mode,
                max_wait_tokens,
                policy,
                order,
                eviction,
                seed: pages.into(),
                debug_checks: true,
            }
        },
    )
}

fn run(config: SchedulerConfig, operations: Vec<Operation>, depth: usize) -> Driver {
    let mut driver = Driver::new(config);
    for operation in operations {
        match operation {
            Operation::Add(request) => {
                driver.add(request);
            }
            Operation::Schedule => {
                if driver.plans.len() < depth {
                    driver.schedule();
                }
            }
            Operation::Answer(fault) => {
                driver.answer(fault);
            }
            Operation::Abort(pick) => {
                let ids: Vec<RequestId> = driver.requests.keys().copied().collect();
                if let Some(id) = ids.get(pick % ids.len().max(1)) {
                    driver.abort(*id);
                }
            }
            Operation::Ready(pick) => {
                let missing = driver.missing_images();
                if let Some((request, image)) = missing.get(pick % missing.len().max(1)) {
                    driver.image_ready(*request, *image);
                }
            }
            Operation::ClearCache => {
                driver.scheduler.clear_cache();
            }
        }
        driver.check();
    }
    driver.finish(depth);
    driver
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// With aborts, failing rows and failing steps: nothing leaks, and texts are right as far as they go.
    #[test]
    fn nothing_leaks(
        config in config(),
        depth in 1usize..3,
        operations in prop::collection::vec(operation(true), 0..120),
    ) {
        run(config, operations, depth);
    }

    /// Without faults every text is complete and right, under preemption, prefix hits and pipelining.
    #[test]
    fn texts_are_right(
        config in config(),
        depth in 1usize..3,
        operations in prop::collection::vec(operation(false), 0..120),
    ) {
        run(config, operations, depth);
    }

    /// Conservative admission keeps its promise, whatever is shared, forked or published twice.
    #[test]
    fn conservative_never_evicts(
        config in config(),
        depth in 1usize..3,
        operations in prop::collection::vec(operation(true), 0..120),
    ) {
        let driver = run(SchedulerConfig { policy: PolicyConfig::Conservative, ..config }, operations, depth);
        prop_assert_eq!(driver.scheduler.stats().totals.preemptions, 0);
    }

    /// The same calls give the same plans.
    #[test]
    fn plans_are_reproducible(config in config(), operations in prop::collection::vec(operation(true), 0..40)) {
        let first = run(config, operations.clone(), 2);
        let second = run(config, operations, 2);
        prop_assert_eq!(format!("{first:?}"), format!("{second:?}"));
    }
}

/// The tests above are worth something only if what they are about happens in them.
#[test]
fn the_interleavings_get_everywhere() {
    let mut runner = TestRunner::deterministic();
    let strategy = (config(), prop::collection::vec(operation(true), 0..120));
    let mut sums = [0; 14];
    for _ in 0..900 {
        let (config, operations) = strategy.new_tree(&mut runner).expect("nothing is filtered").current();
        let driver = run(config, operations, 2);
        let totals = driver.scheduler.stats().totals;
        let counts = [
            totals.preemptions,
            totals.prefix_hits,
            totals.finished_stop,
            totals.finished_failed,
            totals.aborted,
            totals.refused_queue_full,
            totals.refused_late,
            totals.bypasses,
            totals.deferred,
            totals.forks,
            totals.copies,
            driver.groups,
            totals.ahead,
            driver.parked,
        ];
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    assert!(sums.iter().all(|sum| *sum >= 50), "in 900 runs: {sums:?}");
}
