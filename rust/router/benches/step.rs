//! Costs of a step: `cargo bench -p lightllm-router --bench step`.
//!
//! Steady states: so many requests decode while 64 wait, and as one ends another takes its place. A prompt has 1,024
//! tokens; half of them are cached. The cache is full, so that every page comes from an eviction. What keeps the
//! others waiting is either the number of slots, or the pages: then each step asks the policy about those that wait.
//!
//! `-- table` prints medians and 99th percentiles of single steps for all policies; `-- count BOUND POLICY RUNNING
//! STEPS` only runs, for `valgrind --tool=callgrind --toggle-collect='*measured_schedule*'` (with
//! `CARGO_PROFILE_BENCH_STRIP=none`).

#![allow(clippy::print_stdout, reason = "figures are printed")]
#![allow(missing_docs, reason = "macros of criterion make public items")]

use std::cell::RefCell;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use lightllm_router::{
    Output, PolicyConfig, Request, RequestId, Row, RowResult, Scheduler, SchedulerConfig, StepPlan, StepResult,
};

const QUEUED: usize = 64;
const PREFIX: u32 = 512;
const PROMPT: u32 = 1024;
const PAGE_SIZE: u32 = 16;
const MAX_TOKENS: u32 = 400;
/// Outputs have from here on 200 lengths.
const SHORTEST: u32 = 100;
const END: u32 = u32::MAX;
const SIZES: [u32; 5] = [1, 16, 256, 1024, 4096];

/// What keeps requests waiting.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    Slots,
    Pages,
}

/// A server in its steady state.
struct State {
    scheduler: Scheduler,
    next: u64,
    now: u64,
}

impl State {
    fn new(bound: Bound, policy: &str, running: u32) -> Self {
        let most = (PROMPT + MAX_TOKENS).div_ceil(PAGE_SIZE);
        // Half of the prompt is shared; about 100 of 200 tokens are there.
        let mean = (PROMPT - PREFIX + 100).div_ceil(PAGE_SIZE);
        let (slots, pages) = match bound {
            Bound::Slots => (running, running * most * 2 + 64),
            Bound::Pages => (running * 2, running * mean + most + 64),
        };
        let config = SchedulerConfig {
            pages,
            page_size: PAGE_SIZE,
            slots,
            step_tokens: 1 << 16,
            policy: PolicyConfig::from_name(policy).expect("a name of the list"),
            ..SchedulerConfig::default()
        };
        let mut state =
            Self { scheduler: Scheduler::new(config).expect("the configuration is valid"), next: 0, now: 0 };
        // By then the cache is full, and ends are spread over the steps.
        for _ in 0..1000 {
            state.step();
        }
        state
    }

    /// One step. Times of planning and of taking the result.
    fn step(&mut self) -> (Duration, Duration) {
        self.now += 20_000_000;
        while self.scheduler.stats().queued < QUEUED {
            self.scheduler.add(request(self.next), self.now).expect("the queue has room");
            self.next += 1;
        }
        let begin = Instant::now();
        let plan = measured_schedule(&mut self.scheduler, self.now);
        let planned = begin.elapsed();
        let result = result(&plan);
        let begin = Instant::now();
        let outputs = measured_update(&mut self.scheduler, result, self.now);
        let updated = begin.elapsed();
        drop((plan, outputs));
        (planned, updated)
    }
}

#[inline(never)]
fn measured_schedule(scheduler: &mut Scheduler, now: u64) -> StepPlan {
    scheduler.schedule(now).expect("there is work")
}

#[inline(never)]
fn measured_update(scheduler: &mut Scheduler, result: StepResult, now: u64) -> Vec<Output> {
    scheduler.update(result, now).expect("the result fits the plan")
}

/// Prompts share a prefix in two groups.
fn request(number: u64) -> Request {
    let own = (PREFIX..PROMPT).map(|position| (number as u32).wrapping_mul(31).wrapping_add(position) & 0xFFFF);
    let prefix = (0..PREFIX).map(|position| (number % 2) as u32 * 7 + position);
    Request {
        end_ids: vec![END],
        expected_tokens: Some(length(RequestId(number))),
        ..Request::new(RequestId(number), prefix.chain(own).collect(), MAX_TOKENS)
    }
}

/// Tokens that a request generates.
fn length(request: RequestId) -> u32 {
    SHORTEST + (request.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32 % 200
}

fn result(plan: &StepPlan) -> StepResult {
    let emitting = plan.rows.iter().enumerate().filter(|(_, row)| row.emits);
    let row = |(index, row): (usize, &Row)| {
        let is_last = row.start + row.tokens + 1 >= PROMPT + length(row.request);
        let token = if is_last { END } else { row.start ^ row.slot.0 };
        RowResult { row: index as u32, tokens: [token][..].into(), failed: None }
    };
    StepResult { step: plan.step, rows: emitting.map(row).collect() }
}

/// A case by its name.
fn bench(criterion: &mut Criterion, bound: Bound, policy: &str, running: u32) {
    let state = RefCell::new(None);
    let mut group = criterion.benchmark_group(format!("{bound:?}/{policy}").to_lowercase());
    group.sample_size(20).measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));
    let total = |iterations: u64, part: fn((Duration, Duration)) -> Duration| -> Duration {
        let mut state = state.borrow_mut();
        let state = state.get_or_insert_with(|| State::new(bound, policy, running));
        (0..iterations).map(|_| part(state.step())).sum()
    };
    group.bench_function(BenchmarkId::new("schedule", running), |b| b.iter_custom(|n| total(n, |times| times.0)));
    group.bench_function(BenchmarkId::new("update", running), |b| b.iter_custom(|n| total(n, |times| times.1)));
    group.finish();
}

fn table() {
    const STEPS: usize = 2000;
    println!("microseconds a step: median and 99th percentile of {STEPS} steps");
    println!("bound  policy        running  schedule            update              update a row");
    for bound in [Bound::Slots, Bound::Pages] {
        for policy in PolicyConfig::NAMES {
            for size in SIZES {
                let mut state = State::new(bound, policy, size);
                let (mut schedule, mut update, mut running) = (Vec::new(), Vec::new(), 0);
                for _ in 0..STEPS {
                    let (planned, updated) = state.step();
                    schedule.push(planned);
                    update.push(updated);
                    running += state.scheduler.stats().running;
                }
                let quantile = |times: &mut Vec<Duration>, percent: usize| {
                    times.sort_unstable();
                    times[times.len() * percent / 100].as_secs_f64() * 1e6
                };
                let running = running as f64 / STEPS as f64;
                let (schedule_median, schedule_99) = (quantile(&mut schedule, 50), quantile(&mut schedule, 99));
                let (update_median, update_99) = (quantile(&mut update, 50), quantile(&mut update, 99));
                println!(
                    "{:6} {policy:12} {running:8.1} {schedule_median:9.2} {schedule_99:9.2} {update_median:9.2} \
                     {update_99:9.2} {:9.3}",
                    format!("{bound:?}").to_lowercase(),
                    update_median / running,
                );
            }
        }
    }
}

fn count(arguments: &[String]) {
    let [bound, policy, running, steps] = arguments else { panic!("count BOUND POLICY RUNNING STEPS") };
    let bound = if bound == "pages" { Bound::Pages } else { Bound::Slots };
    let number = |text: &String| text.parse::<u32>().expect("a number");
    let mut state = State::new(bound, policy, number(running));
    for _ in 0..number(steps) {
        state.step();
    }
    println!("{:?}", state.scheduler.stats());
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("table") => table(),
        Some("count") => count(&arguments[1..]),
        _ => {
            let mut criterion = Criterion::default().configure_from_args();
            for policy in PolicyConfig::NAMES {
                for size in SIZES {
                    bench(&mut criterion, Bound::Slots, policy, size);
                }
                bench(&mut criterion, Bound::Pages, policy, 256);
            }
            criterion.final_summary();
        }
    }
}
