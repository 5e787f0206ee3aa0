//! How many prompt tokens come for each output token, by the requests that ended of late, and with each request, by
//! those that were admitted of late.

/// Sums over requests, older ones counting less, in whole numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Balance {
    prompts: u64,
    outputs: u64,
    requests: u32,
    mean_prompt: Option<u64>,
}

impl Balance {
    /// What counts is kept with this many binary places, so that the decay is not rounded away.
    const PLACES: u32 = 12;
    /// Half of the weight is gone after about 90 requests.
    const DECAY: u64 = 128;
    /// Half of the weight of a prompt is gone after about 11 requests: the next ones of a burst shall be told by the
    /// first.
    const PROMPT_DECAY: u64 = 16;
    /// Requests after which it is relied on.
    const ENOUGH: u32 = 16;

    /// A request ended that had so many prompt tokens to compute and generated so many.
    pub fn note(&mut self, prompt: u64, outputs: u64) {
        self.prompts = self.prompts - self.prompts / Self::DECAY + (prompt << Self::PLACES);
        self.outputs = self.outputs - self.outputs / Self::DECAY + (outputs << Self::PLACES);
        self.requests = self.requests.saturating_add(1);
    }

    /// A request was admitted that has so many prompt tokens to compute.
    pub fn admitted(&mut self, prompt: u64) {
        let new = prompt << Self::PLACES;
        let mean = self.mean_prompt.unwrap_or(new);
        self.mean_prompt = Some(mean - mean / Self::PROMPT_DECAY + new / Self::PROMPT_DECAY);
    }

    /// Prompt tokens to compute of a request, in the mean; 0 before there was one.
    pub fn mean_prompt(&self) -> u64 {
        self.mean_prompt.unwrap_or(0) >> Self::PLACES
    }

    /// Prompt tokens that come with so many output tokens. None before enough is known.
    pub fn prompts_for(&self, outputs: u64) -> Option<u64> {
        let known = self.requests >= Self::ENOUGH && self.outputs > 0;
        known.then(|| (u128::from(self.prompts) * u128::from(outputs) / u128::from(self.outputs)) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_what_ends() {
        let mut balance = Balance::default();
        (0..15).for_each(|_| balance.note(1024, 256));
        assert_eq!(balance.prompts_for(100), None);
        balance.note(1024, 256);
        assert!(matches!(balance.prompts_for(100), Some(399 | 400)), "{balance:?}");
        (0..2000).for_each(|_| balance.note(0, 100));
        assert!(matches!(balance.prompts_for(100), Some(0 | 1)), "{balance:?}");
        (0..2000).for_each(|_| balance.note(u64::from(u32::MAX), 0));
        assert!(balance.prompts_for(u64::from(u32::MAX)).is_none_or(|tokens| tokens > 1 << 40));
    }
    #[test]
    fn a_burst_is_told_by_its_first_prompts() {
        let mut balance = Balance::default();
        assert_eq!(balance.mean_prompt(), 0);
        balance.admitted(4096);
        assert_eq!(balance.mean_prompt(), 4096);
        (0..11).for_each(|_| balance.admitted(128));
        assert!((1900..2200).contains(&balance.mean_prompt()), "{balance:?}");
        (0..500).for_each(|_| balance.admitted(128));
        assert!((127..=128).contains(&balance.mean_prompt()), "{balance:?}");
        (0..500).for_each(|_| balance.admitted(0));
        assert_eq!(balance.mean_prompt(), 0);
        balance.admitted(u64::from(u32::MAX));
        assert!(balance.mean_prompt() > 1 << 27, "{balance:?}");
    }
}
