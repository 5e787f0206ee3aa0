//! Requests with one prompt and several outputs (n > 1). One of them, the leader, computes the prompt and publishes
//! its pages; then the others fork: they lock the full pages, get a copy of the last one, and compute the prompt's
//! last token again, each to sample its own first token.

use super::{PageCopy, Scheduler};
use crate::ids::{RequestId, SlotId};
use crate::running::{Part, Running};
use crate::sequence::Sequence;

impl Scheduler {
    /// The leader's prompt is computed and published: those that wait for it begin. The pages to copy go into the
    /// very next plan, so the leader may leave meanwhile: no row of another can come before.
    pub(super) fn fork(&mut self, leader: SlotId) {
        let running = self.running.get_mut(leader).expect("a leader runs");
        let Part::Leads(members) = std::mem::take(&mut running.part) else { return };
        let shared = running.sequence.forked_pages(self.config.page_size);
        let from = running.holding.pages[shared];
        let start = running.sequence.prompt_len - 1;
        let salt = running.sequence.salt;
        for slot in members {
            let leader = self.running.get(leader).expect("a leader runs");
            let found = self.memory.find(salt, leader.sequence.prompt(), start);
            assert_eq!(found.pages, shared, "the leader has published its prompt");
            let member = self.running.get_mut(slot).expect("a member runs");
            member.part = Part::Alone;
            member.planned = start;
            self.memory.join(&mut member.holding, salt, &found);
            self.totals.forks += 1;
            // Where the last page holds but the last token, that is computed again, there is nothing to copy.
            if !start.is_multiple_of(self.config.page_size as usize) {
                self.copies.push(PageCopy { slot, from, to: member.holding.pages[shared] });
            }
            self.running.begin_prefill(slot);
        }
    }

    /// The leader has gone before its prompt was computed: the first of the others computes it, beginning with what
    /// is published of it.
    pub(super) fn succeed(&mut self, gone: Running) {
        let Part::Leads(mut members) = gone.part else {
            self.memory.release(gone.holding);
            return;
        };
        let slot = members.remove(0);
        let heir = self.running.get_mut(slot).expect("a member runs");
        let prompt = heir.sequence.prompt();
        let found = self.memory.find(heir.sequence.salt, prompt, prompt.len() - 1);
        let pages = self.config.pages_for(prompt.len());
        // First the lock, so that nothing is lost; then the pages that the one that has gone had.
        let holding = self.memory.hold(heir.sequence.salt, Some(&found), found.pages);
        let page = std::mem::replace(&mut heir.holding, holding);
        self.memory.release(gone.holding);
        self.memory.release(page);
        while heir.holding.pages.len() < pages {
            assert!(self.memory.grow(&mut heir.holding), "the leader had as many");
        }
        heir.planned = found.pages * self.config.page_size as usize;
        for member in &members {
            self.running.get_mut(*member).expect("a member runs").part = Part::Awaits(slot);
        }
        let part = if members.is_empty() { Part::Alone } else { Part::Leads(members) };
        self.running.get_mut(slot).expect("a member runs").part = part;
        self.running.begin_prefill(slot);
    }

    /// A member that waits for the prompt leaves.
    pub(super) fn leave(&mut self, leader: SlotId, member: SlotId) {
        let leader = self.running.get_mut(leader).expect("a leader runs");
        let Part::Leads(members) = &mut leader.part else { panic!("whoever is waited for leads") };
        members.retain(|slot| *slot != member);
        if members.is_empty() {
            leader.part = Part::Alone;
        }
    }

    /// Takes a request out of the queue. If others wait with it, they stay, as one of them.
    pub(super) fn leave_queue(&mut self, arrival: u64, request: RequestId) {
        let mut sequence = self.queue.remove(arrival).expect("a queued request is in the queue");
        if sequence.id == request {
            let Some(heir) = sequence.heir() else { return };
            sequence = heir;
        } else {
            sequence.siblings.retain(|sibling| sibling.id != request);
        }
        self.wait(sequence);
    }

    /// A request leaves while a part of its prompt is computed ahead, be it the one that runs or one that waits with it.
    pub(super) fn leave_ahead(&mut self, slot: SlotId, request: RequestId) {
        let sequence = &mut self.running.get_mut(slot).expect("who runs ahead has a slot").sequence;
        self.queue.remove_away(sequence.siblings.len());
        if sequence.id != request {
            sequence.siblings.retain(|sibling| sibling.id != request);
            self.queue.add_away(sequence.siblings.len());
            return;
        }
        let Running { mut sequence, holding, .. } = self.vacate(slot);
        self.memory.release(holding);
        if let Some(heir) = sequence.heir() {
            self.wait(heir);
        }
    }

    /// What could be computed ahead of an image is computed: the request gives its slot and pages back, and waits with
    /// its siblings. The pages stay in the prefix cache.
    pub(super) fn end_ahead(&mut self, slot: SlotId) {
        let Running { sequence, holding, .. } = self.vacate(slot);
        self.memory.release(holding);
        self.queue.remove_away(sequence.siblings.len());
        self.wait(sequence);
    }
}

impl Sequence {
    /// The first of its siblings in its place, with the others, for when it leaves.
    pub fn heir(&mut self) -> Option<Self> {
        let mut siblings = std::mem::take(&mut self.siblings).into_iter();
        let mut heir = self.of_sibling(siblings.next()?);
        heir.siblings = siblings.collect();
        Some(heir)
    }

    /// Its group shares the prompt's pages. Where log-probabilities of the prompt are wanted each computes it.
    pub fn shares_prompt(&self) -> bool {
        !self.prompt_logprobs
    }

    /// Pages of the prompt that members of a group share: all but the one with the last token, which each computes.
    pub fn forked_pages(&self, page_size: u32) -> usize {
        (self.prompt_len - 1) / page_size as usize
    }
}
