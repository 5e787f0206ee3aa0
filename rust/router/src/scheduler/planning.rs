//! Making plans: what goes into a step.

use super::{Scheduler, UnansweredRow, UnansweredStep};
use crate::config::ScheduleMode;
use crate::cost::StepLoad;
use crate::ids::SlotId;
use crate::plan::{Attach, Row, StepPlan};
use crate::running::Running;

/// A plan in the making.
pub(super) struct Draft {
    pub plan: StepPlan,
    pub rows: Vec<UnansweredRow>,
    /// Tokens that the step may still take.
    pub budget: usize,
    /// Tokens of prompts that it may still take, beside the budget.
    pub prompts: usize,
    /// Nanoseconds that it should take at most, if there is a bound.
    pub limit_ns: Option<f64>,
    /// What it does so far.
    pub load: StepLoad,
    /// Tokens of the prefill rows.
    pub prefilled: usize,
    /// Pages were short: nobody new comes to run.
    pub preempted: bool,
}

impl Draft {
    /// Adds a row for the next `tokens` positions of a request, which with those before them take `pages` pages.
    pub fn add_row(&mut self, slot: SlotId, running: &mut Running, tokens: usize, pages: usize) {
        let start = running.planned;
        let end = start + tokens;
        let from_last = start >= running.prefill_len;
        let emits = end >= running.prefill_len && running.sequence.max_tokens > 0 && !running.ahead;
        let (request, arrival) = (running.sequence.id, running.sequence.arrival);
        self.plan.rows.push(Row {
            slot,
            request,
            start: start as u32,
            tokens: tokens as u32,
            new_pages: running.holding.pages[running.told_pages..pages].to_vec(),
            emits,
            from_last,
        });
        self.rows.push(UnansweredRow { request, arrival, slot, end, emits });
        self.budget -= tokens;
        if from_last {
            self.load.add_decode(start);
        } else {
            self.load.add_prefill(start, tokens);
            self.prompts -= tokens;
        }
        running.told_pages = pages;
        running.planned = end;
        running.planned_outputs += u32::from(emits);
        running.sequence.unanswered += 1;
    }
}

impl Scheduler {
    /// Makes the next plan, as [`ScheduleMode`] says.
    ///
    /// None if there is nothing to do, or if [`MAX_UNANSWERED`](Self::MAX_UNANSWERED) plans have no result yet.
    /// Requests whose last token is still to come are planned as if it were no end id.
    pub fn schedule(&mut self, now: u64) -> Option<StepPlan> {
        if self.unanswered.len() >= Self::MAX_UNANSWERED {
            return None;
        }
        self.now = now;
        self.refuse_late(now);
        let step_tokens = self.config.step_tokens as usize;
        let mut draft = Draft {
            plan: StepPlan {
                step: self.next_step,
                detach: Vec::new(),
                attach: Vec::new(),
                copies: Vec::new(),
                rows: Vec::with_capacity(self.running.len()),
                token_ids: Vec::new(),
                groups: Vec::new(),
            },
            rows: self.spare_rows.pop().unwrap_or_default(),
            budget: step_tokens,
            prompts: usize::MAX,
            limit_ns: None,
            load: StepLoad::default(),
            prefilled: 0,
            preempted: false,
        };
        self.fill(&mut draft, now);
        // Last, because those that were preempted for this very plan are in it.
        draft.plan.detach = std::mem::take(&mut self.detached);
        draft.plan.copies = self.copies.drain(..).map(|copy| (copy.from, copy.to)).collect();
        let plan = &draft.plan;
        if plan.rows.is_empty() && plan.detach.is_empty() && plan.copies.is_empty() {
            self.spare_rows.push(draft.rows);
            self.check();
            return None;
        }
        let tokens = step_tokens - draft.budget;
        self.next_step += 1;
        self.totals.steps += 1;
        self.totals.copies += plan.copies.len() as u64;
        self.totals.prefill_tokens += draft.prefilled as u64;
        self.totals.planned_tokens += tokens as u64;
        self.totals.budget_tokens += step_tokens as u64;
        self.unanswered.push_back(UnansweredStep {
            step: plan.step,
            rows: draft.rows,
            planned_ns: now,
            tokens: tokens as u64,
            prefilled: draft.prefilled as u64,
            load: draft.load,
        });
        self.check();
        Some(draft.plan)
    }

    fn fill(&mut self, draft: &mut Draft, now: u64) {
        match self.config.mode {
            ScheduleMode::Chunked => {
                self.plan_decodes(draft);
                self.plan_all_prefills(draft, now);
            }
            ScheduleMode::PrefillFirst => {
                self.plan_all_prefills(draft, now);
                if draft.rows.is_empty() {
                    self.plan_decodes(draft);
                }
            }
            ScheduleMode::DecodeFirst => {
                let prefill_is_due = self.decode_steps >= self.config.max_wait_tokens;
                if !prefill_is_due {
                    self.plan_decodes(draft);
                }
                if draft.rows.is_empty() {
                    self.plan_all_prefills(draft, now);
                }
                if draft.rows.is_empty() && prefill_is_due {
                    self.plan_decodes(draft);
                }
                if draft.prefilled > 0 {
                    self.decode_steps = 0;
                } else if !draft.rows.is_empty() {
                    self.decode_steps = self.decode_steps.saturating_add(1);
                }
            }
        }
    }

    /// Of running requests first and then of new ones.
    fn plan_all_prefills(&mut self, draft: &mut Draft, now: u64) {
        draft.limit_ns = self.limit_ns(draft);
        draft.prompts = self.prompt_share(draft);
        for index in 0..self.running.prefilling().len() {
            self.plan_chunk(draft, self.running.prefilling()[index]);
        }
        if !draft.preempted {
            self.admit(draft, now);
        }
    }

    /// Plans the next piece of a prefill, if there is one and the step has room for it.
    pub(super) fn plan_chunk(&mut self, draft: &mut Draft, slot: SlotId) {
        let tokens = self.chunk(draft, slot);
        if tokens == 0 {
            return;
        }
        let running = self.running.get_mut(slot).expect("it is still there");
        let chunk = &running.sequence.tokens[running.planned..running.planned + tokens];
        draft.plan.token_ids.extend_from_slice(chunk);
        draft.prefilled += tokens;
        if !running.attached {
            self.running.attach(slot);
            self.note_prefix(slot);
            let running = self.running.get(slot).expect("it was just attached");
            let sequence = &running.sequence;
            draft.plan.attach.push(Attach {
                slot,
                request: sequence.id,
                prompt_len: sequence.prompt_len as u32,
                history: sequence.wants_history.then(|| sequence.tokens.clone()),
                images: sequence.images_in(running.planned, running.prefill_len),
            });
        }
        let running = self.running.get_mut(slot).expect("it is still there");
        let pages = self.config.pages_for(running.planned + tokens);
        draft.add_row(slot, running, tokens, pages);
    }
}
