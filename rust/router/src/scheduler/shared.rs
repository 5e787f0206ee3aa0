//! Decode rows of requests with the same first pages come next to each other, so that the backend reads those once.

use super::planning::Draft;
use super::{Scheduler, UnansweredRow};
use crate::ids::{PageId, SlotId};
use crate::plan::{PrefixGroup, Row};
use crate::prefixes::{SharedRun, shared_runs};
use crate::running::RunningSet;

/// Lists that are made at each step, kept for their memory.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// Index of each slot's decode row, by slot.
    row_of: Vec<Option<u32>>,
    listed: Vec<(SlotId, u32)>,
    runs: Vec<SharedRun>,
}

impl Scheduler {
    /// The backend is about to hear of this one, with all its pages.
    pub(super) fn note_prefix(&mut self, slot: SlotId) {
        let running = &self.running;
        self.prefixes.insert(slot, |slot| page_table(running, slot));
    }

    /// Names the groups of a draft's decode rows, and puts their rows first. All rows so far are decode rows.
    pub(super) fn group_decodes(&mut self, draft: &mut Draft) {
        let (count, tokens) = (self.config.shared_rows, self.config.shared_tokens);
        let pages = tokens.div_ceil(self.config.page_size).max(1);
        if count == 0 || draft.rows.len() < count as usize || !self.prefixes.shares(pages) {
            return;
        }
        let Sharing { row_of, listed, runs } = &mut self.sharing;
        row_of.clear();
        row_of.resize(self.config.slots as usize, None);
        for (index, row) in draft.rows.iter().enumerate() {
            row_of[row.slot.index()] = Some(index as u32);
        }
        self.prefixes.list(|slot| row_of[slot.index()].is_some(), listed);
        shared_runs(listed, count as usize, pages, runs);
        if runs.is_empty() {
            return;
        }
        let mut rows = Rows::take(draft);
        for run in runs {
            let first_row = draft.rows.len() as u32;
            for (slot, _) in &listed[run.first..run.first + run.count] {
                let index = row_of[slot.index()].expect("listed rows are in the draft");
                rows.give(index as usize, draft);
            }
            let saved = (run.count as u64 - 1) * u64::from(run.pages) * u64::from(self.config.page_size);
            draft.load.context -= saved;
            draft.plan.groups.push(PrefixGroup { first_row, rows: run.count as u32, pages: run.pages });
        }
        rows.give_rest(draft);
    }

    pub(super) fn check_prefixes(&self) {
        let attached = self.running.iter().filter(|(_, running)| running.attached).map(|(slot, _)| slot);
        self.prefixes.check_invariants(attached, |slot| page_table(&self.running, slot));
    }
}

fn page_table(running: &RunningSet, slot: SlotId) -> &[PageId] {
    &running.get(slot).expect("what the backend knows runs").holding.pages
}

/// The rows of a draft, to be put back in another order.
struct Rows {
    planned: Vec<Option<Row>>,
    unanswered: Vec<UnansweredRow>,
}

impl Rows {
    /// Takes all rows out of a draft.
    fn take(draft: &mut Draft) -> Self {
        let room = Vec::with_capacity(draft.plan.rows.capacity());
        let planned = std::mem::replace(&mut draft.plan.rows, room).into_iter().map(Some).collect();
        Self { planned, unanswered: std::mem::take(&mut draft.rows) }
    }

    /// Puts one back, behind those that are back.
    fn give(&mut self, index: usize, draft: &mut Draft) {
        draft.plan.rows.push(self.planned[index].take().expect("a row is put back once"));
        draft.rows.push(self.unanswered[index]);
    }

    /// Puts those back that are left, in their order.
    fn give_rest(mut self, draft: &mut Draft) {
        for index in 0..self.planned.len() {
            if self.planned[index].is_some() {
                self.give(index, draft);
            }
        }
    }
}
