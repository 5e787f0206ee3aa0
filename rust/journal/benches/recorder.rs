//! What a journal costs the router: the records of one plan and its result, beside the same calls without a journal.
//! `cargo bench -p lightllm-journal`.

#![allow(missing_docs, reason = "criterion makes the functions")]

use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lightllm_journal::{Key, Recorder};
use lightllm_router::{Output, Request, RequestId, RowResult, Scheduler, SchedulerConfig, StepPlan, StepResult};

const PROMPT: usize = 64;

/// All run and none ends.
struct Steady {
    scheduler: Scheduler,
    recorder: Recorder,
    next: u64,
    running: u32,
    now: u64,
}

impl Steady {
    fn new(running: u32, page_size: u32) -> Self {
        let config = SchedulerConfig {
            pages: running * (8192 / page_size),
            page_size,
            slots: running,
            step_tokens: 1 << 20,
            prefill_chunk: 1 << 13,
            ..SchedulerConfig::default()
        };
        let recorder = Recorder::new(Box::new(io::sink()), &config, Key::new([7; 16]), false);
        Self {
            scheduler: Scheduler::new(config).expect("the configuration is valid"),
            recorder: recorder.expect("a sink takes a header"),
            next: 0,
            running,
            now: 0,
        }
    }

    /// One step. The times of the scheduler and of the recorder.
    fn step(&mut self) -> (Duration, Duration) {
        self.now += 1;
        while self.scheduler.stats().running + self.scheduler.stats().queued < self.running as usize {
            let prompt = (0..PROMPT).map(|position| self.next as u32 * 100 + position as u32).collect();
            // Of different lengths, so that pages fill in different steps.
            let request = Request::new(RequestId(self.next), prompt, 3_000 + self.next as u32 % 1_000);
            let add = self.recorder.add(&request, self.now);
            add.done(&self.scheduler.add(request, self.now)).expect("a sink takes a request");
            self.next += 1;
        }
        let begin = Instant::now();
        let plan = self.scheduler.schedule(self.now).expect("there is work");
        let mut scheduling = begin.elapsed();
        let begin = Instant::now();
        self.recorder.schedule(self.now, Some(black_box(&plan)), &[]).expect("a sink takes a plan");
        let mut recording = begin.elapsed();
        let result = result(&plan);
        let begin = Instant::now();
        let outputs: Vec<Output> = self.scheduler.update(result, self.now).expect("the result fits the plan");
        scheduling += begin.elapsed();
        let begin = Instant::now();
        self.recorder.update(plan.step, self.now, 1_000, black_box(&outputs)).expect("a sink takes a result");
        recording += begin.elapsed();
        (scheduling, recording)
    }
}

fn result(plan: &StepPlan) -> StepResult {
    let emitting = plan.rows.iter().enumerate().filter(|(_, row)| row.emits);
    let rows = emitting.map(|(index, _)| RowResult { row: index as u32, tokens: [42][..].into(), failed: None });
    StepResult { step: plan.step, rows: rows.collect() }
}

fn step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan and result");
    for (running, page_size) in [(1, 16), (256, 16), (256, 1), (4096, 16)] {
        group.throughput(Throughput::Elements(running.into()));
        for (name, recorded) in [("scheduler", false), ("recorder", true)] {
            let mut steady = Steady::new(running, page_size);
            let id = BenchmarkId::new(name, format!("{running} running, pages of {page_size}"));
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|steps| {
                    let times = (0..steps).map(|_| steady.step());
                    times.map(|(scheduling, recording)| if recorded { recording } else { scheduling }).sum()
                });
            });
        }
    }
    group.finish();
}

/// The record of a request: hashes of its prompt.
fn add(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("add");
    for prompt in [1024u32, 8192] {
        let mut recorder = Recorder::new(Box::new(io::sink()), &SchedulerConfig::default(), Key::new([7; 16]), false)
            .expect("a sink takes a header");
        let request = Request::new(RequestId(1), (0..prompt).collect(), 100);
        group.throughput(Throughput::Elements(prompt.into()));
        group.bench_function(BenchmarkId::new("recorder", format!("prompt of {prompt}")), |bencher| {
            bencher.iter(|| recorder.add(black_box(&request), 0).done(&Ok(())).expect("a sink takes a request"));
        });
    }
    group.finish();
}

criterion_group!(benches, step, add);
criterion_main!(benches);
