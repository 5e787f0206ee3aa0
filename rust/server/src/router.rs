use std::collections::VecDeque;

use lightllm_journal::Recorder;
use lightllm_process::Clock;
use lightllm_router::{RequestId, Scheduler};
use lightllm_wire::{Failed, Notice, RouterStart, encode};

use crate::clients::{ClientId, Clients};
use crate::intake::failure;
use crate::journal::Journal;
use crate::outbox::Outbox;
use crate::output::OutputWriter;
use crate::plan::PlanWriter;
use crate::process::stopped;
use crate::ranks::{Capacity, Ranks};
use crate::settings::scheduler_config;
use crate::sockets::{Inbox, Sockets};
use crate::telemetry::{self, Telemetry};
use crate::{Error, Result};

/// One plan runs and one waits behind it.
const PLANS_AHEAD: usize = 2;

/// The unit in which a poll waits.
const POLL_NS: u64 = 1_000_000;

/// Time between two heartbeats.
const BEAT_NS: u64 = 1_000_000_000;

/// The same while there is no work: beats are all that an idle process costs.
const IDLE_BEAT_NS: u64 = 2 * BEAT_NS;

/// A plan without an answer.
pub struct Unanswered {
    pub step: u64,
    /// The request of each row.
    pub requests: Vec<RequestId>,
}

/// The loop between sockets and scheduler. What it hears from HTTP processes is in `intake`, what it hears from ranks
/// in `results`.
pub struct Router<'a> {
    pub sockets: &'a Sockets,
    pub clock: Clock,
    pub scheduler: Scheduler,
    pub clients: Clients,
    pub ranks: Ranks,
    pub capacity: Capacity,
    pub unanswered: VecDeque<Unanswered>,
    /// Results so far.
    pub answered: u64,
    pub telemetry: Telemetry,
    pub journal: Journal,
    /// Frames for HTTP processes. They leave after the next plan: ranks go before readers.
    pub outbox: Outbox,
    pub output_writer: OutputWriter,
    plan_writer: PlanWriter,
    /// When the next plan is made, if it was put off.
    plan_at: Option<u64>,
}

impl<'a> Router<'a> {
    pub fn new(sockets: &'a Sockets, start: &RouterStart, ranks: Ranks, capacity: Capacity) -> Result<Self> {
        let config = scheduler_config(&start.scheduling, capacity)?;
        Ok(Self {
            sockets,
            clock: Clock::start(),
            scheduler: Scheduler::new(config)?,
            journal: Journal::open(start.journal.as_ref(), &config),
            clients: Clients::new(start.client_bound_bytes),
            ranks,
            capacity,
            unanswered: VecDeque::new(),
            answered: 0,
            telemetry: Telemetry::new(start.process.clone()),
            outbox: Outbox::default(),
            output_writer: OutputWriter::default(),
            plan_writer: PlanWriter::default(),
            plan_at: None,
        })
    }

    /// Serves until the supervisor says stop.
    pub fn run(&mut self) -> Result<()> {
        let sockets = self.sockets;
        let inboxes = [sockets.plans.inbox(), sockets.requests.inbox(), sockets.control.inbox()];
        let mut last_beat = None;
        loop {
            let now = self.clock.now();
            let period = if self.idle() { IDLE_BEAT_NS } else { BEAT_NS };
            let next_beat = last_beat.map_or(now, |last: u64| last + period);
            let wait_ms = if now < next_beat {
                (next_beat - now).div_ceil(1_000_000)
            } else {
                self.beat(now)?;
                last_beat = Some(now);
                period / 1_000_000
            };
            // Rounded down: a plan that leaves early has lost less than one that comes too late.
            let wait_ms = self.plan_at.map_or(wait_ms, |at| wait_ms.min(at.saturating_sub(now) / POLL_NS)) as i32;
            Inbox::wait(&inboxes, wait_ms)?;
            while let Some((identity, frame)) = sockets.plans.receive()? {
                self.hear_rank(&identity, &frame)?;
            }
            while let Some((identity, frame)) = sockets.requests.receive()? {
                self.hear_client(&identity, &frame)?;
            }
            if stopped(sockets)? {
                self.journal.record(Recorder::flush);
                return Ok(());
            }
            self.send_plans()?;
            self.send_outbox()?;
        }
    }

    fn idle(&self) -> bool {
        self.unanswered.is_empty() && !self.scheduler.has_work()
    }

    /// Tells health and metric server how things are.
    fn beat(&mut self, now: u64) -> Result<()> {
        let stats = self.scheduler.stats();
        let config = self.scheduler.config();
        let full = stats.queued + stats.running >= config.queue_requests + config.slots as usize
            || stats.queued_tokens >= config.queue_tokens;
        self.journal.record(Recorder::flush);
        if let Some(message) = self.journal.take_failure() {
            self.telemetry.journal_failed();
            self.sockets.control.send(&encode(&Notice { message }))?;
        }
        let beat = self.telemetry.heartbeat(&stats, self.unanswered.len(), self.answered, full);
        self.sockets.health.send(&encode(&beat))?;
        if let Some(report) = self.telemetry.report(stats, now, self.capacity.page_size) {
            self.sockets.metrics.send(&encode(&report))?;
        }
        Ok(())
    }

    /// Sends plans as long as fewer than two are unanswered, but none before it is due.
    fn send_plans(&mut self) -> Result<()> {
        self.plan_at = None;
        while self.unanswered.len() < PLANS_AHEAD {
            let begin = self.clock.now();
            if !self.scheduler.has_work() && !self.scheduler.has_late(begin) {
                return Ok(());
            }
            let due = self.scheduler.plan_at(begin);
            // The poll waits for whole milliseconds.
            if due >= begin + POLL_NS {
                self.plan_at = Some(due);
                return Ok(());
            }
            let plan = self.scheduler.schedule(begin);
            let planned = self.clock.now();
            let refused = self.scheduler.take_refused();
            self.journal.record(|recorder| recorder.schedule(begin, plan.as_ref(), &refused));
            for (request, error) in refused {
                let Some(live) = self.clients.end(request) else { continue };
                let failed = failure(live.id, &error);
                self.telemetry.rejected(failed.0);
                self.tell(live.client, &failed.1);
            }
            let Some(plan) = plan else {
                if self.scheduler.has_late(begin) {
                    continue; // one call gives up so many at most
                }
                return Ok(());
            };
            let recorded = self.clock.now();
            let frame = self.plan_writer.frame(&plan, &self.clients);
            self.telemetry.observe(telemetry::PLAN, seconds(planned - begin));
            self.telemetry.observe(telemetry::ENCODE, seconds(self.clock.now() - recorded));
            self.telemetry.admitted(plan.attach.len());
            for (rank, identity) in self.ranks.identities().enumerate() {
                if !self.sockets.plans.send(identity, frame)? {
                    return Err(Error::Rank { rank: rank as u32, what: "is gone".to_owned() });
                }
            }
            let requests = plan.rows.iter().map(|row| row.request).collect();
            self.unanswered.push_back(Unanswered { step: plan.step, requests });
        }
        Ok(())
    }

    /// Puts a frame for an HTTP process into the outbox.
    pub fn tell<T: serde::Serialize>(&mut self, client: ClientId, message: &T) {
        self.outbox.push(client, message);
    }

    /// Tells an HTTP process that a request of its own has failed.
    pub fn tell_failed(&mut self, client: ClientId, request: u64, kind: &str, message: &str, retry_after: u32) {
        let (kind, message) = (kind.to_owned(), message.to_owned());
        self.tell(client, &Failed { request, kind, message, retry_after });
    }

    /// Sends what is in the outbox. If an HTTP process is gone, or takes nothing in, its requests end.
    fn send_outbox(&mut self) -> Result<()> {
        let mut outbox = std::mem::take(&mut self.outbox);
        for (client, frame) in outbox.frames() {
            let Some(identity) = self.clients.identity(client) else { continue };
            let orphans = if self.sockets.requests.send(identity, frame)? {
                self.clients.sent(client, frame.len())
            } else {
                self.clients.gone(client)
            };
            for orphan in orphans {
                self.abort(orphan);
            }
        }
        outbox.clear();
        self.outbox = outbox; // for its memory: an abort tells nobody anything
        Ok(())
    }

    /// Ends a request that the clients' book has forgotten already.
    pub fn abort(&mut self, request: RequestId) {
        let now = self.clock.now();
        let found = self.scheduler.abort(request);
        self.journal.record(|recorder| recorder.abort(request, now, found));
    }
}

/// A time for a histogram.
pub fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 * 1e-9
}
