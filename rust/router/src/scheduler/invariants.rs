//! What is always true of the scheduler.

use std::collections::BTreeMap;

use super::{Place, Scheduler};

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

        assert_eq!(self.places.len(), self.queue.len() + self.running.len(), "every request has one place");
        for sequence in self.queue.iter() {
            assert_eq!(sequence.unanswered, unanswered(sequence.arrival), "rows of {}", sequence.id);
            let place = self.places.get(&sequence.id);
            assert!(matches!(place, Some(Place::Queued(arrival)) if *arrival == sequence.arrival), "place of a queued");
            assert!(sequence.was_admitted || sequence.unanswered == 0, "only admitted requests have rows");
        }
        for (slot, running) in self.running.iter() {
            let sequence = &running.sequence;
            assert_eq!(sequence.unanswered, unanswered(sequence.arrival), "rows of {}", sequence.id);
            let place = self.places.get(&sequence.id);
            assert!(matches!(place, Some(Place::Running(s)) if *s == slot), "place of a running request");
            assert!(running.told_pages <= running.holding.pages.len(), "told pages are held");
            assert!(running.planned <= running.holding.pages.len() * self.config.page_size as usize, "room for rows");
            assert!(running.planned_outputs <= sequence.max_tokens, "no row past max_tokens");
            assert!(sequence.outputs() <= running.planned_outputs, "outputs were planned");
        }
    }
}
