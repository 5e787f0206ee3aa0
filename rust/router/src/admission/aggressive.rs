use super::{AdmissionPolicy, Demand, Room};

/// Admits as long as what is held stays under a watermark. It knows nothing of how long outputs get: when many are
/// long, requests are preempted.
#[derive(Clone, Copy, Debug)]
pub struct Aggressive {
    watermark: f64,
    limit: u64,
    held: u64,
}

impl Aggressive {
    /// `watermark`: part of the KV cache that may be held when a request is admitted.
    pub fn new(watermark: f64) -> Self {
        Self { watermark, limit: 0, held: 0 }
    }
}

impl AdmissionPolicy for Aggressive {
    fn begin(&mut self, room: Room, running: &[Demand]) {
        self.limit = (room.capacity as f64 * self.watermark) as u64;
        self.held = room.shared + running.iter().map(|demand| demand.held).sum::<u64>();
    }

    fn admits(&mut self, candidates: &[Demand]) -> bool {
        let held = self.held + candidates.iter().map(|demand| demand.held).sum::<u64>();
        let admits = held <= self.limit;
        if admits {
            self.held = held;
        }
        admits
    }

    fn finished(&mut self, _ended: &Demand) {}

    fn evicted(&mut self, _victim: &Demand) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_stays_under_the_watermark() {
        let mut policy = Aggressive::new(0.9);
        let demand = |held| Demand { held, ..Demand::default() };
        policy.begin(Room { capacity: 100, shared: 10 }, &[demand(20), demand(30)]);
        assert!(!policy.admits(&[demand(31)]), "91 of 90");
        assert!(policy.admits(&[demand(10), demand(10)]));
        assert!(policy.admits(&[demand(10)]) && !policy.admits(&[demand(1)]), "those admitted count");
    }
}
