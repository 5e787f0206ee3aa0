//! How fast the queue drains.

use std::collections::VecDeque;

/// How fast requests end, from the recent ends.
#[derive(Debug, Default)]
pub(crate) struct DrainRate {
    /// Times of the last ends, in nanoseconds, oldest first.
    ends: VecDeque<u64>,
}

impl DrainRate {
    /// Ends remembered: enough to be steady, few enough to follow a change of load.
    const WINDOW: usize = 64;
    /// A client should ask again within this time whatever the estimate is: it is only an estimate.
    const LONGEST_S: u64 = 60;

    pub fn note(&mut self, now: u64) {
        if self.ends.len() == Self::WINDOW {
            self.ends.pop_front();
        }
        self.ends.push_back(now);
    }

    /// Seconds in which `requests` end at the recent rate, rounded up. In whole numbers, so that a replay agrees.
    pub fn seconds_for(&self, requests: usize, now: u64) -> u64 {
        let Some(&oldest) = self.ends.front() else { return 1 };
        let window_ns = u128::from(now.saturating_sub(oldest));
        let seconds = (requests as u128 * window_ns).div_ceil(self.ends.len() as u128 * 1_000_000_000);
        (seconds as u64).clamp(1, Self::LONGEST_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn retry_after_follows_the_drain_rate() {
        let mut rate = DrainRate::default();
        assert_eq!(rate.seconds_for(1000, SECOND), 1, "nothing is known yet");
        for second in 0..200 {
            rate.note(second * SECOND / 4);
        }
        // 64 ends in the last 15.75 s and a quarter: four a second.
        assert_eq!(rate.seconds_for(80, 50 * SECOND), 20);
        assert_eq!(rate.seconds_for(1, 50 * SECOND), 1);
        assert_eq!(rate.seconds_for(4000, 50 * SECOND), 60);
    }
}
