//! A backend that computes nothing.

use std::collections::VecDeque;

use lightllm_router::{RowResult, StepPlan, StepResult};

use super::live::LiveSet;

/// Carries out one plan after the other. What each row will have sampled is known beforehand.
#[derive(Debug, Default)]
pub(super) struct Backend {
    /// Results with the times at which they come, oldest first.
    results: VecDeque<(u64, StepResult)>,
    /// When all plans so far are carried out.
    free_at: u64,
}

impl Backend {
    /// When the oldest plan ends.
    pub fn next_end(&self) -> Option<u64> {
        self.results.front().map(|(end, _)| *end)
    }

    /// The result of the oldest plan, if it has ended by `now`.
    pub fn ended(&mut self, now: u64) -> Option<StepResult> {
        let ended = self.next_end().is_some_and(|end| end <= now);
        if ended { self.results.pop_front().map(|(_, result)| result) } else { None }
    }

    /// Takes a plan at `now` that takes `ns` nanoseconds once those before it are done.
    pub fn start(&mut self, plan: &StepPlan, live: &LiveSet, now: u64, ns: u64) {
        self.free_at = self.free_at.max(now) + ns;
        let emitting = plan.rows.iter().enumerate().filter(|(_, row)| row.emits);
        let rows = emitting.map(|(index, row)| {
            let end = row.start + row.tokens;
            RowResult { row: index as u32, tokens: vec![live.token(row.request, end)], failed: None }
        });
        self.results.push_back((self.free_at, StepResult { step: plan.step, rows: rows.collect() }));
    }
}
