use super::peak::Peak;
use super::{AdmissionPolicy, Demand, Room};

/// Takes the mean length of recent outputs for every request's, as the router of `LightLLM` 1.2 does.
///
/// The mean is exponential: a finished length counts with a weight that starts at a half and shrinks with each finish.
/// A request that has outgrown the mean is taken to get a tenth longer than it is. While the server is busy (more of
/// the KV cache is held than `token_ratio`), every output counts as the longest that is allowed.
#[derive(Debug)]
pub struct Ema {
    token_ratio: f64,
    mean: f64,
    weight: f64,
    room: u64,
    busy: bool,
    peak: Peak,
}

impl Ema {
    const START: f64 = 2048.0;
    const FLOOR: f64 = 64.0;
    const FIRST_WEIGHT: f64 = 0.5;
    const LAST_WEIGHT: f64 = 0.04;
    const WEIGHT_DECAY: f64 = 0.8;

    /// `token_ratio`: part of the KV cache that is held when the server begins to be busy.
    pub fn new(token_ratio: f64) -> Self {
        Self { token_ratio, mean: Self::START, weight: Self::FIRST_WEIGHT, room: 0, busy: false, peak: Peak::default() }
    }

    fn rest(&self, demand: &Demand) -> u32 {
        let expected = if self.busy {
            demand.max_tokens
        } else {
            let outgrown = (f64::from(demand.generated) * 1.1) as u32;
            demand.max_tokens.min(outgrown.max(self.mean as u32))
        };
        expected.saturating_sub(demand.generated)
    }
}

impl AdmissionPolicy for Ema {
    fn begin(&mut self, room: Room, running: &[Demand]) {
        self.room = room.capacity.saturating_sub(room.shared);
        let held = room.shared + running.iter().map(|demand| demand.held).sum::<u64>();
        self.busy = held as f64 > room.capacity as f64 * self.token_ratio;
        let mut peak = std::mem::take(&mut self.peak);
        peak.reset(running.iter().map(|demand| (demand.held, self.rest(demand))));
        self.peak = peak;
    }

    fn admits(&mut self, candidates: &[Demand]) -> bool {
        let mut peak = std::mem::take(&mut self.peak);
        let admits = peak.admit(candidates.iter().map(|demand| (demand.held, self.rest(demand))), self.room);
        self.peak = peak;
        admits
    }

    fn finished(&mut self, ended: &Demand) {
        let mean = self.mean * (1.0 - self.weight) + f64::from(ended.generated) * self.weight;
        self.mean = mean.max(Self::FLOOR);
        self.weight = (self.weight * Self::WEIGHT_DECAY).max(Self::LAST_WEIGHT);
    }

    fn evicted(&mut self, _victim: &Demand) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(held: u64, generated: u32) -> Demand {
        Demand { held, generated, max_tokens: 3000, ..Demand::default() }
    }

    #[test]
    fn the_mean_follows_finished_lengths_down_to_a_floor() {
        let mut policy = Ema::new(0.9);
        assert_eq!(policy.rest(&demand(0, 0)), 2048, "the start");
        policy.finished(&demand(0, 1000));
        assert_eq!(policy.rest(&demand(0, 0)), 1524, "half of each");
        policy.finished(&demand(0, 1000));
        assert_eq!(policy.rest(&demand(0, 0)), 1314, "1524 - 0.4 * 524");
        for _ in 0..200 {
            policy.finished(&demand(0, 1));
        }
        assert_eq!(policy.rest(&demand(0, 0)), 64);
        assert!((policy.weight - 0.04).abs() < 1e-12);
    }

    #[test]
    fn those_that_outgrew_the_mean_grow_by_a_tenth_up_to_their_limit() {
        let policy = Ema::new(0.9);
        assert_eq!(policy.rest(&demand(0, 2500)), 250);
        assert_eq!(policy.rest(&demand(0, 2900)), 100);
    }

    #[test]
    fn a_busy_server_expects_the_longest() {
        let mut policy = Ema::new(0.5);
        let room = Room { capacity: 10_000, shared: 4_000 };
        policy.begin(room, &[demand(1_001, 0)]);
        assert!(!policy.admits(&[demand(100, 0)]), "7,101 of 6,000");
        policy.begin(room, &[demand(1_000, 0)]);
        assert!(policy.admits(&[demand(100, 0)]), "5,196 of 6,000");
    }
}
