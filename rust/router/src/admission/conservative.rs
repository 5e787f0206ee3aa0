use super::{AdmissionPolicy, Demand, Room};

/// Admits only what fits if every output gets as long as it may. Nobody is ever preempted, and much room stays empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conservative {
    capacity: u64,
    wanted: u64,
}

impl Conservative {
    /// Nothing to set.
    pub fn new() -> Self {
        Self::default()
    }
}

impl AdmissionPolicy for Conservative {
    fn begin(&mut self, room: Room, running: &[Demand]) {
        self.capacity = room.capacity;
        self.wanted = room.shared + running.iter().map(at_most).sum::<u64>();
    }

    fn admits(&mut self, candidates: &[Demand]) -> bool {
        let wanted = self.wanted + candidates.iter().map(at_most).sum::<u64>();
        let admits = wanted <= self.capacity;
        if admits {
            self.wanted = wanted;
        }
        admits
    }

    fn finished(&mut self, _ended: &Demand) {}

    fn evicted(&mut self, _victim: &Demand) {}
}

fn at_most(demand: &Demand) -> u64 {
    (demand.held + u64::from(demand.max_tokens)).saturating_sub(demand.generated.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_output_may_be_as_long_as_it_is_allowed() {
        let mut policy = Conservative::new();
        let running = Demand { held: 30, generated: 10, max_tokens: 20, ..Demand::default() };
        let candidate = |held| Demand { held, max_tokens: 10, ..Demand::default() };
        policy.begin(Room { capacity: 100, shared: 5 }, &[running]);
        assert!(!policy.admits(&[candidate(46)]), "5 shared, 40 for the one that runs, 56 wanted");
        assert!(policy.admits(&[candidate(10), candidate(10)]), "85");
        assert!(policy.admits(&[candidate(5)]) && !policy.admits(&[candidate(0)]), "those admitted count");
    }
}
