//! How fast the backend computes prompts, from the times of its results.

/// Time of a computed token: a mean over recent steps that mostly prefilled, in whole numbers, so that a replay
/// agrees.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When the latest result came: the backend was free for the next step from then on.
    latest: u64,
    /// Nanoseconds and tokens of recent steps, older ones counting less, both scaled alike.
    ns: u64,
    tokens: u64,
}

impl Pace {
    /// What counts is kept with this many binary places, so that the decay is not rounded away.
    const PLACES: u32 = 8;
    /// Half of the weight is gone after about five steps.
    const DECAY: u64 = 8;

    /// A step that was planned at `planned_ns`, with this many tokens of which so many were prefilled, is done.
    pub fn note(&mut self, planned_ns: u64, now: u64, tokens: u64, prefilled: u64) {
        let begin = planned_ns.max(self.latest);
        self.latest = self.latest.max(now);
        // Decode rows cost about the same however few they are: they tell nothing of prompts.
        if prefilled * 2 < tokens || tokens == 0 {
            return;
        }
        // An hour at most: a debugger, a suspended machine.
        let ns = now.saturating_sub(begin).min(3_600_000_000_000);
        self.ns = self.ns - self.ns / Self::DECAY + (ns << Self::PLACES);
        self.tokens = self.tokens - self.tokens / Self::DECAY + (tokens << Self::PLACES);
    }

    /// Nanoseconds of a token. 0 until it is known.
    pub fn ns_per_token(&self) -> u64 {
        self.ns.checked_div(self.tokens).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_steps_that_prefill() {
        let mut pace = Pace::default();
        assert_eq!(pace.ns_per_token(), 0, "nothing is known");
        pace.note(0, 1_000_000, 100, 100);
        assert_eq!(pace.ns_per_token(), 10_000);
        pace.note(0, 1_000_000_000, 100, 10);
        assert_eq!(pace.ns_per_token(), 10_000, "decoding does not count");
        // Planned while the step before ran: it began when that was done.
        let mut now = 1_000_000_000;
        for _ in 0..100 {
            pace.note(now - 500_000, now + 3_000_000, 100, 90);
            now += 3_000_000;
        }
        assert!((29_900..=30_000).contains(&pace.ns_per_token()), "{}", pace.ns_per_token());
    }

    #[test]
    fn absurd_times_do_not_overflow() {
        let mut pace = Pace::default();
        for _ in 0..1000 {
            pace.note(0, u64::MAX, 1, 1);
            pace.note(u64::MAX, 0, u64::from(u32::MAX), u64::from(u32::MAX));
            pace.latest = 0;
        }
        assert!(pace.ns_per_token() < 3_600_000_000_000);
    }
}
