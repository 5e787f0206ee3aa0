use std::collections::VecDeque;

use lightllm_router::{self as scheduler, Request, RequestId, RowResult, Scheduler, SchedulerConfig};
use lightllm_wire::{
    self as wire, ChildHello, ClientMessage, Failed, Fatal, PROTOCOL, RankMessage, RankStop, Ready, RouterHello,
    RouterStart, StepOutput, SupervisorMessage, decode, encode,
};

use crate::clients::Clients;
use crate::clock::Clock;
use crate::output::outputs_by_client;
use crate::plan::plan_message;
use crate::ranks::{Capacity, Ranks};
use crate::salt::cache_key;
use crate::sockets::{Sockets, receive, receive_from, send, send_to};
use crate::telemetry::{self, Telemetry};
use crate::{Error, Result};

/// One plan runs and one waits behind it.
const PLANS_AHEAD: usize = 2;

const SECOND: u64 = 1_000_000_000;

/// A plan without an answer.
struct Unanswered {
    step: u64,
    /// The request of each row.
    requests: Vec<RequestId>,
}

/// Runs the router process until the supervisor says stop. `start`: a [`RouterStart`] frame.
///
/// An error is also told to the supervisor, as the last words of the process.
pub fn run(start: &[u8]) -> Result<()> {
    let start: RouterStart = decode(start)?;
    if start.protocol != PROTOCOL {
        let peer = "the supervisor".to_owned();
        return Err(Error::Protocol { peer, ours: PROTOCOL, theirs: start.protocol });
    }
    let context = zmq::Context::new();
    let sockets = Sockets::open(&context, &start)?;
    let pid = std::process::id();
    send(&sockets.control, &encode(&ChildHello { protocol: PROTOCOL, process: start.process.clone(), pid }))?;
    let outcome = serve(&sockets, &start);
    if let Err(error) = &outcome {
        send(&sockets.control, &encode(&Fatal { message: error.to_string() }))?;
    }
    outcome
}

fn serve(sockets: &Sockets, start: &RouterStart) -> Result<()> {
    let Some((ranks, capacity)) = wait_for_ranks(sockets, start)? else { return Ok(()) };
    let mut router = Router::new(sockets, start, ranks, capacity)?;
    send(&sockets.control, &encode(&Ready {}))?;
    let outcome = router.run();
    let stop = encode(&RankStop {});
    for rank in router.ranks.identities() {
        send_to(&sockets.plans, rank, &stop)?;
    }
    outcome
}

/// Waits for the hellos of all ranks; None if the supervisor says stop before.
fn wait_for_ranks(sockets: &Sockets, start: &RouterStart) -> Result<Option<(Ranks, Capacity)>> {
    let mut ranks = Ranks::new(start.ranks);
    loop {
        poll(&[&sockets.plans, &sockets.control], -1)?;
        if stopped(sockets)? {
            return Ok(None);
        }
        while let Some((identity, frame)) = receive_from(&sockets.plans)? {
            // A rank that does not speak the contract can't be served; it and its supervisor must hear of it.
            if let RankMessage::RankHello(hello) = decode(&frame)? {
                ranks.hello(identity, hello)?;
            }
        }
        if let Some(capacity) = ranks.capacity()? {
            return Ok(Some((ranks, capacity)));
        }
    }
}

fn stopped(sockets: &Sockets) -> Result<bool> {
    while let Some(frame) = receive(&sockets.control)? {
        if matches!(decode(&frame)?, SupervisorMessage::Stop(_)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Waits until one of the sockets can be read, or for `timeout_ms` (-1: for ever).
fn poll(sockets: &[&zmq::Socket], timeout_ms: i64) -> Result<()> {
    let mut items: Vec<zmq::PollItem> = sockets.iter().map(|socket| socket.as_poll_item(zmq::POLLIN)).collect();
    match zmq::poll(&mut items, timeout_ms) {
        Ok(_) | Err(zmq::Error::EINTR) => Ok(()),
        Err(error) => Err(Error::Poll(error)),
    }
}

struct Router<'a> {
    sockets: &'a Sockets,
    clock: Clock,
    scheduler: Scheduler,
    clients: Clients,
    ranks: Ranks,
    capacity: Capacity,
    unanswered: VecDeque<Unanswered>,
    /// Results so far.
    answered: u64,
    telemetry: Telemetry,
}

impl<'a> Router<'a> {
    fn new(sockets: &'a Sockets, start: &RouterStart, ranks: Ranks, capacity: Capacity) -> Result<Self> {
        let config = SchedulerConfig {
            pages: capacity.pages,
            page_size: capacity.page_size,
            slots: capacity.slots,
            context: capacity.context,
            step_tokens: start.step_tokens.max(capacity.slots),
            prefill_chunk: start.prefill_chunk,
            queue_requests: start.queue_requests as usize,
            queue_tokens: start.queue_tokens.max(u64::from(capacity.context)),
            prefix_cache: start.prefix_cache,
            ..SchedulerConfig::default()
        };
        Ok(Self {
            sockets,
            clock: Clock::start(),
            scheduler: Scheduler::new(config)?,
            clients: Clients::new(start.client_bound_bytes),
            ranks,
            capacity,
            unanswered: VecDeque::new(),
            answered: 0,
            telemetry: Telemetry::new(start.process.clone()),
        })
    }

    fn run(&mut self) -> Result<()> {
        let sockets = self.sockets;
        let mut next_beat = 0;
        loop {
            let now = self.clock.now();
            if now >= next_beat {
                self.beat(now)?;
                next_beat = now + SECOND;
            }
            let wait_ms = (next_beat - now).div_ceil(1_000_000).cast_signed();
            poll(&[&sockets.plans, &sockets.requests, &sockets.control], wait_ms)?;
            while let Some((identity, frame)) = receive_from(&sockets.plans)? {
                self.hear_rank(&identity, &frame)?;
            }
            while let Some((identity, frame)) = receive_from(&sockets.requests)? {
                self.hear_client(&identity, &frame)?;
            }
            if stopped(sockets)? {
                return Ok(());
            }
            self.send_plans()?;
        }
    }

    /// Tells health and metric server how things are.
    fn beat(&mut self, now: u64) -> Result<()> {
        let stats = self.scheduler.stats();
        let config = self.scheduler.config();
        let full = stats.queued + stats.running >= config.queue_requests + config.slots as usize
            || stats.queued_tokens >= config.queue_tokens;
        send(
            &self.sockets.health,
            &encode(&self.telemetry.heartbeat(&stats, self.unanswered.len(), self.answered, full)),
        )?;
        send(&self.sockets.metrics, &encode(&self.telemetry.report(stats, now, self.capacity.page_size)))
    }

    /// Sends plans as long as fewer than two are unanswered.
    fn send_plans(&mut self) -> Result<()> {
        while self.unanswered.len() < PLANS_AHEAD && self.scheduler.has_work() {
            let begin = self.clock.now();
            let Some(plan) = self.scheduler.schedule(begin) else { return Ok(()) };
            let planned = self.clock.now();
            let frame = encode(&plan_message(&plan, &self.clients));
            let encoded = self.clock.now();
            self.telemetry.observe(telemetry::PLAN, seconds(planned - begin));
            self.telemetry.observe(telemetry::ENCODE, seconds(encoded - planned));
            self.telemetry.admitted(plan.attach.len());
            for (rank, identity) in self.ranks.identities().enumerate() {
                if !send_to(&self.sockets.plans, identity, &frame)? {
                    return Err(Error::Rank { rank: rank as u32, what: "is gone".to_owned() });
                }
            }
            let requests = plan.rows.iter().map(|row| row.request).collect();
            self.unanswered.push_back(Unanswered { step: plan.step, requests });
        }
        Ok(())
    }

    fn hear_rank(&mut self, identity: &[u8], frame: &[u8]) -> Result<()> {
        let Some(rank) = self.ranks.rank_of(identity) else {
            self.telemetry.bad_frame();
            return Ok(());
        };
        match decode(frame) {
            Ok(RankMessage::StepResult(result)) if rank == 0 => self.step_result(result),
            Ok(RankMessage::StepFailed(failed)) if self.ranks.identities().count() == 1 => self.step_failed(&failed),
            Ok(RankMessage::StepFailed(failed)) => {
                // The other ranks may have carried the step out: their states no longer agree.
                Err(Error::Rank { rank, what: format!("failed at step {}: {}", failed.step, failed.message) })
            }
            Ok(RankMessage::StepResult(_)) => Err(Error::Rank { rank, what: "answered for rank 0".to_owned() }),
            Ok(RankMessage::RankHello(_)) => Err(Error::Rank { rank, what: "said hello twice".to_owned() }),
            // Without its result the step never ends, so this is not a frame to drop.
            Err(error) => Err(Error::Rank { rank, what: error.to_string() }),
        }
    }

    fn step_result(&mut self, result: wire::StepResult) -> Result<()> {
        let begin = self.clock.now();
        let unanswered = self.oldest(result.step)?;
        let rows = row_results(&result)?;
        let outputs = self.scheduler.update(scheduler::StepResult { step: result.step, rows }, begin)?;
        self.telemetry.observe(telemetry::UPDATE, seconds(self.clock.now() - begin));
        self.telemetry.observe(telemetry::STEP, result.busy_us as f64 * 1e-6);
        for admission in outputs.iter().filter_map(|output| output.admission) {
            self.telemetry.observe(telemetry::QUEUE, seconds(admission.queue_ns));
        }
        let by_client = outputs_by_client(outputs, result.extras, &unanswered.requests, &mut self.clients);
        for (client, output) in by_client {
            if !output.rows.is_empty() {
                self.tell(&client, &StepOutput { rows: output.rows })?;
            }
            for failed in output.failed {
                self.tell(&client, &failed)?;
            }
        }
        Ok(())
    }

    fn step_failed(&mut self, failed: &wire::StepFailed) -> Result<()> {
        self.oldest(failed.step)?;
        for request in self.scheduler.fail_step(failed.step) {
            let Some(live) = self.clients.end(request) else { continue };
            let message = failed.message.clone();
            let failure = Failed { request: live.id, kind: "backend".to_owned(), message, retry_after: 0 };
            self.tell(&live.client, &failure)?;
        }
        Ok(())
    }

    /// Takes the oldest unanswered plan, which must be `step`.
    fn oldest(&mut self, step: u64) -> Result<Unanswered> {
        match self.unanswered.pop_front() {
            Some(unanswered) if unanswered.step == step => {
                self.answered += 1;
                Ok(unanswered)
            }
            _ => Err(Error::Rank { rank: 0, what: format!("answered step {step} out of order") }),
        }
    }

    fn hear_client(&mut self, identity: &[u8], frame: &[u8]) -> Result<()> {
        let Ok(message) = decode(frame) else {
            self.telemetry.bad_frame();
            return Ok(());
        };
        match message {
            ClientMessage::ClientHello(hello) => self.hello(identity, &hello),
            _ if !self.clients.knows(identity) => {
                self.telemetry.bad_frame();
                Ok(())
            }
            ClientMessage::Add(add) => self.add(identity, add),
            ClientMessage::Abort(abort) => {
                for id in abort.requests {
                    if let Some(request) = self.clients.abort(identity, id) {
                        self.scheduler.abort(request);
                    }
                }
                Ok(())
            }
            ClientMessage::Received(received) => {
                for id in self.clients.received(identity, received.total) {
                    let message = "the HTTP process fell too far behind with its output".to_owned();
                    let failed = Failed { request: id, kind: "overrun".to_owned(), message, retry_after: 1 };
                    self.tell(identity, &failed)?;
                }
                Ok(())
            }
        }
    }

    fn hello(&mut self, identity: &[u8], hello: &wire::ClientHello) -> Result<()> {
        if hello.protocol == PROTOCOL {
            for orphan in self.clients.hello(identity, &hello.name) {
                self.scheduler.abort(orphan);
            }
        } else {
            self.telemetry.bad_frame(); // it will see from our hello that we do not understand each other
        }
        let Capacity { pages, page_size, slots, vocab, context } = self.capacity;
        let answer = encode(&RouterHello { protocol: PROTOCOL, vocab, context, pages, page_size, slots });
        send_to(&self.sockets.requests, identity, &answer)?; // not counted: the client counts from here
        Ok(())
    }

    fn add(&mut self, identity: &[u8], add: wire::Add) -> Result<()> {
        let refuse = |kind: &'static str, message: String, retry_after: u32| {
            (kind, Failed { request: add.request, kind: kind.to_owned(), message, retry_after })
        };
        let vocab = self.capacity.vocab;
        let refusal = if self.clients.overrun(identity) {
            Some(refuse("overrun", "the HTTP process has fallen too far behind with its output".to_owned(), 1))
        } else if let Some(token) = add.prompt.0.iter().find(|token| **token >= vocab) {
            Some(refuse("invalid", format!("token id {token} is not below the vocabulary size {vocab}"), 0))
        } else {
            match self.clients.add(identity, add.request, add.sampling.clone()) {
                None => Some(refuse("invalid", format!("request id {} is in use", add.request), 0)),
                Some(id) => {
                    let request = Request {
                        id,
                        prompt: add.prompt.0,
                        max_tokens: add.max_tokens,
                        end_ids: add.sampling.end_ids.0.clone(),
                        min_tokens: add.sampling.min_tokens,
                        cache_salt: cache_key(&add.cache_salt),
                        wants_history: add.sampling.wants_history(),
                        prompt_logprobs: add.sampling.prompt_logprobs >= 0,
                        ..Request::new(id, Vec::new(), 0)
                    };
                    self.scheduler.add(request, self.clock.now()).err().map(|error| {
                        self.clients.end(id);
                        let (kind, retry_after) = kind_of(&error);
                        refuse(kind, error.to_string(), retry_after)
                    })
                }
            }
        };
        if let Some((reason, failed)) = refusal {
            self.telemetry.rejected(reason);
            self.tell(identity, &failed)?;
        }
        Ok(())
    }

    /// Sends a frame to an HTTP process; if it is gone, or takes nothing in, its requests end.
    fn tell<T: serde::Serialize>(&mut self, client: &[u8], message: &T) -> Result<()> {
        let frame = encode(message);
        let orphans = if send_to(&self.sockets.requests, client, &frame)? {
            self.clients.sent(client, frame.len())
        } else {
            self.clients.gone(client)
        };
        for orphan in orphans {
            self.scheduler.abort(orphan);
        }
        Ok(())
    }
}

/// The rows of a result. The extras' errors fail their rows.
fn row_results(result: &wire::StepResult) -> Result<Vec<RowResult>> {
    let wrong = |what: &str| Error::Rank { rank: 0, what: format!("answered step {}: {what}", result.step) };
    if result.rows.0.len() != result.counts.0.len() {
        return Err(wrong("as many rows as counts are needed"));
    }
    let mut rest = result.tokens.0.as_slice();
    let mut rows = Vec::with_capacity(result.rows.0.len());
    for (row, count) in result.rows.0.iter().zip(&result.counts.0) {
        let (tokens, after) = rest.split_at_checked(*count as usize).ok_or_else(|| wrong("tokens are missing"))?;
        rest = after;
        rows.push(RowResult { row: *row, tokens: tokens.to_vec(), failed: None });
    }
    if !rest.is_empty() {
        return Err(wrong("there are more tokens than the counts say"));
    }
    for extra in &result.extras {
        let Some(error) = &extra.error else { continue };
        match rows.iter_mut().find(|row| row.row == extra.row) {
            Some(row) => *row = RowResult { row: extra.row, tokens: Vec::new(), failed: Some(error.clone()) },
            None => rows.push(RowResult { row: extra.row, tokens: Vec::new(), failed: Some(error.clone()) }),
        }
    }
    Ok(rows)
}

/// How a refusal is called on the wire, and after how many seconds to try again.
fn kind_of(error: &scheduler::Error) -> (&'static str, u32) {
    match error {
        scheduler::Error::QueueFull { retry_after_s, .. } => ("queue_full", *retry_after_s as u32),
        scheduler::Error::PromptTooLong { .. } | scheduler::Error::ContextExceeded { .. } => ("context_exceeded", 0),
        scheduler::Error::TooLargeForPool { .. } => ("too_large", 0),
        _ => ("invalid", 0),
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 * 1e-9
}
