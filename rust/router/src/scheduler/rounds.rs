//! Rounds of admission: which of the requests that wait come to run.

use super::planning::Draft;
use super::{Place, Scheduler};
use crate::admission::{Demand, Room};
use crate::config::SchedulerConfig;
use crate::error::Error;
use crate::ids::{RequestId, SlotId};
use crate::memory::{Holding, Memory};
use crate::request::Admission;
use crate::running::{Part, Running, RunningSet};
use crate::sequence::Sequence;

/// What becomes of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Admit,
    /// It waits for something that is about to come.
    Defer,
    /// It does not fit, or may not run beside those that do.
    Pass,
    /// It has the first claim on what is free, and a result that is on its way tells how much it needs.
    Stop,
    /// There is nothing to compute until an image is ready.
    Park,
}

/// One round, as far as it has come.
#[derive(Default)]
struct Round {
    /// The policy knows of those that run.
    begun: bool,
    /// Somebody who comes before the next candidate was passed over.
    passed: bool,
    /// Who computes pages that others might wait for. None until somebody asks.
    prefilling: Option<Vec<SlotId>>,
}

impl Scheduler {
    /// Admits those that wait, in their order, as long as the step has room. Whoever doesn't fit is passed over.
    pub(super) fn admit(&mut self, draft: &mut Draft, now: u64) {
        if self.is_full(draft) || !self.running.has_free_slot() || !self.queue.has_candidates() {
            return;
        }
        let mut round = Round::default();
        let Self { queue, memory, running, config, .. } = self;
        queue.begin_round(now, |waiting| left_to_compute(waiting, memory, running, config));
        while !self.is_full(draft) && self.running.has_free_slot() {
            let Some(arrival) = self.queue.next_candidate() else { return };
            match self.judge(arrival, &mut round) {
                Verdict::Admit => {
                    self.totals.bypasses += u64::from(round.passed);
                    let sequence = self.queue.take(arrival);
                    self.start(sequence, &mut round, draft, now);
                }
                Verdict::Defer => self.queue.defer(arrival),
                Verdict::Pass => round.passed = true,
                Verdict::Stop => return,
                Verdict::Park => self.queue.park(arrival, now),
            }
        }
    }

    fn judge(&mut self, arrival: u64, round: &mut Round) -> Verdict {
        let candidate = self.queue.get_mut(arrival).expect("a candidate is in the queue");
        if candidate.unanswered > 0 {
            // Just preempted, and a token is on its way: what to compute again isn't known yet.
            return Verdict::Stop;
        }
        candidate.look_up(&self.memory);
        if candidate.reach <= candidate.cached_pages() * self.config.page_size as usize {
            return Verdict::Park; // others have computed all that comes before the image
        }
        if self.awaits_prefix(arrival, round) {
            return Verdict::Defer;
        }
        let candidate = self.queue.get(arrival).expect("it is still there");
        let pages = self.pages_at_start(candidate) - candidate.cached_pages();
        let fits = pages <= self.memory.available(candidate.found.as_ref());
        let members = if candidate.is_ahead() { 1 } else { candidate.members() };
        if self.running.free_slots() < members {
            assert!(!self.running.is_empty(), "`add` refused what has more members than there are slots");
            return Verdict::Pass;
        }
        if self.running.is_empty() {
            // No policy can keep the server idle; and `add` refused what would not fit alone.
            assert!(fits, "{pages} pages do not fit into an idle server: {:?}", self.stats());
            return Verdict::Admit;
        }
        if !fits {
            return Verdict::Pass;
        }
        let mut demands = std::mem::take(&mut self.demands);
        if !round.begun {
            round.begun = true;
            self.begin_policy(&mut demands);
        }
        demands.clear();
        self.push_demands_of_waiting(self.queue.get(arrival).expect("it is still there"), &mut demands);
        let admits = self.policy.admits(&demands);
        self.demands = demands;
        if admits { Verdict::Admit } else { Verdict::Pass }
    }

    /// Pages of a candidate and its siblings when they come to run, cached ones included.
    fn pages_at_start(&self, sequence: &Sequence) -> usize {
        let siblings = if sequence.is_ahead() { 0 } else { sequence.siblings.len() };
        let of_each = if sequence.shares_prompt() { 1 } else { self.config.pages_for(sequence.prompt_len) };
        self.config.pages_for(sequence.reach) + siblings * of_each
    }

    /// Tells the policy of those that run.
    fn begin_policy(&mut self, demands: &mut Vec<Demand>) {
        let size = u64::from(self.config.page_size);
        demands.clear();
        let mut shared = self.memory.held();
        for (_, running) in self.running.iter() {
            let exclusive = self.memory.exclusive(&running.holding);
            shared -= exclusive;
            demands.push(self.demand(running, exclusive));
        }
        let room = Room { capacity: self.memory.total_pages() as u64 * size, shared: shared as u64 * size };
        self.policy.begin(room, demands);
    }

    pub(super) fn demand_of_running(&self, slot: SlotId) -> Demand {
        let running = self.running.get(slot).expect("a demand of a running request");
        self.demand(running, self.memory.exclusive(&running.holding))
    }

    fn demand(&self, running: &Running, exclusive: usize) -> Demand {
        let covered = match running.part {
            Part::Awaits(_) => running.sequence.forked_pages(self.config.page_size) + running.holding.pages.len(),
            Part::Alone | Part::Leads(_) => running.holding.pages.len(),
        };
        if running.ahead {
            return demand_ahead(&running.sequence, exclusive, &self.config);
        }
        demand(&running.sequence, running.planned_outputs, exclusive, covered, &self.config)
    }

    /// Of a candidate and its siblings.
    fn push_demands_of_waiting(&self, sequence: &Sequence, demands: &mut Vec<Demand>) {
        let cached = sequence.cached_pages();
        let covered = self.config.pages_for(sequence.reach);
        let unlocked = self.memory.available(None) - self.memory.available(sequence.found.as_ref());
        let exclusive = covered - cached + unlocked;
        if sequence.is_ahead() {
            demands.push(demand_ahead(sequence, exclusive, &self.config));
            return;
        }
        demands.push(demand(sequence, sequence.outputs(), exclusive, covered, &self.config));
        if !sequence.siblings.is_empty() {
            let covered = self.config.pages_for(sequence.prompt_len);
            let exclusive = if sequence.shares_prompt() { 1 } else { covered };
            let sibling = demand(sequence, 0, exclusive, covered, &self.config);
            demands.extend(sequence.siblings.iter().map(|own| Demand { id: own.arrival, ..sibling }));
        }
    }

    /// Gives a request its slot and pages, and its siblings theirs.
    fn start(&mut self, mut sequence: Sequence, round: &mut Round, draft: &mut Draft, now: u64) {
        let pages = self.config.pages_for(sequence.reach);
        let found = sequence.found.take();
        let cached = found.map_or(0, |found| found.pages) * self.config.page_size as usize;
        if !sequence.was_admitted() {
            let queue_ns = now.saturating_sub(sequence.added_ns).saturating_sub(sequence.image_wait_ns);
            sequence.admission = Some(Admission { cached_tokens: cached as u32, queue_ns, image_wait_ns: 0 });
            self.totals.prompt_tokens += sequence.prompt_len as u64;
            self.totals.prefix_queries += sequence.prompt_len as u64;
            self.totals.prefix_hits += cached as u64;
            self.balance.admitted((sequence.prompt_len - cached) as u64);
        }
        let holding = self.memory.hold(sequence.salt, found.as_ref(), pages);
        if sequence.is_ahead() {
            self.start_ahead(sequence, holding, cached, round, draft);
            return;
        }
        let siblings = std::mem::take(&mut sequence.siblings);
        let siblings: Vec<Sequence> = siblings.into_iter().map(|sibling| sequence.of_sibling(sibling)).collect();
        let shares = sequence.shares_prompt();
        let slot = self.run(Running::new(sequence, holding, cached, Part::Alone));
        self.note_prefilling(slot, round);
        self.plan_chunk(draft, slot);
        let mut members = Vec::with_capacity(siblings.len());
        for sibling in siblings {
            if shares {
                let holding = self.memory.hold(sibling.salt, None, 1);
                members.push(self.run(Running::new(sibling, holding, 0, Part::Awaits(slot))));
            } else {
                let found = found.map(|_| self.memory.find(sibling.salt, &[], 0));
                let pages = self.config.pages_for(sibling.prompt_len);
                let holding = self.memory.hold(sibling.salt, found.as_ref(), pages);
                let slot = self.run(Running::new(sibling, holding, 0, Part::Alone));
                self.plan_chunk(draft, slot);
            }
        }
        if !members.is_empty() {
            self.running.get_mut(slot).expect("it was just admitted").part = Part::Leads(members);
        }
    }

    /// Gives a request what it needs to compute its prompt up to an image that is not ready. Its siblings wait with it.
    fn start_ahead(
        &mut self,
        sequence: Sequence,
        holding: Holding,
        cached: usize,
        round: &mut Round,
        draft: &mut Draft,
    ) {
        let siblings: Vec<RequestId> = sequence.siblings.iter().map(|sibling| sibling.id).collect();
        let slot = self.run(Running::new(sequence, holding, cached, Part::Alone));
        self.queue.add_away(siblings.len());
        self.places.extend(siblings.into_iter().map(|id| (id, Place::Running(slot))));
        self.totals.ahead += 1;
        self.note_prefilling(slot, round);
        self.plan_chunk(draft, slot);
    }

    pub(super) fn run(&mut self, running: Running) -> SlotId {
        let id = running.sequence.id;
        let slot = self.running.insert(running);
        self.places.insert(id, Place::Running(slot));
        slot
    }

    /// Whether a candidate would compute pages that a running request is computing right now: then it waits until
    /// they are published. So it waits no longer than that prefill, and each time it waits its prefix grows.
    fn awaits_prefix(&mut self, arrival: u64, round: &mut Round) -> bool {
        let wanted = self.config.order.group_tokens as usize;
        let candidate = self.queue.get_mut(arrival).expect("a candidate is in the queue");
        let Some(found) = candidate.found.filter(|_| wanted > 0 && self.config.prefix_cache) else { return false };
        let page_size = self.config.page_size as usize;
        let from = found.pages * page_size;
        let end = (from + wanted).next_multiple_of(page_size);
        if candidate.most_cached() < end {
            return false;
        }
        let running = &self.running;
        let slots = round.prefilling.get_or_insert_with(|| {
            let leads =
                |slot: &SlotId| running.get(*slot).is_some_and(|leader| unpublished(leader, page_size) >= wanted);
            running.prefilling().iter().copied().filter(leads).collect()
        });
        let waits = slots.iter().any(|slot| {
            let leader = running.get(*slot).expect("nobody leaves in a round");
            if leader.sequence.salt != candidate.salt || leader.holding.shared_pages() != found.pages {
                return false;
            }
            // What is not cached first: that is where prompts differ.
            let theirs = &leader.sequence.tokens[..leader.prefill_len];
            theirs.len() >= end
                && candidate.tokens[from..end] == theirs[from..end]
                && candidate.tokens[..from] == theirs[..from]
        });
        if waits && !candidate.was_deferred {
            candidate.was_deferred = true;
            self.totals.deferred += 1;
        }
        waits
    }

    /// Others of the round may wait for what this one computes.
    fn note_prefilling(&self, slot: SlotId, round: &mut Round) {
        let wanted = self.config.order.group_tokens as usize;
        let running = self.running.get(slot).expect("it was just admitted");
        if let Some(slots) = &mut round.prefilling
            && unpublished(running, self.config.page_size as usize) >= wanted
        {
            slots.push(slot);
        }
    }

    /// Gives up those that can no longer make their deadline, if the operator asked for that.
    pub(super) fn refuse_late(&mut self, now: u64) {
        if !self.config.order.refuse_late || self.queue.is_empty() {
            return;
        }
        let Self { queue, memory, running, config, .. } = self;
        for late in queue.take_late(now, |waiting| left_to_compute(waiting, memory, running, config)) {
            let retry_after_s = self.queue.retry_after_s(now);
            let ids = late.siblings.iter().map(|sibling| sibling.id).chain([late.id]);
            for id in ids {
                self.places.remove(&id).expect("a request that waits has its place");
                self.refused.push((id, Error::DeadlineMissed { retry_after_s }));
                self.totals.refused_late += 1;
            }
        }
    }
}

/// Prompt tokens that a waiting request has to compute itself, at best: what is cached by now, or what a running
/// request is about to publish and this one would wait for, is not counted.
fn left_to_compute(waiting: &mut Sequence, memory: &Memory, running: &RunningSet, config: &SchedulerConfig) -> usize {
    waiting.look_up(memory);
    let page_size = config.page_size as usize;
    let cached = waiting.cached_pages() * page_size;
    let wanted = config.order.group_tokens as usize;
    if wanted == 0 || !config.prefix_cache || waiting.found.is_none() {
        return waiting.tokens.len() - cached;
    }
    let leaders = running.prefilling().iter().map(|slot| running.get(*slot).expect("a request that prefills runs"));
    let leaders = leaders.filter(|leader| unpublished(leader, page_size) >= wanted);
    let most = waiting.most_cached();
    let shared = leaders.map(|leader| shared_prefix(waiting, leader, cached, most, page_size)).max().unwrap_or(0);
    waiting.tokens.len() - if shared >= cached + wanted { shared } else { cached }
}

/// Tokens of whole pages, `most` at most, that a waiting request with `cached` cached ones would have from a running
/// one's prefill; 0 if it isn't about to publish any that are alike.
fn shared_prefix(waiting: &Sequence, leader: &Running, cached: usize, most: usize, page_size: usize) -> usize {
    if leader.sequence.salt != waiting.salt || leader.holding.shared_pages() * page_size != cached {
        return 0;
    }
    let (own, theirs) = (&waiting.tokens[..most], &leader.sequence.tokens[..leader.prefill_len]);
    let (Some(rest), Some(others)) = (own.get(cached..), theirs.get(cached..)) else { return 0 };
    let pages = rest.chunks_exact(page_size).zip(others.chunks_exact(page_size));
    let alike = pages.take_while(|(own, other)| own == other).count() * page_size;
    if alike == 0 || own[..cached] != theirs[..cached] { 0 } else { cached + alike }
}

/// Positions whose pages a running request is about to publish, by its prefill.
fn unpublished(running: &Running, page_size: usize) -> usize {
    if !running.sequence.publishes {
        return 0;
    }
    (running.prefill_len / page_size).saturating_sub(running.holding.shared_pages()) * page_size
}

/// Of a request that computes a part of its prompt ahead of an image: it generates nothing, and holds no more.
fn demand_ahead(sequence: &Sequence, exclusive: usize, config: &SchedulerConfig) -> Demand {
    let generated = sequence.outputs();
    Demand {
        id: sequence.arrival,
        held: exclusive as u64 * u64::from(config.page_size),
        prompt: sequence.prompt_len as u32,
        generated,
        max_tokens: generated,
        tenant: sequence.tenant,
        class: sequence.class,
        expected: Some(generated),
    }
}

/// `exclusive`: pages that it alone keeps from being free; `covered`: pages of all its positions so far.
///
/// What it may still generate comes in whole pages; the last of them is counted as full from the start. So `held`
/// and all tokens that are left come to what it holds at most, and no sum over requests is too small.
fn demand(sequence: &Sequence, generated: u32, exclusive: usize, covered: usize, config: &SchedulerConfig) -> Demand {
    let total = config.pages_for(sequence.prompt_len + sequence.max_tokens as usize);
    let pages = exclusive + total.saturating_sub(covered);
    let left = u64::from(sequence.max_tokens - generated);
    Demand {
        id: sequence.arrival,
        held: (pages as u64 * u64::from(config.page_size)).saturating_sub(left),
        prompt: sequence.prompt_len as u32,
        generated,
        max_tokens: sequence.max_tokens,
        tenant: sequence.tenant,
        class: sequence.class,
        expected: sequence.expected_tokens,
    }
}
