//! A scheduler with a backend that answers at once, and what became of each request.

use std::collections::BTreeMap;

use lightllm_router::{
    Error, OrderConfig, PolicyConfig, Request, RequestId, RowResult, Scheduler, SchedulerConfig, StepResult,
};

pub const SECOND: u64 = 1_000_000_000;

/// When a request came and what happened to it, in steps of the server.
#[derive(Clone, Debug)]
pub struct Track {
    pub request: Request,
    pub added: usize,
    /// Its place among all admissions.
    pub admitted: Option<usize>,
    pub finished: Option<usize>,
    pub refused: bool,
}

/// See the module.
pub struct Server {
    pub scheduler: Scheduler,
    pub tracks: BTreeMap<RequestId, Track>,
    /// Requests in order of admission.
    pub admitted: Vec<RequestId>,
    /// Tokens computed and generated for each tenant.
    pub served: BTreeMap<u64, u64>,
    pub now: u64,
    pub steps: usize,
    step_ns: u64,
}

/// Small enough that all of it matters: two requests run, and pages are short.
pub fn config(order: OrderConfig) -> SchedulerConfig {
    SchedulerConfig {
        pages: 64,
        page_size: 4,
        slots: 2,
        context: 256,
        step_tokens: 32,
        prefill_chunk: 32,
        prefix_cache: false,
        policy: PolicyConfig::Conservative,
        order,
        debug_checks: true,
        ..SchedulerConfig::default()
    }
}

impl Server {
    /// A step takes `step_ns`.
    pub fn new(config: SchedulerConfig, step_ns: u64) -> Self {
        Self {
            scheduler: Scheduler::new(config).expect("the test's configuration is valid"),
            tracks: BTreeMap::new(),
            admitted: Vec::new(),
            served: BTreeMap::new(),
            now: 0,
            steps: 0,
            step_ns,
        }
    }

    pub fn queued(&self) -> usize {
        self.scheduler.stats().queued
    }

    /// Adds a request under the next id.
    pub fn add(&mut self, request: Request) -> RequestId {
        let id = RequestId(self.tracks.len() as u64);
        let request = Request { id, ..request };
        self.scheduler.add(request.clone(), self.now).expect("the queue has room");
        let track = Track { request, added: self.steps, admitted: None, finished: None, refused: false };
        self.tracks.insert(id, track);
        id
    }

    /// One step, planned and answered.
    pub fn step(&mut self) {
        let plan = self.scheduler.schedule(self.now);
        for (request, error) in self.scheduler.take_refused() {
            assert!(matches!(error, Error::DeadlineMissed { retry_after_s: 1..=60 }), "{error}");
            self.tracks.get_mut(&request).expect("a known request is refused").refused = true;
        }
        self.now += self.step_ns;
        self.steps += 1;
        let Some(plan) = plan else { return };
        for attach in &plan.attach {
            let track = self.tracks.get_mut(&attach.request).expect("a known request runs");
            track.admitted.get_or_insert(self.admitted.len());
            self.admitted.push(attach.request);
        }
        for row in &plan.rows {
            let tenant = self.tracks[&row.request].request.tenant;
            let computed = if row.from_last { 0 } else { row.tokens };
            *self.served.entry(tenant).or_default() += u64::from(computed + u32::from(row.emits));
        }
        let emitting = plan.rows.iter().enumerate().filter(|(_, row)| row.emits);
        let rows = emitting.map(|(index, _)| RowResult { row: index as u32, tokens: [7][..].into(), failed: None });
        let result = StepResult { step: plan.step, rows: rows.collect() };
        for output in self.scheduler.update(result, self.now).expect("the result fits the plan") {
            if output.finish.is_some() {
                let track = self.tracks.get_mut(&output.request).expect("a known request ends");
                track.finished = Some(self.steps);
            }
        }
    }

    /// Until nothing is left to do.
    pub fn finish(&mut self) {
        while self.scheduler.has_work() {
            self.step();
            assert!(self.steps < 100_000, "it does not come to an end: {:?}", self.scheduler.stats());
        }
    }

    pub fn track(&self, request: RequestId) -> &Track {
        &self.tracks[&request]
    }
}

/// A request whose prompt no other shares.
pub fn request(number: u64, prompt: u32, max_tokens: u32) -> Request {
    let tokens = (0..prompt).map(|position| (number as u32) << 12 | position);
    Request::new(RequestId(0), tokens.collect(), max_tokens)
}
