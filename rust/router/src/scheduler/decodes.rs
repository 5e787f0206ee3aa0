//! Decode rows, and who gives up its pages where there are none left for them.

use std::cmp::Reverse;

use super::Scheduler;
use super::planning::Draft;
use crate::ids::SlotId;
use crate::running::{Part, Running};
use crate::sequence::Sequence;

impl Scheduler {
    /// Plans one token for each request that decodes.
    pub(super) fn plan_decodes(&mut self, draft: &mut Draft) {
        self.plan_decode_rows(draft);
        self.group_decodes(draft);
    }

    fn plan_decode_rows(&mut self, draft: &mut Draft) {
        let page_size = self.config.page_size as usize;
        let needs_page = |running: &Running| running.planned >= running.holding.pages.len() * page_size;
        let available = self.memory.available(None);
        // Counted only where it may matter: it takes as long as the planning.
        let wanted = |(_, running): &(SlotId, &Running)| running.wants_decode() && needs_page(running);
        if self.running.len() > available && self.running.iter().filter(wanted).count() > available {
            self.plan_decodes_of_the_best(draft);
            return;
        }
        for index in 0..self.running.len() {
            let slot = self.running.nth(index);
            let running = self.running.get_mut(slot).expect("an ordered slot is taken");
            if running.wants_decode() {
                let has_room = !needs_page(running) || self.memory.grow(&mut running.holding);
                assert!(has_room, "the pages were counted");
                let pages = running.holding.pages.len();
                draft.add_row(slot, running, 1, pages);
            }
        }
    }

    /// As [`plan_decodes`](Self::plan_decodes) where there are fewer free pages than are needed: in order of
    /// importance, so that those that go back to the queue have no row yet.
    fn plan_decodes_of_the_best(&mut self, draft: &mut Draft) {
        let mut ranked = self.ranked();
        let mut next = 0;
        while next < ranked.len() {
            let slot = ranked[next];
            let running = self.running.get_mut(slot).expect("whoever is preempted is behind");
            let has_page = self.config.pages_for(running.planned + 1) <= running.holding.pages.len();
            if !running.wants_decode() || has_page || self.memory.grow(&mut running.holding) {
                if running.wants_decode() {
                    let pages = running.holding.pages.len();
                    draft.add_row(slot, running, 1, pages);
                }
                next += 1;
                continue;
            }
            // Perhaps the very one that needs the page: then it is the least important that is left.
            let victim = *ranked.last().expect("at least the one that needs a page is left");
            self.preempt(victim);
            draft.preempted = true;
            while ranked.last().is_some_and(|slot| self.running.get(*slot).is_none()) {
                ranked.pop();
            }
        }
    }

    /// Running requests, the least important last: of the lowest priority, with the least to compute again, and
    /// admitted last. Members of a group that waits for its prompt are next to each other.
    fn ranked(&self) -> Vec<SlotId> {
        let running = self.running.iter().map(|(_, running)| running.sequence.priority);
        let lowest = running.chain(self.queue.iter().map(|sequence| sequence.priority)).min().unwrap_or(0);
        let mut ranked: Vec<(i64, Reverse<usize>, u64, SlotId)> = Vec::with_capacity(self.running.len());
        for (slot, running) in self.running.iter() {
            let first = if let Part::Awaits(leader) = running.part { leader } else { slot };
            let (level, cost) = self.importance(first, lowest);
            ranked.push((level, Reverse(cost), self.running.get(first).expect("a leader runs").admission, slot));
        }
        ranked.sort_unstable();
        ranked.into_iter().map(|(.., slot)| slot).collect()
    }

    /// Its priority as of its admission, aged as that of those that wait, and the steps that it takes to compute
    /// again what the prefix cache doesn't keep. Whole steps: smaller differences are less than those of luck.
    fn importance(&self, slot: SlotId, lowest: i32) -> (i64, usize) {
        let running = self.running.get(slot).expect("a running request is ranked");
        let waited = running.sequence.admission.map_or(0, |admission| admission.queue_ns);
        let aged = waited.checked_div(self.config.order.priority_age_ns).unwrap_or(0);
        let aged = i64::try_from(aged).unwrap_or(i64::MAX);
        let level = i64::from(running.sequence.priority).saturating_sub(aged).max(lowest.into());
        let again = running.planned.saturating_sub(running.holding.shared_pages() * self.config.page_size as usize);
        (level, again / self.config.prefill_chunk as usize)
    }

    /// Back to the queue; with its whole group if that waits for its prompt. Tokens of rows without a result still
    /// count when they come.
    fn preempt(&mut self, slot: SlotId) {
        let running = self.running.get(slot).expect("a running request is preempted");
        let first = if let Part::Awaits(leader) = running.part { leader } else { slot };
        let mut group = vec![first];
        if let Part::Leads(members) = &self.running.get(first).expect("a leader runs").part {
            group.extend(members);
        }
        let victims: Vec<_> = group.iter().map(|slot| self.demand_of_running(*slot)).collect();
        let mut waiting: Option<Sequence> = None;
        let ahead = self.running.get(first).expect("a leader runs").ahead;
        for slot in group {
            let Running { sequence, holding, .. } = self.vacate(slot);
            self.memory.release(holding);
            match &mut waiting {
                None => waiting = Some(sequence),
                Some(first) => first.siblings.push(sequence.as_sibling()),
            }
        }
        let mut sequence = waiting.expect("at least one goes back");
        sequence.resumes |= !ahead;
        self.wait(sequence);
        for victim in victims {
            self.policy.evicted(&victim);
            self.totals.preemptions += 1;
        }
    }
}
