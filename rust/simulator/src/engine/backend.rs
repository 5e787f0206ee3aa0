//! A backend that computes nothing.

use std::collections::VecDeque;

use lightllm_router::{RowResult, StepPlan, StepResult};

use super::live::LiveSet;

/// Carries out one plan after the other. What each row will have sampled is known beforehand.
#[derive(Debug, Default)]
pub(super) struct Backend {
    /// Results, oldest first.
    results: VecDeque<Coming>,
    /// When all plans so far are carried out.
    free_at: u64,
}

/// A result that is to come.
#[derive(Debug)]
struct Coming {
    at: u64,
    result: StepResult,
    busy_ns: u64,
}

impl Backend {
    /// Whether no plan is under way.
    pub fn is_idle(&self, now: u64) -> bool {
        self.results.is_empty() && self.free_at <= now
    }

    /// When the oldest plan ends.
    pub fn next_end(&self) -> Option<u64> {
        self.results.front().map(|coming| coming.at)
    }

    /// The result of the oldest plan, if it has ended by `now`, and how long it took.
    pub fn ended(&mut self, now: u64) -> Option<(StepResult, u64)> {
        if self.next_end()? > now {
            return None;
        }
        self.results.pop_front().map(|coming| (coming.result, coming.busy_ns))
    }

    /// Takes a plan at `now` that takes `ns` nanoseconds once those before it are done.
    pub fn start(&mut self, plan: &StepPlan, live: &LiveSet, now: u64, ns: u64) {
        self.free_at = self.free_at.max(now) + ns;
        let emitting = plan.rows.iter().enumerate().filter(|(_, row)| row.emits);
        let rows = emitting.map(|(index, row)| {
            let end = row.start + row.tokens;
            RowResult { row: index as u32, tokens: [live.token(row.request, end)][..].into(), failed: None }
        });
        let result = StepResult { step: plan.step, rows: rows.collect() };
        self.results.push_back(Coming { at: self.free_at, result, busy_ns: ns });
    }
}
