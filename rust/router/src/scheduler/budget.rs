//! Time as a budget: how much of a prompt a step takes while others decode, and when the next plan should leave.

use super::Scheduler;
use super::planning::Draft;
use crate::ids::SlotId;

/// Prompt tokens that a step takes even where there is no time for them: every prompt gets on.
const LEAST_TOKENS: usize = 128;

/// A step is waited for if it is this many times as long as the lead: shorter ones are not worth the risk.
const WORTH: f64 = 2.4;

/// Arrivals are expected if the latest was so many steps ago at most.
const LULL: f64 = 32.0;

impl Scheduler {
    /// The bound of the step in the making, once its decode rows are in it.
    pub(super) fn limit_ns(&self, draft: &Draft) -> Option<f64> {
        let decodes = !draft.rows.is_empty() || self.running.len() > self.running.prefilling().len();
        (self.config.step_ns > 0 && decodes).then_some(self.config.step_ns as f64)
    }

    /// Tokens of prompts in the step in the making, once its decode rows are in it: where others decode, those that keep
    /// prompts and outputs in balance, and a quarter more, so that no slot waits long.
    pub(super) fn prompt_share(&self, draft: &Draft) -> usize {
        let least = self.config.balance_tokens as usize;
        let rows = draft.rows.len() as u64;
        if least == 0 || rows == 0 {
            return usize::MAX;
        }
        let share = self.balance.prompts_for(rows).map(|share| usize::try_from(share).unwrap_or(usize::MAX));
        share.map_or(least, |share| share.saturating_add(share / 4).max(least))
    }

    /// Tokens of a request's next chunk: 0 if it has no prompt left, or the step no room.
    pub(super) fn chunk(&self, draft: &Draft, slot: SlotId) -> usize {
        let running = self.running.get(slot).expect("nobody is preempted for a prefill");
        let room = draft.budget.min(draft.prompts).min(self.config.prefill_chunk as usize);
        let tokens = running.prefill_left().min(room);
        let Some(limit_ns) = draft.limit_ns else { return tokens };
        let start = running.planned;
        let fitting = self.cost.tokens_within(limit_ns, &draft.load, start);
        if fitting >= tokens {
            return tokens;
        }
        // Whole pages: they are published as they fill, and chunks of like sizes run from the same graphs.
        let page_size = self.config.page_size as usize;
        let fitting = ((start + fitting) / page_size * page_size).saturating_sub(start);
        if draft.prefilled > 0 { fitting } else { fitting.max(LEAST_TOKENS).min(tokens) }
    }

    /// Whether a step has no room for another prompt.
    pub(super) fn is_full(&self, draft: &Draft) -> bool {
        let has_time = |limit_ns: f64| {
            draft.prefilled == 0 || self.cost.tokens_within(limit_ns, &draft.load, 0) >= self.config.page_size as usize
        };
        draft.budget == 0 || draft.prompts == 0 || !draft.limit_ns.is_none_or(has_time)
    }

    /// When the next plan should be asked for, `now` or later: late enough that it knows of those that arrive while
    /// the step before it runs, early enough that it is there when that ends. It is `now` where nothing runs, where it
    /// isn't known well enough when it ends, where it ends soon, and where nobody has come for long.
    ///
    /// To ask earlier is always allowed.
    pub fn plan_at(&self, now: u64) -> u64 {
        let lead = self.config.plan_lead_ns as f64;
        let (Some(step), 1) = (self.unanswered.front(), self.unanswered.len()) else { return now };
        let (Some(deviation), Some(arrival)) = (self.cost.deviation(&step.load), self.latest_arrival) else {
            return now;
        };
        let estimate = self.cost.estimate(&step.load);
        let expected = now.saturating_sub(arrival) as f64 <= LULL * estimate;
        let lead = lead + 2.0 * deviation;
        if self.config.plan_lead_ns == 0 || !expected || estimate < WORTH * lead {
            return now;
        }
        self.cost.end(step.planned_ns, &step.load).saturating_sub(lead as u64).max(now)
    }
}
