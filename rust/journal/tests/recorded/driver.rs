//! A scheduler with a backend that samples at random, all calls recorded.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use lightllm_journal::{Key, Recorder};
use lightllm_router::{
    EvictionPolicy, ImageSpan, OrderConfig, PolicyConfig, Request, RequestId, RowResult, ScheduleMode, Scheduler,
    SchedulerConfig, StepPlan, StepResult,
};
use proptest::prelude::*;

/// Tokens are below this: few, so that prompts and outputs often begin alike.
pub const VOCABULARY: u32 = 3;

#[derive(Clone, Debug)]
pub enum Operation {
    Add(Request),
    /// A prompt that goes on from what an earlier request had and got: which one, how much of it, and what follows.
    Continue(usize, usize, Request),
    Schedule,
    /// The tokens to sample, and which row fails, if any.
    Answer(u64, Option<usize>),
    FailStep,
    Abort(usize),
    /// An image of a request, which may have ended: which request and which image of it, if it has any.
    ImageReady(usize, usize),
    ClearCache,
    /// Time passes, in nanoseconds.
    Wait(u64),
}

/// A file in memory.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics while writing").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().expect("nobody panics while writing").clone()
    }
}

pub struct Driver {
    pub scheduler: Scheduler,
    pub recorder: Recorder,
    file: Shared,
    plans: VecDeque<StepPlan>,
    /// Prompt and outputs of all requests so far.
    texts: BTreeMap<RequestId, Vec<u32>>,
    /// Images of all requests so far.
    images: BTreeMap<RequestId, usize>,
    now: u64,
    next_id: u64,
}

impl Driver {
    pub fn new(config: SchedulerConfig, key: [u8; 16], tokens: bool) -> Self {
        let file = Shared::default();
        let recorder = Recorder::new(Box::new(file.clone()), &config, Key::new(key), tokens);
        Self {
            scheduler: Scheduler::new(config).expect("the test's configuration is valid"),
            recorder: recorder.expect("memory takes a header"),
            file,
            plans: VecDeque::new(),
            texts: BTreeMap::new(),
            images: BTreeMap::new(),
            now: 0,
            next_id: 1,
        }
    }

    pub fn apply(&mut self, operation: Operation) {
        self.now += 1_000_000;
        match operation {
            Operation::Add(request) => self.add(request),
            Operation::Continue(pick, keep, mut request) => {
                if let Some(text) = self.texts.values().nth(pick % self.texts.len().max(1)) {
                    let keep = keep % (text.len().min(36) + 1);
                    request.prompt.splice(0..0, text[..keep].iter().copied());
                }
                self.add(request);
            }
            Operation::Schedule => {
                let plan = self.scheduler.schedule(self.now);
                let refused = self.scheduler.take_refused();
                self.recorder.schedule(self.now, plan.as_ref(), &refused).expect("memory takes a plan");
                self.plans.extend(plan);
            }
            Operation::Answer(seed, fails) => self.answer(seed, fails),
            Operation::FailStep => {
                let Some(plan) = self.plans.pop_front() else { return };
                let ended = self.scheduler.fail_step(plan.step);
                self.recorder.fail_step(plan.step, self.now, &ended).expect("memory takes a failed step");
            }
            Operation::Abort(pick) => {
                let request = RequestId(1 + pick as u64 % self.next_id);
                let found = self.scheduler.abort(request);
                self.recorder.abort(request, self.now, found).expect("memory takes an abort");
            }
            Operation::ImageReady(pick, image) => {
                let Some((request, count)) = self.images.iter().nth(pick % self.images.len().max(1)) else { return };
                if *count > 0 {
                    let image = (image % count) as u32;
                    let found = self.scheduler.image_ready(*request, image, self.now).expect("it has this image");
                    self.recorder.image_ready(*request, image, self.now, found).expect("memory takes it");
                }
            }
            Operation::ClearCache => {
                let freed = self.scheduler.clear_cache();
                self.recorder.clear_cache(self.now, freed).expect("memory takes it");
            }
            Operation::Wait(ns) => self.now += ns,
        }
    }

    fn add(&mut self, mut request: Request) {
        request.id = RequestId(self.next_id);
        request.deadline = request.deadline.map(|deadline| self.now + deadline);
        for (index, sibling) in request.siblings.iter_mut().enumerate() {
            *sibling = RequestId(self.next_id + 1 + index as u64);
        }
        let ids: Vec<RequestId> = request.siblings.iter().copied().chain([request.id]).collect();
        let prompt = request.prompt.clone();
        request.images.retain(|image| image.end() <= prompt.len() as u64);
        let images = request.images.len();
        let add = self.recorder.add(&request, self.now);
        let result = self.scheduler.add(request, self.now);
        add.done(&result).expect("memory takes a request");
        if result.is_ok() {
            self.next_id += ids.len() as u64;
            self.images.extend(ids.iter().map(|id| (*id, images)));
            self.texts.extend(ids.into_iter().map(|id| (id, prompt.clone())));
        }
    }

    fn answer(&mut self, seed: u64, fails: Option<usize>) {
        let Some(plan) = self.plans.pop_front() else { return };
        let mut rows = Vec::new();
        for (index, row) in plan.rows.iter().enumerate() {
            let failed = (fails == Some(index)).then(|| format!("row {index} is not finite"));
            let mixed = seed.wrapping_add(index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
            let token = mixed as u32 % VOCABULARY;
            if failed.is_some() || row.emits {
                let tokens = if failed.is_some() { Vec::new() } else { vec![token] };
                rows.push(RowResult { row: index as u32, tokens: tokens.into(), failed });
            }
        }
        rows.reverse();
        let outputs = self.scheduler.update(StepResult { step: plan.step, rows }, self.now).expect("it fits the plan");
        for output in &outputs {
            self.texts.get_mut(&output.request).expect("a known request").extend(&output.tokens);
        }
        self.recorder.update(plan.step, self.now, seed % 100, &outputs).expect("memory takes a result");
    }

    /// The journal so far.
    pub fn journal(&mut self) -> Vec<u8> {
        self.recorder.flush().expect("memory takes all");
        self.file.bytes()
    }
}

/// The journal of a run.
pub fn record(config: SchedulerConfig, operations: &[Operation], key: [u8; 16], tokens: bool) -> Driver {
    let mut driver = Driver::new(config, key, tokens);
    for operation in operations {
        driver.apply(operation.clone());
    }
    driver
}

/// Images in order, from the positions before each, its own, and whether it is ready.
fn images(spans: Vec<(u32, u32, bool)>) -> Vec<ImageSpan> {
    let mut end = 0;
    let mut image = |(before, tokens, ready)| {
        let start = end + before;
        end = start + tokens;
        ImageSpan { start, tokens, ready }
    };
    spans.into_iter().map(&mut image).collect()
}

fn request() -> impl Strategy<Value = Request> {
    let random = prop::collection::vec(0..VOCABULARY, 1..24);
    let prompt = prop_oneof![random.boxed(), (8usize..32).prop_map(|length| vec![1; length]).boxed()];
    let length = (0u32..40, 0u32..6, prop::collection::vec(0..VOCABULARY, 0..2));
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    let order = (-3i32..4, prop::option::weighted(0.3, 0u64..200_000_000), 0u64..3, 0u64..3);
    let spans = prop_oneof![
        2 => Just(Vec::new()),
        1 => prop::collection::vec((0u32..6, 1u32..6, prop::bool::weighted(0.3)), 0..4)
    ];
    let flags = (flags, spans.prop_map(images));
    (prompt, length, 0u128..3, flags, order, prop::option::weighted(0.3, 1usize..3), prop::option::of(0u32..24))
        .prop_map(
            |(
                prompt,
                (max_tokens, min_tokens, end_ids),
                cache_salt,
                ((wants_history, prompt_logprobs), images),
                order,
                n,
                expected,
            )| {
                let (priority, deadline, tenant, class) = order;
                Request {
                    end_ids,
                    min_tokens,
                    cache_salt,
                    wants_history,
                    prompt_logprobs,
                    priority,
                    deadline,
                    tenant,
                    class,
                    siblings: vec![RequestId(0); n.unwrap_or(0)],
                    images,
                    expected_tokens: expected,
                    ..Request::new(RequestId(0), prompt, max_tokens)
                }
            },
        )
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => request().prop_map(Operation::Add),
        3 => (any::<usize>(), any::<usize>(), request()).prop_map(|(pick, keep, r)| Operation::Continue(pick, keep, r)),
        20 => Just(Operation::Schedule),
        20 => (any::<u64>(), prop::option::weighted(0.03, 0usize..6)).prop_map(|(s, f)| Operation::Answer(s, f)),
        1 => Just(Operation::FailStep),
        1 => any::<usize>().prop_map(Operation::Abort),
        6 => (any::<usize>(), any::<usize>()).prop_map(|(pick, image)| Operation::ImageReady(pick, image)),
        1 => Just(Operation::ClearCache),
        1 => (0u64..100_000_000).prop_map(Operation::Wait),
    ]
}

pub fn operations() -> impl Strategy<Value = Vec<Operation>> {
    prop::collection::vec(operation(), 0..300)
}

/// Half of them admit whoever fits, so that running ones are preempted.
fn policy() -> impl Strategy<Value = PolicyConfig> {
    let named = |name: &str| PolicyConfig::from_name(name).expect("it is one of the names");
    prop_oneof![
        Just(PolicyConfig::Aggressive { watermark: 1.0 }),
        prop::sample::select(PolicyConfig::NAMES.to_vec()).prop_map(named),
    ]
}

/// Pools for a few long requests, so that running ones are preempted often.
pub fn config() -> impl Strategy<Value = SchedulerConfig> {
    let sizes = (1u32..17, 0u32..12, 1u32..8, 0u32..16, 1u32..20);
    let modes = [ScheduleMode::Chunked, ScheduleMode::PrefillFirst, ScheduleMode::DecodeFirst];
    let order = (0u64..3, 1u32..64, prop::bool::weighted(0.3), 0u32..6, 0u32..20);
    (
        sizes,
        prop::bool::weighted(0.85),
        prop::sample::select(modes.to_vec()),
        policy(),
        order,
        prop::sample::select(EvictionPolicy::ALL.to_vec()),
        any::<u64>(),
    )
        .prop_map(
            |(
                (page_size, more_pages, slots, more_tokens, prefill_chunk),
                prefix_cache,
                mode,
                policy,
                order,
                eviction,
                seed,
            )| {
                let context = 64u32;
                let (age, tenant_quantum, refuse_late, bypass_limit, group_tokens) = order;
                SchedulerConfig {
                    pages: context.div_ceil(page_size) + 1 + more_pages,
                    page_size,
                    slots,
                    context,
                    step_tokens: slots + 2 + more_tokens,
                    prefill_chunk,
                    queue_requests: 12,
                    queue_tokens: 300,
                    prefix_cache,
                    mode,
                    policy,
                    order: OrderConfig {
                        priority_age_ns: 1 + age * 50_000_000,
                        tenant_quantum,
                        ttft_target_ns: age * 30_000_000,
                        refuse_late,
                        bypass_limit,
                        group_tokens,
                    },
                    eviction,
                    seed,
                    ..SchedulerConfig::default()
                }
            },
        )
}
