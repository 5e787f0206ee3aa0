//! How many prompt tokens come for each output token and with each request, by the requests that ended of late.

/// Sums over requests that ended, older ones counting less, in whole numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Balance {
    prompts: u64,
    outputs: u64,
    weight: u64,
    requests: u32,
}

impl Balance {
    /// What counts is kept with this many binary places, so that the decay is not rounded away.
    const PLACES: u32 = 12;
    /// Half of the weight is gone after about 90 requests.
    const DECAY: u64 = 128;
    /// Requests after which it is relied on.
    const ENOUGH: u32 = 16;

    /// A request ended that had so many prompt tokens to compute and generated so many.
    pub fn note(&mut self, prompt: u64, outputs: u64) {
        self.prompts = self.prompts - self.prompts / Self::DECAY + (prompt << Self::PLACES);
        self.outputs = self.outputs - self.outputs / Self::DECAY + (outputs << Self::PLACES);
        self.weight = self.weight - self.weight / Self::DECAY + (1 << Self::PLACES);
        self.requests = self.requests.saturating_add(1);
    }

    /// Prompt tokens to compute of a request, in the mean. None before enough is known.
    pub fn mean_prompt(&self) -> Option<u64> {
        (self.requests >= Self::ENOUGH).then(|| self.prompts / self.weight)
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
        assert_eq!(balance.mean_prompt(), None);
        balance.note(1024, 256);
        assert!(matches!(balance.mean_prompt(), Some(1023 | 1024)), "{balance:?}");
        assert!(matches!(balance.prompts_for(100), Some(399 | 400)), "{balance:?}");
        (0..2000).for_each(|_| balance.note(0, 100));
        assert_eq!(balance.mean_prompt(), Some(0));
        assert!(matches!(balance.prompts_for(100), Some(0 | 1)), "{balance:?}");
        (0..2000).for_each(|_| balance.note(u64::from(u32::MAX), 0));
        assert!(balance.prompts_for(u64::from(u32::MAX)).is_none_or(|tokens| tokens > 1 << 40));
    }
}
