//! Requests that nothing can be computed of until an image is ready.

use std::collections::BTreeSet;

use crate::order::OrderConfig;
use crate::sequence::Sequence;

/// They are in no order and take no part in rounds: nobody waits behind them, and a round costs no more for them.
#[derive(Debug)]
pub(super) struct Parked {
    arrivals: BTreeSet<u64>,
    /// (when the first token should be there, arrival) of those that are refused if it can't.
    deadlines: BTreeSet<(u64, u64)>,
    ttft_target_ns: u64,
    refuse_late: bool,
}

impl Parked {
    pub fn new(config: &OrderConfig) -> Self {
        Self {
            arrivals: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            ttft_target_ns: config.ttft_target_ns,
            refuse_late: config.refuse_late,
        }
    }

    pub fn insert(&mut self, sequence: &Sequence) {
        self.arrivals.insert(sequence.arrival);
        self.deadlines.extend(self.deadline(sequence));
    }

    /// False if it isn't here.
    pub fn remove(&mut self, sequence: &Sequence) -> bool {
        if let Some(entry) = self.deadline(sequence) {
            self.deadlines.remove(&entry);
        }
        self.arrivals.remove(&sequence.arrival)
    }

    pub fn contains(&self, arrival: u64) -> bool {
        self.arrivals.contains(&arrival)
    }

    pub fn len(&self) -> usize {
        self.arrivals.len()
    }

    /// One whose deadline has passed, if such are refused.
    pub fn late(&self, now: u64) -> Option<u64> {
        self.deadlines.first().filter(|(deadline, _)| *deadline < now).map(|(_, arrival)| *arrival)
    }

    fn deadline(&self, sequence: &Sequence) -> Option<(u64, u64)> {
        let target = (self.ttft_target_ns > 0).then(|| sequence.added_ns.saturating_add(self.ttft_target_ns));
        let wanted = sequence.deadline.or(target).filter(|_| self.refuse_late && !sequence.resumes)?;
        Some((wanted, sequence.arrival))
    }

    pub fn check_invariants<'a>(&self, waiting: impl Iterator<Item = &'a Sequence>) {
        let (mut count, mut deadlines) = (0, 0);
        for sequence in waiting.filter(|sequence| self.contains(sequence.arrival)) {
            count += 1;
            assert!(sequence.reach < sequence.tokens.len(), "{} waits for an image", sequence.id);
            assert!(sequence.waits_since.is_some(), "{} waits since some time", sequence.id);
            if let Some(entry) = self.deadline(sequence) {
                deadlines += 1;
                assert!(self.deadlines.contains(&entry), "deadline of {}", sequence.id);
            }
        }
        assert_eq!((count, deadlines), (self.arrivals.len(), self.deadlines.len()), "what is parked waits");
    }
}
