//! The loop of a router, with a clock that jumps.
//!
//! As in service: a plan leaves whenever fewer than two are without a result and the scheduler has something to plan,
//! be it that a result came or a request, or later, if the scheduler says so ([`Scheduler::plan_at`]); the backend carries out one plan after the other. Of what happens at the
//! same time results come before requests, and all of it before the next plan is made.

mod backend;
mod images;
mod live;
mod record;

use std::collections::VecDeque;
use std::ops::ControlFlow;

use lightllm_router::{Error as Refusal, Output, Request, RequestId, Scheduler};

use crate::cost::Prepared;
use crate::error::{Error, Result};
use crate::metrics::{Meter, RequestCsv, State};
use crate::report::Report;
use crate::setup::Setup;
use crate::workload::{self, END, Traffic, output_token};
use backend::Backend;
use images::Images;
use live::{Live, LiveSet};
use record::Journal;

const SECOND: u64 = 1_000_000_000;
/// Events between two reports of progress.
const EVENTS: u64 = 4096;

/// How far a simulation is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Index of the setup in a sweep.
    pub index: usize,
    /// Part of the workload that has arrived, from 0 to 1; 0 during those before it.
    pub done: f64,
    /// Requests that have arrived.
    pub requests: u64,
    /// Time on the virtual clock.
    pub simulated_seconds: f64,
    /// Requests that run.
    pub running: usize,
    /// Requests that wait.
    pub queued: usize,
    /// This is the last report of this setup.
    pub finished: bool,
}

/// Simulates one setup. `progress` is told every few thousand events and at the end, and can stop it.
pub fn run(setup: &Setup, progress: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<Report> {
    let mut engine = Engine::new(setup)?;
    for number in 0..setup.before.len() {
        engine.run(progress).map_err(|error| error.within(&before(number)))?;
        let next = engine.to_come.pop_front().expect("the setup's own comes last");
        engine.begin(next);
    }
    engine.run(progress)?;
    engine.report(setup)
}

/// How errors name one of the workloads before.
fn before(number: usize) -> String {
    format!("before[{number}]")
}

/// See the module.
struct Engine {
    scheduler: Scheduler,
    cost: Prepared,
    backend: Backend,
    live: LiveSet,
    images: Images,
    journal: Journal,
    strict: bool,
    now: u64,
    /// When the next plan is made, if it was put off.
    plan_at: Option<u64>,
    phase: Phase,
    /// The next ones; the last is the one that is reported.
    to_come: VecDeque<Phase>,
    /// Requests of those that were.
    served: u64,
}

/// The workload that is served, and what is measured of it.
struct Phase {
    traffic: Traffic,
    meter: Meter,
    arrived: u64,
}

impl Engine {
    fn new(setup: &Setup) -> Result<Self> {
        setup.slo.validate()?;
        let config = setup.config();
        let scheduler = Scheduler::new(config).map_err(|error| Error::setting("scheduler", error.to_string()))?;
        let open = |workload, limits| workload::open(workload, limits, setup.seed, config.page_size);
        let phase = |traffic, csv| Phase { traffic, meter: Meter::new(setup.slo, csv, config.pages), arrived: 0 };
        let mut phases = VecDeque::new();
        for (number, one) in setup.before.iter().enumerate() {
            let traffic = open(&one.workload, one.limits).map_err(|error| error.within(&before(number)))?;
            phases.push_back(phase(traffic, None));
        }
        let traffic = open(&setup.workload, setup.limits)?;
        let cost = setup.cost.prepare()?;
        let journal = Journal::create(setup.journal.as_deref(), &config)?;
        phases.push_back(phase(traffic, setup.csv.as_deref().map(RequestCsv::create).transpose()?));
        Ok(Self {
            scheduler,
            cost,
            backend: Backend::default(),
            live: LiveSet::default(),
            images: Images::default(),
            journal,
            strict: setup.strict,
            now: 0,
            plan_at: None,
            phase: phases.pop_front().expect("the setup's own is there"),
            to_come: phases,
            served: 0,
        })
    }

    /// Goes on with the next workload, once all of the one before has ended.
    fn begin(&mut self, mut phase: Phase) {
        phase.traffic.begin(self.now);
        phase.meter.begin(self.now, &self.scheduler.stats().totals);
        self.served += self.phase.arrived;
        self.phase = phase;
    }

    /// Runs until all that arrives has ended.
    fn run(&mut self, progress: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<()> {
        let mut state = State::default();
        for events in 1_u64.. {
            let arrival = self.phase.traffic.next_at()?;
            let events_to_come = [arrival, self.backend.next_end(), self.images.next_at(), self.plan_at];
            let Some(next) = events_to_come.into_iter().flatten().min() else { break };
            let next = next.max(self.now);
            self.phase.meter.state(&state, self.now, next);
            self.now = next;
            while let Some((result, busy_ns)) = self.backend.ended(self.now) {
                let step = result.step;
                let outputs = self.scheduler.update(result, self.now).expect("results are made from their plans");
                self.journal.update(step, self.now, busy_ns, &outputs)?;
                for output in outputs {
                    self.take(output)?;
                }
            }
            while self.phase.traffic.next_at()?.is_some_and(|at| at <= self.now) {
                self.arrive()?;
            }
            while let Some(requests) = self.images.ready(self.now) {
                self.image_ready(&requests)?;
            }
            self.send_plans()?;
            state = State::of(&self.scheduler.stats());
            if events.is_multiple_of(EVENTS) && progress(self.progress(&state, false)).is_break() {
                return Err(Error::Stopped);
            }
        }
        assert!(!self.scheduler.has_work(), "all that was added has ended, since nothing is left to happen");
        self.journal.finish()?;
        assert!(self.live.is_empty(), "every request had its end");
        if progress(self.progress(&state, self.to_come.is_empty())).is_break() {
            return Err(Error::Stopped);
        }
        Ok(())
    }

    fn progress(&self, state: &State, finished: bool) -> Progress {
        Progress {
            index: 0,
            done: if self.to_come.is_empty() { self.phase.traffic.progress(self.now) } else { 0.0 },
            requests: self.served + self.phase.arrived,
            simulated_seconds: self.now as f64 / 1e9,
            running: state.running as usize,
            queued: state.queued as usize,
            finished,
        }
    }

    /// The report, after [`run`](Self::run).
    fn report(self, setup: &Setup) -> Result<Report> {
        let config = self.scheduler.config();
        let report = self.phase.meter.report(self.now, &self.scheduler.stats().totals, config.step_tokens)?;
        let policy = config.policy.name().to_owned();
        Ok(Report { name: setup.name.clone(), policy, seed: setup.seed, ..report })
    }

    /// Adds the next request of the workload.
    fn arrive(&mut self) -> Result<()> {
        let (number, trace) = self.phase.traffic.take();
        self.phase.arrived += 1;
        self.phase.meter.arrived(1 + trace.siblings.len() as u64);
        let own = self.served + number; // what no workload before it had
        let mut prompt = trace.prompt.tokens(own, trace.prefix, trace.prompt_tokens);
        let image = trace.image.map(|image| images::insert(&image, own, &mut prompt));
        let context = self.scheduler.config().context;
        let room = u64::from(context).saturating_sub(prompt.len() as u64).max(1) as u32;
        let max_tokens = trace.max_tokens.map_or(trace.output_tokens, |max_tokens| max_tokens.min(room));
        let live = Live {
            number,
            arrival_ns: self.now,
            prompt_tokens: prompt.len() as u32,
            output_tokens: trace.output_tokens,
            max_tokens,
            token: output_token(&trace.prompt, own),
            priority: trace.priority,
            tenant: trace.tenant,
            class: trace.class,
            awaits_image: image.is_some_and(|image| !image.ready),
            attached: 0,
            served: None,
        };
        let ids: Vec<RequestId> = self.live.insert_all(&live, &trace.siblings);
        let request = Request {
            end_ids: vec![END],
            cache_salt: trace.salt,
            priority: trace.priority,
            deadline: trace.deadline_ns.map(|deadline| self.now + deadline),
            tenant: trace.tenant,
            class: trace.class,
            siblings: ids[1..].to_vec(),
            images: image.into_iter().collect(),
            expected_tokens: trace
                .siblings
                .iter()
                .copied()
                .chain([trace.output_tokens])
                .max()
                .map(|n| n.min(max_tokens)),
            ..Request::new(ids[0], prompt, max_tokens)
        };
        let scheduler = &mut self.scheduler;
        let added = self.journal.add(request, self.now, |request| scheduler.add(request, self.now))?;
        if let Err(refusal) = added {
            if self.strict && never_runs(&refusal) {
                return Err(self.phase.traffic.wrong(refusal.to_string()));
            }
            ids.into_iter().try_for_each(|id| self.refuse(id, &refusal))?;
        } else if let Some(image) = trace.image.filter(|_| live.awaits_image) {
            self.images.push(&image, &ids, self.now);
        }
        Ok(())
    }

    /// The image of these requests, which have one prompt, is there.
    fn image_ready(&mut self, requests: &[RequestId]) -> Result<()> {
        for id in requests {
            let found = self.scheduler.image_ready(*id, 0, self.now).expect("each of them has an image");
            self.journal.image_ready(*id, self.now, found)?;
            if found {
                self.live.get_mut(*id).awaits_image = false;
            }
        }
        Ok(())
    }

    /// A request is not served. Its client, if it waits for answers, asks for the next thing when it was told to.
    fn refuse(&mut self, id: RequestId, refusal: &Refusal) -> Result<()> {
        let (live, last_of_group) = self.live.remove(id);
        if last_of_group {
            let seconds = match refusal {
                Refusal::QueueFull { retry_after_s, .. } | Refusal::DeadlineMissed { retry_after_s } => *retry_after_s,
                _ => 1,
            };
            self.phase.traffic.note_end(self.now + seconds * SECOND);
        }
        self.phase.meter.refused(&live.ended(None), refusal)
    }

    fn send_plans(&mut self) -> Result<()> {
        self.plan_at = None;
        while self.scheduler.unanswered() < Scheduler::MAX_UNANSWERED && self.scheduler.has_work() {
            let at = self.scheduler.plan_at(self.now);
            if at > self.now {
                self.plan_at = Some(at);
                break;
            }
            let plan = self.scheduler.schedule(self.now);
            let refused = self.scheduler.take_refused();
            self.journal.schedule(self.now, plan.as_ref(), &refused)?;
            for (id, refusal) in refused {
                self.refuse(id, &refusal)?;
            }
            let Some(plan) = plan else { break };
            let shape = crate::cost::StepShape::of(&plan, self.scheduler.config().page_size);
            let ns = self.cost.step_ns(&shape, self.backend.is_idle(self.now));
            self.phase.meter.step(&shape, ns);
            for attach in &plan.attach {
                let live = self.live.get_mut(attach.request);
                live.attached += u32::from(!live.awaits_image);
            }
            self.backend.start(&plan, &self.live, self.now, ns);
        }
        Ok(())
    }

    /// News of a request.
    fn take(&mut self, output: Output) -> Result<()> {
        let live = self.live.get_mut(output.request);
        let served = live.served.get_or_insert_default();
        if let Some(admission) = output.admission {
            served.cached_tokens = admission.cached_tokens;
            served.queue_ns = admission.queue_ns;
        }
        for _ in output.tokens {
            if served.tokens == 0 {
                served.first_ns = self.now;
            } else {
                let gap = self.now - served.last_ns;
                served.most_itl_ns = served.most_itl_ns.max(gap);
                self.phase.meter.token_after(gap);
            }
            served.tokens += 1;
            served.last_ns = self.now;
        }
        if output.finish.is_some() {
            let (live, last_of_group) = self.live.remove(output.request);
            let evictions = live.attached.saturating_sub(1);
            let served = live.served.map(|served| crate::metrics::Served { evictions, ..served });
            self.phase.meter.finished(&live.ended(served))?;
            if last_of_group {
                self.phase.traffic.note_end(self.now);
            }
        }
        Ok(())
    }
}

/// The request is too large, however empty the server is.
fn never_runs(refusal: &Refusal) -> bool {
    use Refusal::{ContextExceeded, PromptTooLong, TooLargeForPool, TooManySiblings};
    matches!(refusal, PromptTooLong { .. } | ContextExceeded { .. } | TooLargeForPool { .. } | TooManySiblings { .. })
}
