//! What admission costs: `cargo bench -p lightllm-router --bench admission`.
//!
//! For each policy and number of running requests: `begin` of a round and its first candidate, which is when a policy
//! that draws does so; a further candidate that is refused; and one that is admitted.

#![allow(missing_docs, reason = "macros of criterion make public items")]

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use lightllm_router::{AdmissionPolicy, Demand, PolicyConfig, Room, SplitMix64};

const RUNNING: [u32; 3] = [64, 256, 4096];
const LONGEST: u32 = 2048;

/// Requests anywhere in their output.
fn running(requests: u32, stream: &mut SplitMix64) -> Vec<Demand> {
    let demand = |id| {
        let (prompt, expected) = (stream.range(16, 2048), stream.range(16, LONGEST));
        let generated = stream.range(0, expected - 1);
        Demand {
            id,
            held: u64::from(prompt + generated),
            prompt,
            generated,
            max_tokens: LONGEST,
            expected: Some(expected),
            ..Demand::default()
        }
    };
    (0..u64::from(requests)).map(demand).collect()
}

fn built(name: &str, stream: &mut SplitMix64) -> Box<dyn AdmissionPolicy> {
    let mut policy = PolicyConfig::from_name(name).expect("a listed name").build(1);
    for _ in 0..1000 {
        policy.finished(&Demand { generated: stream.range(16, LONGEST), ..Demand::default() });
    }
    policy
}

fn candidate(held: u64) -> Demand {
    Demand { id: 1 << 20, held, prompt: held as u32, max_tokens: LONGEST, expected: Some(500), ..Demand::default() }
}

fn admission(criterion: &mut Criterion) {
    for name in PolicyConfig::NAMES {
        let mut group = criterion.benchmark_group(name);
        for requests in RUNNING {
            let mut stream = SplitMix64::new(u64::from(requests));
            let demands = running(requests, &mut stream);
            let mut policy = built(name, &mut stream);
            // Half full, so that one of 512 tokens is admitted; and one that fills it nearly up is looked at closely.
            let held: u64 = demands.iter().map(|demand| demand.held).sum();
            let room = Room { capacity: held * 2 + 64 * u64::from(LONGEST), shared: 0 };
            let large = candidate(room.capacity / 10_000 * 9_690 - held);
            group.bench_function(BenchmarkId::new("round", requests), |bencher| {
                bencher.iter(|| {
                    policy.begin(black_box(room), black_box(&demands));
                    policy.admits(black_box(&[large]))
                });
            });
            group.bench_function(BenchmarkId::new("refused", requests), |bencher| {
                policy.begin(room, &demands);
                policy.admits(&[large]);
                bencher.iter(|| policy.admits(black_box(&[large])));
            });
            group.bench_function(BenchmarkId::new("admitted", requests), |bencher| {
                bencher.iter_batched(
                    || {
                        let mut policy = built(name, &mut SplitMix64::new(3));
                        policy.begin(room, &demands);
                        // The first costs the draws.
                        policy.admits(&[candidate(1)]);
                        policy
                    },
                    |mut policy| {
                        policy.admits(black_box(&[candidate(512)]));
                        policy
                    },
                    BatchSize::LargeInput,
                );
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_millis(600));
    targets = admission
}
criterion_main!(benches);
