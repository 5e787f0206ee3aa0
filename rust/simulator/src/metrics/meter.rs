//! All measurements of one simulation.

use lightllm_router::{Error as Refusal, Totals};

use super::{RequestCsv, Samples, State, TimelineMeter};
use crate::cost::StepShape;
use crate::error::Result;
use crate::report::{Cdf, Goodput, Refused, Report, Throughput, Utilization};
use crate::setup::Slo;

/// A request that is over. Times are in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub number: u64,
    pub arrival_ns: u64,
    pub prompt_tokens: u32,
    pub priority: i32,
    pub tenant: u64,
    pub class: u64,
    /// None if it was refused.
    pub served: Option<Served>,
}

/// How a request was served.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Served {
    pub cached_tokens: u32,
    pub queue_ns: u64,
    pub tokens: u32,
    pub first_ns: u64,
    pub last_ns: u64,
    pub most_itl_ns: u64,
    pub evictions: u32,
}

impl Served {
    /// Mean time between tokens; None with one token.
    pub fn tpot_ns(&self) -> Option<u64> {
        (self.tokens > 1).then(|| (self.last_ns - self.first_ns) / u64::from(self.tokens - 1))
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Meter {
    /// When its workload began, and what the scheduler had counted by then.
    start_ns: u64,
    before: Totals,
    slo: Slo,
    csv: Option<RequestCsv>,
    timeline: TimelineMeter,
    ttft: Samples,
    itl: Samples,
    tpot: Samples,
    e2e: Samples,
    queue: Samples,
    arrived: u64,
    finished: u64,
    good: u64,
    refused: Refused,
    steps: u64,
    steps_with_rows: u64,
    rows_tokens: u64,
    busy_ns: u64,
}

impl Meter {
    pub fn new(slo: Slo, csv: Option<RequestCsv>, total_pages: u32) -> Self {
        Self {
            start_ns: 0,
            before: Totals::default(),
            slo,
            csv,
            timeline: TimelineMeter::new(total_pages),
            ttft: Samples::default(),
            itl: Samples::default(),
            tpot: Samples::default(),
            e2e: Samples::default(),
            queue: Samples::default(),
            arrived: 0,
            finished: 0,
            good: 0,
            refused: Refused::default(),
            steps: 0,
            steps_with_rows: 0,
            rows_tokens: 0,
            busy_ns: 0,
        }
    }

    /// Its workload begins.
    pub fn begin(&mut self, now: u64, totals: &Totals) {
        self.start_ns = now;
        self.before = *totals;
    }

    pub fn arrived(&mut self, requests: u64) {
        self.arrived += requests;
    }

    pub fn state(&mut self, state: &State, from: u64, to: u64) {
        self.timeline.note(state, from - self.start_ns, to - self.start_ns);
    }

    pub fn step(&mut self, shape: &StepShape, ns: u64) {
        let tokens = shape.prefill_tokens + shape.decode_rows;
        self.steps += 1;
        self.steps_with_rows += u64::from(tokens > 0);
        self.rows_tokens += tokens;
        self.busy_ns += ns;
    }

    pub fn token_after(&mut self, ns: u64) {
        self.itl.push(ns);
    }

    pub fn finished(&mut self, ended: &Ended) -> Result<()> {
        let served = ended.served.as_ref().expect("a finished request was served");
        let (ttft, e2e) = (served.first_ns - ended.arrival_ns, served.last_ns - ended.arrival_ns);
        let tpot = served.tpot_ns();
        self.finished += 1;
        self.ttft.push(ttft);
        self.e2e.push(e2e);
        self.queue.push(served.queue_ns);
        if let Some(tpot) = tpot {
            self.tpot.push(tpot);
        }
        let keeps = |bound: Option<f64>, ns: u64| bound.is_none_or(|ms| ns as f64 <= ms * 1e6);
        let slo = &self.slo;
        let good = keeps(slo.ttft_ms, ttft) && keeps(slo.itl_ms, tpot.unwrap_or(0)) && keeps(slo.e2e_ms, e2e);
        self.good += u64::from(good);
        self.write(ended, "finished", good)
    }

    pub fn refused(&mut self, ended: &Ended, why: &Refusal) -> Result<()> {
        let refused = &mut self.refused;
        let (count, outcome) = match why {
            Refusal::QueueFull { .. } => (&mut refused.queue_full, "queue_full"),
            Refusal::DeadlineMissed { .. } => (&mut refused.deadline, "deadline"),
            Refusal::PromptTooLong { .. } | Refusal::ContextExceeded { .. } => (&mut refused.context, "context"),
            Refusal::TooLargeForPool { .. } => (&mut refused.pool, "pool"),
            _ => (&mut refused.other, "refused"),
        };
        *count += 1;
        refused.total += 1;
        self.write(ended, outcome, false)
    }

    fn write(&mut self, ended: &Ended, outcome: &str, good: bool) -> Result<()> {
        let start_ns = self.start_ns;
        self.csv.as_mut().map_or(Ok(()), |csv| csv.write(ended, start_ns, outcome, good))
    }

    /// The report, without its name, policy and seed. `end_ns`: when the last thing happened.
    pub fn report(mut self, end_ns: u64, totals: &Totals, step_tokens: u32) -> Result<Report> {
        if let Some(csv) = self.csv.take() {
            csv.finish()?;
        }
        for samples in [&mut self.ttft, &mut self.itl, &mut self.tpot, &mut self.e2e, &mut self.queue] {
            samples.sort();
        }
        let seconds = (end_ns - self.start_ns) as f64 / 1e9;
        let before = &self.before;
        let preemptions = totals.preemptions - before.preemptions;
        let prefix_hits = totals.prefix_hits - before.prefix_hits;
        let prefix_queries = totals.prefix_queries - before.prefix_queries;
        let prompt_tokens = totals.prompt_tokens - before.prompt_tokens;
        let generated_tokens = totals.generated_tokens - before.generated_tokens;
        let over = |count: u64, all: f64| if all > 0.0 { count as f64 / all } else { 0.0 };
        let part: Vec<f64> = (0..=200).map(|index| f64::from(index) / 200.0).collect();
        Ok(Report {
            arrived: self.arrived,
            finished: self.finished,
            refused: self.refused,
            simulated_seconds: seconds,
            steps: self.steps,
            ttft_ms: self.ttft.summary(),
            itl_ms: self.itl.summary(),
            tpot_ms: self.tpot.summary(),
            e2e_ms: self.e2e.summary(),
            queue_ms: self.queue.summary(),
            utilization: Utilization {
                kv_mean: self.timeline.mean_kv(),
                kv_max: self.timeline.most_kv(),
                step_tokens: over(self.rows_tokens, self.steps_with_rows as f64 * f64::from(step_tokens)),
                backend: over(self.busy_ns, seconds * 1e9),
                running_mean: self.timeline.mean_running(),
                queued_mean: self.timeline.mean_queued(),
            },
            evictions: preemptions,
            evicted_percent: 100.0 * over(preemptions, self.finished as f64),
            prefix_hit_rate: over(prefix_hits, prefix_queries as f64),
            goodput: Goodput {
                requests: self.good,
                requests_per_s: over(self.good, seconds),
                part: over(self.good, self.arrived as f64),
            },
            throughput: Throughput {
                requests_per_s: over(self.finished, seconds),
                prompt_tokens_per_s: over(prompt_tokens, seconds),
                output_tokens_per_s: over(generated_tokens, seconds),
            },
            timeline: self.timeline.timeline(),
            cdf: Cdf {
                ttft_ms: self.ttft.cdf(&part),
                itl_ms: self.itl.cdf(&part),
                tpot_ms: self.tpot.cdf(&part),
                e2e_ms: self.e2e.cdf(&part),
                queue_ms: self.queue.cdf(&part),
                part,
            },
            ..Report::default()
        })
    }
}
