//! The step contract: what the backend is told, and what it answers.

use std::ops::Range;

use crate::ids::{PageId, RequestId, SlotId};

/// One step. The backend carries out the fields in the order `detach`, `attach`, `copies`, `rows`; so a slot that is
/// detached here may be attached again here, and a page that was freed may be in a row here. Every plan is answered
/// by exactly one result, also a plan without rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepPlan {
    /// Number of the step: 1, 2, 3, ...
    pub step: u64,
    /// Slots whose request is gone.
    pub detach: Vec<SlotId>,
    /// Requests that get a slot. Each has a row in the same plan.
    pub attach: Vec<Attach>,
    /// Pages to copy, from and to, for requests that share a prompt (n > 1): each begins with a copy of its last page.
    /// A page that is copied to is not copied from in the same plan, and may be written to by rows of the plan.
    pub copies: Vec<(PageId, PageId)>,
    /// Decode rows, then prefill rows.
    pub rows: Vec<Row>,
    /// Token ids of the prefill rows, one row after the other.
    pub token_ids: Vec<u32>,
    /// Decode rows that have their first pages in common. A row is in one group at most.
    pub groups: Vec<PrefixGroup>,
}

/// Consecutive decode rows whose page tables begin with the same pages: those need to be read but once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixGroup {
    /// Index of the first row.
    pub first_row: u32,
    /// Number of rows.
    pub rows: u32,
    /// Pages that they have in common: all full, and none written to any more.
    pub pages: u32,
}

/// A request gets a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attach {
    /// The slot, free until now.
    pub slot: SlotId,
    /// The request.
    pub request: RequestId,
    /// Length of the prompt as it was added: a request that was preempted has outputs after it.
    pub prompt_len: u32,
    /// Prompt and outputs so far, if the request wants them.
    pub history: Option<Vec<u32>>,
    /// Images that rows of this attach read, by index: all of them are ready. Those before are cached, and rows end
    /// before those behind. A row may begin or end in the middle of an image.
    pub images: Range<u32>,
}

/// Consecutive positions of one request to compute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The slot of the request.
    pub slot: SlotId,
    /// The request.
    pub request: RequestId,
    /// First position.
    pub start: u32,
    /// Number of positions.
    pub tokens: u32,
    /// Pages to append to the slot's page table, so that it covers `[0, start + tokens)`. In the first row after an
    /// attach these are all pages, cached ones first.
    pub new_pages: Vec<PageId>,
    /// A token is sampled after the last position.
    pub emits: bool,
    /// A decode row: its one input is the token sampled last in this slot, and it has no ids in the plan.
    pub from_last: bool,
}

/// The backend's answer to one plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepResult {
    /// Number of the step.
    pub step: u64,
    /// One for each row that emits or failed, in any order. Rows that do not emit may be listed without tokens.
    pub rows: Vec<RowResult>,
}

/// Token ids that a row gave. One or two need no memory of their own: with thousands of rows a step, allocations were
/// a third of the time of taking a result.
pub type Tokens = smallvec::SmallVec<[u32; 2]>;

/// The outcome of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowResult {
    /// Index of the row in its plan.
    pub row: u32,
    /// Exactly one token where the row emits and did not fail, none where it does not emit.
    pub tokens: Tokens,
    /// Why the row could not be computed. It ends the request.
    pub failed: Option<String>,
}
