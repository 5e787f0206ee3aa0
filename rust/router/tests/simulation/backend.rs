//! A backend without arithmetic. Each position of its KV cache holds a hash of the tokens up to there, made from the
//! hash that the page table gives for the position before; a token is a hash of all that the page table gives.

use std::collections::{BTreeMap, BTreeSet};

use lightllm_router::{PageId, Request, RequestId, Row, RowResult, StepPlan, StepResult};

/// Tokens are below this: few, so that prompts and outputs often begin alike.
pub const VOCABULARY: u64 = 3;

fn mix(a: u64, b: u64) -> u64 {
    let mixed = (a ^ b.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    mixed ^ (mixed >> 32)
}

/// What the KV cache holds at a position, from what it holds before it.
fn key_value(before: Option<u64>, salt: u128, token: u32) -> u64 {
    // The salt is in it so that a hit under another salt shows.
    mix(before.unwrap_or_else(|| mix(17, salt as u64)), u64::from(token) + 1)
}

fn sample(context: impl Iterator<Item = u64>) -> u32 {
    (context.fold(99, mix) % VOCABULARY) as u32
}

/// The tokens that a request gets where nothing is cached, paged, batched or preempted.
pub fn ideal(request: &Request) -> Vec<u32> {
    let mut context: Vec<u64> = Vec::new();
    for &token in &request.prompt {
        context.push(key_value(context.last().copied(), request.cache_salt, token));
    }
    let mut outputs = Vec::new();
    while outputs.len() < request.max_tokens as usize {
        let may_end = outputs.len() >= request.min_tokens as usize;
        let token = sample(context.iter().copied());
        outputs.push(token);
        context.push(key_value(context.last().copied(), request.cache_salt, token));
        if may_end && request.end_ids.contains(&token) {
            break;
        }
    }
    outputs
}

/// What goes wrong in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// This row fails, if there are so many.
    pub row: Option<usize>,
    /// All of it fails.
    pub step: bool,
}

#[derive(Debug)]
struct Slot {
    request: RequestId,
    salt: u128,
    page_table: Vec<PageId>,
    last: Option<u32>,
}

#[derive(Debug)]
pub struct Backend {
    page_size: usize,
    kv: Vec<u64>,
    slots: BTreeMap<u32, Slot>,
    /// Positions computed of each request, whatever became of them.
    pub computed: BTreeMap<RequestId, BTreeSet<u32>>,
}

impl Backend {
    pub fn new(pages: u32, page_size: u32) -> Self {
        let kv = vec![0; (pages * page_size) as usize];
        Self { page_size: page_size as usize, kv, slots: BTreeMap::new(), computed: BTreeMap::new() }
    }

    pub fn attached(&self) -> usize {
        self.slots.len()
    }

    /// Carries out a plan. A step that fails leaves garbage in all positions that it was to write.
    pub fn execute(&mut self, plan: &StepPlan, fault: Fault, salt_of: impl Fn(RequestId) -> u128) -> StepResult {
        for slot in &plan.detach {
            self.slots.remove(&slot.0).expect("only an attached slot is detached");
        }
        for attach in &plan.attach {
            let request = attach.request;
            let slot = Slot { request, salt: salt_of(request), page_table: Vec::new(), last: None };
            assert!(self.slots.insert(attach.slot.0, slot).is_none(), "slot {} is attached twice", attach.slot);
        }
        for (from, to) in &plan.copies {
            assert!(plan.copies.iter().all(|(other, _)| other != to), "page {to} is both copied to and from");
            let position = |page: &PageId| page.0 as usize * self.page_size;
            self.kv.copy_within(position(from)..position(from) + self.page_size, position(to));
        }
        let mut ids = plan.token_ids.iter().copied();
        let mut written = BTreeSet::new();
        let mut rows = Vec::new();
        for (index, row) in plan.rows.iter().enumerate() {
            let failed = fault.step || fault.row == Some(index);
            let token = self.compute(row, &mut ids, failed, &mut written);
            if failed || row.emits {
                let failed = failed.then(|| format!("row {index} is not finite"));
                let tokens = if failed.is_some() { Vec::new() } else { token.into_iter().collect() };
                rows.push(RowResult { row: index as u32, tokens: tokens.into(), failed });
            }
        }
        assert_eq!(ids.next(), None, "all token ids belong to a row");
        self.check_groups(plan);
        // The order is of no meaning: the last row first, for a change.
        rows.reverse();
        StepResult { step: plan.step, rows }
    }

    /// What is said to be in common is, and nobody writes to it any more.
    fn check_groups(&self, plan: &StepPlan) {
        let mut next = 0;
        for group in &plan.groups {
            assert!(group.first_row >= next && group.rows >= 2 && group.pages > 0, "groups in order: {group:?}");
            next = group.first_row + group.rows;
            let rows = &plan.rows[group.first_row as usize..next as usize];
            let pages = |row: &Row| &self.slots[&row.slot.0].page_table[..group.pages as usize];
            for row in rows {
                assert!(row.from_last, "groups are of decode rows");
                assert!(group.pages as usize * self.page_size <= row.start as usize, "the pages are full");
                assert_eq!(pages(row), pages(&rows[0]), "the pages are the same");
            }
        }
    }

    fn compute(
        &mut self,
        row: &Row,
        ids: &mut impl Iterator<Item = u32>,
        failed: bool,
        written: &mut BTreeSet<PageId>,
    ) -> Option<u32> {
        let slot = self.slots.get_mut(&row.slot.0).expect("a row is of an attached slot");
        assert_eq!(slot.request, row.request, "the slot is the request's");
        slot.page_table.extend_from_slice(&row.new_pages);
        let (start, end) = (row.start as usize, (row.start + row.tokens) as usize);
        assert_eq!(slot.page_table.len(), end.div_ceil(self.page_size), "the page table covers the row, no more");
        let index = |position: usize| {
            slot.page_table[position / self.page_size].0 as usize * self.page_size + position % self.page_size
        };
        for page in &slot.page_table[start / self.page_size..] {
            assert!(written.insert(*page), "page {page} is written by two rows");
        }
        for position in start..end {
            let token = if row.from_last {
                assert_eq!(row.tokens, 1, "a decode row is one token");
                slot.last.expect("a token was sampled before")
            } else {
                ids.next().expect("a prefill row has its ids in the plan")
            };
            let before = position.checked_sub(1).map(|before| self.kv[index(before)]);
            self.kv[index(position)] = if failed { 0xBAD } else { key_value(before, slot.salt, token) };
            self.computed.entry(row.request).or_default().insert(position as u32);
        }
        let token = row.emits.then(|| sample((0..end).map(|position| self.kv[index(position)])));
        slot.last = token.or(slot.last);
        token
    }
}
