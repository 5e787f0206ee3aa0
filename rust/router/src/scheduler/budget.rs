//! Time as a budget: how much of a prompt a step takes while others decode, and when the next plan should leave.

use super::Scheduler;
use super::planning::Draft;
use crate::ids::SlotId;
use crate::running::Running;

/// Prompt tokens that a step takes even where there is no time for them: every prompt gets on.
const LEAST_TOKENS: usize = 128;

/// Rows of a tile of a matrix product on a GPU: one row more than a whole number of tiles takes as long as a tile more.
const TILE: usize = 256;

/// Whole tiles below which a step is not cut: its products are bound by the weights that they read.
const LEAST_TILES: usize = 3;

/// Whole tiles from which on a step has an even number of them: tiles of outputs then fill the last round over all
/// processors better. Measured: 1,536, 2,048 and 2,560 rows take 2 to 4 % less for each than sizes between them.
const EVEN_TILES: usize = 6;

/// Prompt tokens from which on a longer step is no cheaper for each: where others decode, it only makes them wait.
const ENOUGH_TOKENS: usize = 2048;

/// A step is waited for if it is this many times as long as the lead: shorter ones are not worth the risk.
const WORTH: f64 = 2.4;

/// Arrivals are expected if the latest was so many steps ago at most.
const LULL: f64 = 32.0;

/// Decode rows as a captured step has them: 8, or the next multiple of 32, or of more where there are many slots. The
/// backend has captured steps of just these sizes (`decode_sizes` in its `mixed_graphs.py`).
fn padded_rows(rows: usize, slots: usize) -> usize {
    let step = slots.div_ceil(8).next_multiple_of(32);
    if rows <= 8 { 8.min(slots) } else { rows.next_multiple_of(step).min(slots) }
}

impl Scheduler {
    /// The bound of the step in the making, once its decode rows are in it.
    pub(super) fn limit_ns(&self, draft: &Draft) -> Option<f64> {
        let decodes = !draft.rows.is_empty() || self.running.len() > self.running.prefilling().len();
        (self.config.step_ns > 0 && decodes).then_some(self.config.step_ns as f64)
    }

    /// Tokens of prompts in the step in the making, once its decode rows are in it: where others decode, those that keep
    /// prompts and outputs in balance, and a quarter more, so that no slot waits long; or as many as a prompt has in the
    /// mean, which is in balance too and reads weights and pages less often.
    pub(super) fn prompt_share(&self, draft: &Draft) -> usize {
        let rows = draft.rows.len() as u64;
        if self.config.balance_tokens == 0 || rows == 0 {
            return usize::MAX;
        }
        let least = self.balance.mean_prompt().max(self.config.balance_tokens.into());
        let share = self.balance.prompts_for(rows).map_or(0, |share| share.saturating_add(share / 4));
        let enough = ENOUGH_TOKENS.max(self.config.balance_tokens as usize);
        let share = usize::try_from(share.max(least)).unwrap_or(usize::MAX).min(draft.budget).min(enough);
        let fitting = draft.limit_ns.map_or(share, |limit_ns| self.cost.tokens_within(limit_ns, &draft.load, 0));
        self.whole_tiles(draft.rows.len(), share.min(fitting.max(LEAST_TOKENS)))
    }

    /// At most `share` tokens of prompts, so that with its decode rows a step is a whole number of tiles; all of them if
    /// they are few, or no more prompts wait than that, or the decode rows leave too little of these tiles.
    fn whole_tiles(&self, rows: usize, share: usize) -> usize {
        let slots = self.running.prefilling();
        let left = |slot: &SlotId| self.running.get(*slot).map_or(0, Running::prefill_left);
        let waiting = slots.iter().map(left).sum::<usize>() as u64 + self.queue.prompt_tokens();
        let padded = padded_rows(rows, self.config.slots as usize);
        let tiles = (padded + share) / TILE;
        let tiles = if tiles < EVEN_TILES { tiles } else { tiles & !1 };
        let cut = (tiles * TILE).saturating_sub(padded);
        if waiting <= share as u64 || tiles < LEAST_TILES || cut < LEAST_TOKENS { share } else { cut }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_padded_as_captured_steps_are() {
        assert_eq!([0, 1, 8, 9, 32, 33, 255, 256].map(|rows| padded_rows(rows, 256)), [8, 8, 8, 32, 32, 64, 256, 256]);
        assert_eq!([9, 65, 500].map(|rows| padded_rows(rows, 512)), [64, 128, 512]);
        assert_eq!([1, 9, 20].map(|rows| padded_rows(rows, 20)), [8, 20, 20]);
        assert_eq!([1, 4].map(|rows| padded_rows(rows, 4)), [4, 4]);
    }
}
