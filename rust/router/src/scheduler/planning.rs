//! Making plans.

use super::{Place, Scheduler, UnansweredRow, UnansweredStep};
use crate::admission::{Demand, Room};
use crate::ids::SlotId;
use crate::plan::{Attach, Row, StepPlan};
use crate::request::Admission;
use crate::running::Running;

/// A plan in the making.
struct Draft {
    plan: StepPlan,
    rows: Vec<UnansweredRow>,
    /// Tokens that the step may still take.
    budget: usize,
}

impl Scheduler {
    /// Makes the next plan: tokens of all that decode, then as much prefill as the step has room for, of running
    /// requests first and then of new ones.
    ///
    /// None if there is nothing to do, or if [`MAX_UNANSWERED`](Self::MAX_UNANSWERED) plans have no result yet.
    /// Requests whose last token is still to come are planned as if it were no end id.
    pub fn schedule(&mut self, now: u64) -> Option<StepPlan> {
        if self.unanswered.len() >= Self::MAX_UNANSWERED {
            return None;
        }
        let mut draft = Draft {
            plan: StepPlan {
                step: self.next_step,
                detach: Vec::new(),
                attach: Vec::new(),
                copies: Vec::new(),
                rows: Vec::with_capacity(self.running.len()),
                token_ids: Vec::new(),
            },
            rows: Vec::with_capacity(self.running.len()),
            budget: self.config.step_tokens as usize,
        };
        self.plan_decodes(&mut draft);
        self.plan_prefills(&mut draft);
        self.admit(&mut draft, now);
        // Last, because those that were preempted for this very plan are in it.
        draft.plan.detach = std::mem::take(&mut self.detached);
        if draft.plan.rows.is_empty() && draft.plan.detach.is_empty() {
            return None;
        }
        self.next_step += 1;
        self.totals.steps += 1;
        self.unanswered.push_back(UnansweredStep { step: draft.plan.step, rows: draft.rows });
        Some(draft.plan)
    }

    fn plan_decodes(&mut self, draft: &mut Draft) {
        let decodes = self.running.iter().filter(|(_, running)| running.wants_decode());
        let slots: Vec<SlotId> = decodes.map(|(slot, _)| slot).collect();
        for slot in slots {
            // A slot may be empty by now: those that were admitted last make room for the first.
            if self.make_room(slot) {
                self.plan_row(draft, slot, 1);
            }
        }
    }

    /// Gives the request a page for its next position, if it needs one. Where none can be had, whoever was admitted
    /// last goes back to the queue. False if that came to be the request itself.
    fn make_room(&mut self, slot: SlotId) -> bool {
        loop {
            let Some(running) = self.running.get_mut(slot) else { return false };
            let needed = self.config.pages_for(running.planned + 1);
            if running.holding.pages.len() >= needed || self.memory.grow(&mut running.holding) {
                return true;
            }
            let victim = self.running.last_admitted().expect("one runs: the one that needs a page");
            self.preempt(victim);
        }
    }

    /// Back to the queue. Tokens of rows without a result still count when they come.
    fn preempt(&mut self, slot: SlotId) {
        let sequence = self.vacate(slot);
        self.places.insert(sequence.id, Place::Queued(sequence.arrival));
        self.queue.push(sequence);
        self.totals.preemptions += 1;
    }

    fn plan_prefills(&mut self, draft: &mut Draft) {
        if draft.budget == 0 {
            return;
        }
        let prefills = self.running.iter().filter(|(_, running)| running.prefill_left() > 0);
        let slots: Vec<SlotId> = prefills.map(|(slot, _)| slot).collect();
        for slot in slots {
            self.plan_chunk(draft, slot);
        }
    }

    fn admit(&mut self, draft: &mut Draft, now: u64) {
        while draft.budget > 0 && self.running.has_free_slot() {
            let Some(slot) = self.admit_head(now) else { return };
            let running = self.running.get_mut(slot).expect("just admitted");
            let sequence = &running.sequence;
            draft.plan.attach.push(Attach {
                slot,
                request: sequence.id,
                prompt_len: sequence.prompt_len as u32,
                history: sequence.wants_history.then(|| sequence.tokens.clone()),
            });
            self.plan_chunk(draft, slot);
        }
    }

    /// Admits the head of the queue if it can run now. First come, first served: nobody overtakes it.
    fn admit_head(&mut self, now: u64) -> Option<SlotId> {
        self.queue.begin_round(now);
        let arrival = self.queue.next_candidate()?;
        let head = self.queue.get_mut(arrival).expect("a candidate is in the queue");
        if head.unanswered > 0 {
            // Preempted, and a token is on its way: what to compute again isn't known yet.
            return None;
        }
        if head.found.is_none_or(|found| !self.memory.is_current(&found)) {
            head.found = self.memory.find(head.salt, &head.tokens, head.most_cached());
        }
        let pages = self.config.pages_for(head.tokens.len());
        let cached_pages = head.found.map_or(0, |found| found.pages);
        let new_pages = pages - cached_pages;
        let available = self.memory.available(head.found.as_ref());
        let size = u64::from(self.config.page_size);
        let demand = Demand {
            id: head.arrival,
            held: new_pages as u64 * size,
            prompt: head.prompt_len as u32,
            generated: head.outputs(),
            max_tokens: head.max_tokens,
            ..Demand::default()
        };
        let fits = new_pages <= available;
        if self.running.is_empty() {
            // No policy can keep the server idle; and `add` refused what would not fit alone.
            assert!(fits, "{demand:?} does not fit into an idle server: {available} pages");
        } else if !fits || !self.policy_admits(demand) {
            return None;
        }
        let mut sequence = self.queue.take(arrival);
        let cached = cached_pages * self.config.page_size as usize;
        if !sequence.was_admitted {
            sequence.was_admitted = true;
            let queue_ns = now.saturating_sub(sequence.added_ns);
            sequence.admission = Some(Admission { cached_tokens: cached as u32, queue_ns });
            self.totals.prompt_tokens += sequence.prompt_len as u64;
            self.totals.prefix_queries += sequence.prompt_len as u64;
            self.totals.prefix_hits += cached as u64;
        }
        let id = sequence.id;
        let slot = self.running.insert(Running {
            holding: self.memory.hold(sequence.salt, sequence.found.as_ref(), pages),
            told_pages: 0,
            prefill_len: sequence.tokens.len(),
            planned: cached,
            planned_outputs: sequence.outputs(),
            sequence,
        });
        self.places.insert(id, Place::Running(slot));
        Some(slot)
    }

    /// Asks the policy, with all that is held counted as shared by those that run.
    fn policy_admits(&mut self, demand: Demand) -> bool {
        let size = u64::from(self.config.page_size);
        let held = self.memory.total_pages() - self.memory.free_pages() - self.memory.evictable_pages();
        let room = Room { capacity: self.memory.total_pages() as u64 * size, shared: held as u64 * size };
        self.policy.begin(room, &[]);
        self.policy.admits(&[demand])
    }

    /// Plans the next piece of a prefill, if the step has room for any.
    fn plan_chunk(&mut self, draft: &mut Draft, slot: SlotId) {
        let running = self.running.get_mut(slot).expect("nobody is preempted for a prefill");
        let tokens = running.prefill_left().min(draft.budget).min(self.config.prefill_chunk as usize);
        if tokens == 0 {
            return;
        }
        let chunk = &running.sequence.tokens[running.planned..running.planned + tokens];
        draft.plan.token_ids.extend_from_slice(chunk);
        self.totals.prefill_tokens += tokens as u64;
        self.plan_row(draft, slot, tokens);
    }

    /// Adds a row for the next `tokens` positions, which have their pages.
    fn plan_row(&mut self, draft: &mut Draft, slot: SlotId, tokens: usize) {
        let running = self.running.get_mut(slot).expect("a row is planned for a running request");
        let start = running.planned;
        let end = start + tokens;
        let from_last = running.prefill_left() == 0;
        let emits = end >= running.prefill_len && running.sequence.max_tokens > 0;
        let pages = self.config.pages_for(end);
        draft.plan.rows.push(Row {
            slot,
            request: running.sequence.id,
            start: start as u32,
            tokens: tokens as u32,
            new_pages: running.holding.pages[running.told_pages..pages].to_vec(),
            emits,
            from_last,
        });
        running.told_pages = pages;
        running.planned = end;
        running.planned_outputs += u32::from(emits);
        running.sequence.unanswered += 1;
        let (request, arrival) = (running.sequence.id, running.sequence.arrival);
        draft.rows.push(UnansweredRow { request, arrival, slot, end, emits });
        draft.budget -= tokens;
    }
}
