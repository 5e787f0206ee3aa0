//! What is always true of the scheduler.

use std::collections::BTreeMap;

use super::{Place, Scheduler};
use crate::ids::SlotId;
use crate::running::{Part, Running};
use crate::sequence::Sequence;

impl Scheduler {
    /// Checks everything against everything. Too slow for each step of a server; right for tests and idle times.
    ///
    /// # Panics
    /// If anything is wrong.
    pub fn check_invariants(&self) {
        self.queue.check_invariants();
        self.running.check_invariants();
        let holdings = self.running.iter().map(|(_, running)| (&running.holding, running.sequence.tokens.as_slice()));
        self.memory.check_invariants(holdings);
        assert!(self.unanswered.len() <= Self::MAX_UNANSWERED, "unanswered plans");
        assert!(self.unanswered.iter().is_sorted_by_key(|step| step.step), "unanswered plans in order");

        let mut rows: BTreeMap<u64, u32> = BTreeMap::new();
        for row in self.unanswered.iter().flat_map(|step| &step.rows) {
            *rows.entry(row.arrival).or_default() += 1;
        }
        let unanswered = |arrival| rows.get(&arrival).copied().unwrap_or(0);

        let queued: usize = self.queue.iter().map(Sequence::members).sum();
        let running = self.running.iter().map(|(_, running)| running.sequence.members());
        assert_eq!(self.places.len(), queued + running.sum::<usize>(), "every request has one place");
        for sequence in self.queue.iter() {
            assert_eq!(sequence.unanswered, unanswered(sequence.arrival), "rows of {}", sequence.id);
            for id in sequence.siblings.iter().map(|sibling| sibling.id).chain([sequence.id]) {
                let place = self.places.get(&id);
                assert!(matches!(place, Some(Place::Queued(arrival)) if *arrival == sequence.arrival), "place of {id}");
            }
            assert!(sequence.was_admitted() || sequence.unanswered == 0, "only admitted requests have rows");
        }
        for (slot, running) in self.running.iter() {
            let sequence = &running.sequence;
            assert_eq!(sequence.unanswered, unanswered(sequence.arrival), "rows of {}", sequence.id);
            for id in sequence.siblings.iter().map(|sibling| sibling.id).chain([sequence.id]) {
                let place = self.places.get(&id);
                assert!(matches!(place, Some(Place::Running(s)) if *s == slot), "place of a running request");
            }
            assert!(sequence.was_admitted(), "who runs was admitted");
            assert!(running.ahead || sequence.siblings.is_empty(), "siblings run for themselves");
            self.check_images(running);
            assert!(running.told_pages <= running.holding.pages.len(), "told pages are held");
            assert!(running.planned <= running.holding.pages.len() * self.config.page_size as usize, "room for rows");
            assert!(running.planned_outputs <= sequence.max_tokens, "no row past max_tokens");
            assert!(sequence.outputs() <= running.planned_outputs, "outputs were planned");
            self.check_part(slot, running);
        }
        self.check_prefixes();
        for copy in &self.copies {
            let running = self.running.get(copy.slot).expect("copies are for running requests");
            assert!(!running.attached && running.holding.pages.contains(&copy.to), "a copy comes before all rows");
        }
    }

    /// No row is of an image that is not ready, unless it was cached; and who runs ahead holds what it computes.
    fn check_images(&self, running: &Running) {
        let Running { sequence, planned, prefill_len, holding, .. } = running;
        let rows = holding.shared_pages() * self.config.page_size as usize..*planned;
        for image in sequence.images.iter().filter(|image| !image.ready) {
            let (start, end) = (image.start as usize, image.end() as usize);
            assert!(start >= rows.end || end <= rows.start || rows.is_empty(), "a row of an image that is not ready");
        }
        if running.ahead {
            assert!(*prefill_len < sequence.prompt_len && running.part == Part::Alone, "a part of the prompt");
            assert_eq!(holding.pages.len(), self.config.pages_for(*prefill_len), "no page that is not needed");
            assert_eq!(prefill_len % self.config.page_size as usize, 0, "what is computed ahead is kept");
        }
    }

    fn check_part(&self, slot: SlotId, running: &Running) {
        match &running.part {
            Part::Alone => assert!(running.attached || running.planned < running.prefill_len, "it will have a row"),
            Part::Leads(members) => {
                assert!(!members.is_empty(), "who leads has others");
                for member in members {
                    let member = self.running.get(*member).expect("members run");
                    assert_eq!(member.part, Part::Awaits(slot));
                    assert_eq!(member.sequence.prompt(), running.sequence.prompt(), "a group has one prompt");
                }
            }
            Part::Awaits(leader) => {
                let leader = self.running.get(*leader).expect("a leader runs");
                assert!(matches!(&leader.part, Part::Leads(members) if members.contains(&slot)), "it is led");
                assert!(!running.attached && running.holding.pages.len() == 1, "it has its last page only");
            }
        }
    }
}
