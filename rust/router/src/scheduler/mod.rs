//! The scheduler: the state, and the calls that change it.

mod budget;
mod decodes;
mod groups;
mod invariants;
mod planning;
mod results;
mod rounds;
mod shared;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::admission::{AdmissionPolicy, Demand};
use crate::balance::Balance;
use crate::config::SchedulerConfig;
use crate::cost::{StepCost, StepLoad};
use crate::error::{Error, Result};
use crate::ids::{PageId, RequestId, SlotId};
use crate::images;
use crate::memory::Memory;
use crate::pace::Pace;
use crate::prefixes::PrefixOrder;
use crate::queue::Queue;
use crate::request::Request;
use crate::running::{Part, Running, RunningSet};
use crate::sequence::Sequence;
use crate::stats::{Stats, Totals};
use shared::Sharing;

/// Queue, prefix cache, pages and slots of one backend, and the plans that come of them.
///
/// It has no clock: `now` is in nanoseconds of any clock that does not run backwards. The same calls give the same
/// plans.
#[derive(Debug)]
pub struct Scheduler {
    config: SchedulerConfig,
    policy: Box<dyn AdmissionPolicy>,
    memory: Memory,
    queue: Queue,
    running: RunningSet,
    /// Those of them that the backend knows.
    prefixes: PrefixOrder,
    sharing: Sharing,
    /// Where each request is that has not ended.
    places: BTreeMap<RequestId, Place>,
    /// Plans without a result, oldest first.
    unanswered: VecDeque<UnansweredStep>,
    /// Slots emptied since the last plan.
    detached: Vec<SlotId>,
    /// For the next plan.
    copies: Vec<PageCopy>,
    /// Requests given up while they waited.
    refused: Vec<(RequestId, Error)>,
    pace: Pace,
    cost: StepCost,
    balance: Balance,
    /// When the latest request was added, or an image was ready.
    latest_arrival: Option<u64>,
    /// The latest time that the scheduler was told.
    now: u64,
    /// Steps since the last that prefilled.
    decode_steps: u32,
    /// Kept for its memory, as is `spare_rows`.
    demands: Vec<Demand>,
    spare_rows: Vec<Vec<UnansweredRow>>,
    next_step: u64,
    next_arrival: u64,
    totals: Totals,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// In the queue, by arrival: its own, or that of the member of its group that waits for all.
    Queued(u64),
    /// In a slot: its own, or that of the member of its group that computes a part of the prompt ahead for all.
    Running(SlotId),
}

/// A page of one request that another, which has the slot, begins with.
#[derive(Clone, Copy, Debug)]
struct PageCopy {
    slot: SlotId,
    from: PageId,
    to: PageId,
}

/// What is needed of a plan when its result comes.
#[derive(Debug)]
struct UnansweredStep {
    step: u64,
    rows: Vec<UnansweredRow>,
    planned_ns: u64,
    /// Of all rows, and of the prefill rows.
    tokens: u64,
    prefilled: u64,
    load: StepLoad,
}

/// The request of a row may be gone, or preempted, or its slot taken by another when the result comes: the arrival
/// tells.
#[derive(Clone, Copy, Debug)]
struct UnansweredRow {
    request: RequestId,
    arrival: u64,
    slot: SlotId,
    /// Position after the last one of the row.
    end: usize,
    emits: bool,
}

impl Scheduler {
    /// Plans that may be without a result at once: one runs and one waits behind it.
    pub const MAX_UNANSWERED: usize = 2;

    /// An idle scheduler.
    pub fn new(config: SchedulerConfig) -> Result<Self> {
        config.validate()?;
        Self::with_policy(config, config.policy.build(config.seed))
    }

    /// An idle scheduler with a policy of the caller's; [`SchedulerConfig::policy`] does not count.
    pub fn with_policy(config: SchedulerConfig, policy: Box<dyn AdmissionPolicy>) -> Result<Self> {
        config.validate()?;
        Ok(Self {
            config,
            policy,
            memory: Memory::new(&config),
            queue: Queue::new(&config),
            running: RunningSet::new(config.slots),
            prefixes: PrefixOrder::default(),
            sharing: Sharing::default(),
            places: BTreeMap::new(),
            unanswered: VecDeque::new(),
            detached: Vec::new(),
            copies: Vec::new(),
            refused: Vec::new(),
            pace: Pace::default(),
            cost: StepCost::default(),
            balance: Balance::default(),
            latest_arrival: None,
            now: 0,
            decode_steps: 0,
            demands: Vec::new(),
            spare_rows: Vec::new(),
            next_step: 1,
            next_arrival: 0,
            totals: Totals::default(),
        })
    }

    /// The settings it was made with.
    pub fn config(&self) -> &SchedulerConfig {
        &self.config
    }

    /// Queues a request. An error changes nothing and tells what the caller can do.
    pub fn add(&mut self, request: Request, now: u64) -> Result<()> {
        self.check_request(&request)?;
        let members = 1 + request.siblings.len();
        if self.config.order.refuse_late && request.deadline.is_some_and(|deadline| deadline < now) {
            self.totals.refused_late += members as u64;
            return Err(Error::DeadlineMissed { retry_after_s: self.queue.retry_after_s(now) });
        }
        if let Err(full) = self.queue.check_room(request.prompt.len(), members, self.running.free_slots(), now) {
            self.totals.refused_queue_full += 1;
            return Err(full);
        }
        self.now = now;
        let mut sequence = Sequence::new(request, self.next_arrival, now);
        self.next_arrival += members as u64;
        self.latest_arrival = Some(now);
        sequence.publishes = self.config.prefix_cache;
        if members > 1 && sequence.shares_prompt() && !self.config.prefix_cache {
            // Nothing is shared but within the group.
            sequence.publishes = true;
            sequence.salt = sequence.arrival.into();
        }
        self.wait(sequence);
        self.check();
        Ok(())
    }

    /// The features of an image are there: what of the prompt waited for them can be computed from now on. It holds for
    /// the request and the siblings that wait with it; with `prompt_logprobs` each is to be told.
    ///
    /// False if the request has ended. An error if it never had such an image.
    pub fn image_ready(&mut self, request: RequestId, image: u32, now: u64) -> Result<bool> {
        let Some(place) = self.places.get(&request) else { return Ok(false) };
        match *place {
            Place::Queued(arrival) => {
                let sequence = self.queue.get_mut(arrival).expect("a queued request is in the queue");
                sequence.set_ready(image)?;
                sequence.look_up(&self.memory);
                self.queue.note_ready(arrival, now);
            }
            Place::Running(slot) => {
                self.running.get_mut(slot).expect("a running request has its slot").sequence.set_ready(image)?;
            }
        }
        self.now = now;
        self.latest_arrival = Some(now);
        self.check();
        Ok(true)
    }

    /// A request, and the siblings that wait with it, go to the queue.
    fn wait(&mut self, mut sequence: Sequence) {
        sequence.look_up(&self.memory);
        for id in sequence.siblings.iter().map(|sibling| sibling.id).chain([sequence.id]) {
            self.places.insert(id, Place::Queued(sequence.arrival));
        }
        self.queue.push(sequence, self.now);
    }

    fn check_request(&self, request: &Request) -> Result<()> {
        let prompt = request.prompt.len() as u64;
        let total = prompt + u64::from(request.max_tokens);
        let context = self.config.context;
        if prompt == 0 {
            return Err(Error::EmptyPrompt);
        }
        if !Request::PRIORITIES.contains(&request.priority) {
            return Err(Error::PriorityOutOfRange { priority: request.priority });
        }
        if request.max_tokens == 0 && !request.prompt_logprobs {
            return Err(Error::NothingToDo);
        }
        if prompt > u64::from(context) {
            return Err(Error::PromptTooLong { prompt, context });
        }
        if total > u64::from(context) {
            return Err(Error::ContextExceeded { prompt, max_tokens: request.max_tokens, context });
        }
        let members = 1 + request.siblings.len() as u64;
        let page_size = u64::from(self.config.page_size);
        let shared = if request.prompt_logprobs { 0 } else { (prompt - 1) / page_size };
        let needed = shared + members * (total.div_ceil(page_size) - shared);
        if needed > u64::from(self.config.pages) {
            return Err(Error::TooLargeForPool { needed, pages: self.config.pages });
        }
        if members > u64::from(self.config.slots) {
            return Err(Error::TooManySiblings { requests: members as usize, slots: self.config.slots });
        }
        images::check(&request.images, prompt)?;
        let mut ids = BTreeSet::new();
        for id in std::iter::once(request.id).chain(request.siblings.iter().copied()) {
            if self.places.contains_key(&id) || !ids.insert(id) {
                return Err(Error::DuplicateId(id));
            }
        }
        Ok(())
    }

    /// Ends a request in any state, without an output. Its pages and its slot are free at once; the next plan tells
    /// the backend, and results that are still to come for it are dropped. False if there is no such request.
    pub fn abort(&mut self, request: RequestId) -> bool {
        let ended = self.end(request);
        self.totals.aborted += u64::from(ended);
        self.check();
        ended
    }

    /// Requests that the latest calls gave up while they waited, and why. Each is told once.
    pub fn take_refused(&mut self) -> Vec<(RequestId, Error)> {
        std::mem::take(&mut self.refused)
    }

    /// Whether a request has not ended.
    pub fn contains(&self, request: RequestId) -> bool {
        self.places.contains_key(&request)
    }

    /// Whether there is anything left to plan, now or after the results that are to come. Requests that only wait for
    /// images are none.
    pub fn has_work(&self) -> bool {
        self.queue.has_candidates() || !self.running.is_empty() || !self.detached.is_empty()
    }

    /// Whether the next plan gives up a request that waits for an image, since its deadline has passed meanwhile.
    pub fn has_late(&self, now: u64) -> bool {
        self.queue.has_late(now)
    }

    /// Plans without a result.
    pub fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// Forgets all cached prefixes that no running request uses. Returns the number of pages freed.
    pub fn clear_cache(&mut self) -> usize {
        let freed = self.memory.clear_cache();
        self.check();
        freed
    }

    /// Figures for metrics.
    pub fn stats(&self) -> Stats {
        let memory = &self.memory;
        Stats {
            running: self.running.len(),
            forking: self.running.unattached(),
            queued: self.queue.requests(),
            paused: self.queue.paused(),
            awaiting_images: self.queue.awaiting_images(),
            queued_tokens: self.queue.prompt_tokens(),
            total_pages: memory.total_pages(),
            free_pages: memory.free_pages(),
            cached_pages: memory.cached_pages(),
            evictable_pages: memory.evictable_pages(),
            private_pages: memory.total_pages() - memory.free_pages() - memory.cached_pages(),
            totals: self.totals,
        }
    }

    /// Takes a request out wherever it is. False if it isn't anywhere.
    fn end(&mut self, request: RequestId) -> bool {
        let Some(place) = self.places.remove(&request) else { return false };
        match place {
            Place::Queued(arrival) => self.leave_queue(arrival, request),
            Place::Running(slot) if self.running.get(slot).is_some_and(|running| running.ahead) => {
                self.leave_ahead(slot, request);
            }
            Place::Running(slot) => {
                let running = self.vacate(slot);
                if let Part::Awaits(leader) = running.part {
                    self.leave(leader, slot);
                }
                self.succeed(running);
            }
        }
        true
    }

    /// Takes the request out of a slot. Its pages and its part in a group are left to the caller.
    fn vacate(&mut self, slot: SlotId) -> Running {
        let running = self.running.remove(slot).expect("a running request has its slot");
        if running.attached {
            self.prefixes.remove(slot);
            self.detached.push(slot);
        }
        self.copies.retain(|copy| copy.slot != slot);
        running
    }

    fn check(&self) {
        if self.config.debug_checks {
            self.check_invariants();
        }
    }
}
