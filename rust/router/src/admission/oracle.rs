use super::peak::Peak;
use super::{AdmissionPolicy, Demand, Room};

/// Admits what fits, knowing how long every output gets: what can be reached without a preemption, for comparison.
/// Where a length isn't known, the longest that is allowed counts.
#[derive(Debug, Default)]
pub struct Oracle {
    room: u64,
    peak: Peak,
}

impl Oracle {
    /// Nothing to set.
    pub fn new() -> Self {
        Self::default()
    }
}

impl AdmissionPolicy for Oracle {
    fn begin(&mut self, room: Room, running: &[Demand]) {
        self.room = room.capacity.saturating_sub(room.shared);
        self.peak.reset(running.iter().map(|demand| (demand.held, rest(demand))));
    }

    fn admits(&mut self, candidates: &[Demand]) -> bool {
        self.peak.admit(candidates.iter().map(|demand| (demand.held, rest(demand))), self.room)
    }

    fn finished(&mut self, _ended: &Demand) {}

    fn evicted(&mut self, _victim: &Demand) {}
}

fn rest(demand: &Demand) -> u32 {
    demand.expected.unwrap_or(demand.max_tokens).saturating_sub(demand.generated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_in_time_is_admitted() {
        let mut policy = Oracle::new();
        let demand = |held, expected| Demand { held, max_tokens: 90, expected, ..Demand::default() };
        policy.begin(Room { capacity: 100, shared: 10 }, &[demand(40, Some(10))]);
        assert!(!policy.admits(&[demand(30, None)]), "90 more are allowed");
        assert!(!policy.admits(&[demand(30, Some(60))]), "90 is not under 90");
        assert!(policy.admits(&[demand(29, Some(60))]), "89 at the end of the second, 89 at the end of the first");
        assert!(!policy.admits(&[demand(1, Some(10))]), "100 at the end of the first");
    }
}
