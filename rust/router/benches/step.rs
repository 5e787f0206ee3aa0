//! Time of one plan and of taking its result: `cargo bench -p lightllm-router`.
//!
//! Each line is a steady state: that many requests decode, and as one ends another takes its place, with a cached
//! prefix, while the prefix cache is full, so that every page comes from an eviction.

#![allow(clippy::print_stdout, reason = "figures are printed")]

use std::time::{Duration, Instant};

use lightllm_router::{Request, RequestId, RowResult, Scheduler, SchedulerConfig, StepPlan, StepResult};

const STEPS: usize = 1_000;
const PREFIX: u32 = 512;
const PROMPT: u32 = 1024;
const OUTPUT: u32 = 200;

fn main() {
    println!(
        "{:>8} {:>14} {:>14} {:>14}  (medians, and the 99th percentile)",
        "running", "schedule (us)", "update (us)", "both p99"
    );
    for running in [1, 16, 256, 1024, 4096] {
        measure(running);
    }
}

fn measure(running: u32) {
    let pages_each = (PROMPT + OUTPUT).div_ceil(16);
    let config = SchedulerConfig {
        pages: running * pages_each * 2 + 64,
        slots: running,
        step_tokens: 1 << 16,
        ..SchedulerConfig::default()
    };
    let mut scheduler = Scheduler::new(config).expect("the configuration is valid");
    let mut next = 0;
    let (mut schedule, mut update, mut both) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0.. {
        while scheduler.stats().queued < 64 {
            scheduler.add(request(next, running), 0).expect("the queue has room");
            next += 1;
        }
        let begin = Instant::now();
        let plan = scheduler.schedule(0).expect("there is work");
        let planned = begin.elapsed();
        let result = result(&plan);
        let begin = Instant::now();
        scheduler.update(result, 0).expect("the result fits the plan");
        let updated = begin.elapsed();
        // By then the cache is full and evicts.
        if step >= 3 * OUTPUT {
            schedule.push(planned);
            update.push(updated);
            both.push(planned + updated);
        }
        if both.len() == STEPS {
            break;
        }
    }
    let totals = scheduler.stats().totals;
    assert!(totals.prefix_hits > 0 && totals.preemptions == 0, "the state that is described: {totals:?}");
    let quantile = |times: &mut Vec<Duration>, percent: usize| {
        times.sort_unstable();
        times[times.len() * percent / 100].as_secs_f64() * 1e6
    };
    let (schedule, update) = (quantile(&mut schedule, 50), quantile(&mut update, 50));
    println!("{running:>8} {schedule:>14.2} {update:>14.2} {:>14.1}", quantile(&mut both, 99));
}

/// Prompts share a prefix in groups; outputs differ in length, so that ends are spread over the steps.
fn request(number: u32, running: u32) -> Request {
    let group = number % 2;
    let prefix = (0..PREFIX).map(|position| group * 7 + position);
    let own = (PREFIX..PROMPT).map(|position| number.wrapping_mul(31).wrapping_add(position));
    let first_round = if number < running { number % OUTPUT } else { 0 };
    Request::new(RequestId(number.into()), prefix.chain(own).collect(), OUTPUT - first_round)
}

fn result(plan: &StepPlan) -> StepResult {
    let emitting = plan.rows.iter().enumerate().filter(|(_, row)| row.emits);
    let row = |(index, row): (usize, &lightllm_router::Row)| RowResult {
        row: index as u32,
        tokens: vec![row.start ^ row.slot.0],
        failed: None,
    };
    StepResult { step: plan.step, rows: emitting.map(row).collect() }
}
