//! Settings of the scheduler.

use crate::admission::PolicyConfig;
use crate::error::{Error, Result};
use crate::order::OrderConfig;
use crate::radix::EvictionPolicy;

/// What a step is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleMode {
    /// Prompts are cut into chunks, and all that decode ride along in each step.
    #[default]
    Chunked,
    /// A step prefills if anything can be prefilled, and decodes otherwise.
    PrefillFirst,
    /// A step decodes if anything can be decoded; after [`SchedulerConfig::max_wait_tokens`] such steps in a row, or
    /// when nothing decodes, one step prefills.
    DecodeFirst,
}

/// Sizes, bounds and policies. Lengths are in tokens, unless they say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SchedulerConfig {
    /// Pages of the KV cache: the minimum over the ranks.
    pub pages: u32,
    /// Positions of a page, 256 at most.
    pub page_size: u32,
    /// Requests that can run at once.
    pub slots: u32,
    /// Longest prompt and output together.
    pub context: u32,
    /// Tokens of one step at most, decode rows counting one each. At least `slots`, so that decoding never starves
    /// a prefill.
    pub step_tokens: u32,
    /// Nanoseconds of a step with prompts at most while others decode, as far as can be told; 0: as long as it takes.
    /// A step takes a few prompt tokens nevertheless.
    pub step_ns: u64,
    /// Nanoseconds before the end of a step at which the plan behind it should leave, to know of all that came until
    /// then; 0: as soon as it may. See [`Scheduler::plan_at`](crate::Scheduler::plan_at).
    pub plan_lead_ns: u64,
    /// Tokens of prompts in one step at most while others decode, or if that is more, as many as come for each token that
    /// they generate: then no step decodes without a prompt, and none has more than its share. 0: no such bound.
    pub balance_tokens: u32,
    /// Prefill tokens of one request in one step at most.
    pub prefill_chunk: u32,
    /// Requests that may wait beside those for which a slot is free. Preempted ones are not refused, and count.
    pub queue_requests: usize,
    /// Prompt tokens that may wait, at least `context`, so that an empty queue takes any request.
    pub queue_tokens: u64,
    /// Decode rows with pages in common that are worth naming as a group; 0: never.
    pub shared_rows: u32,
    /// Tokens in common that are worth it, rounded up to pages.
    pub shared_tokens: u32,
    /// Keep computed pages for prompts that begin alike.
    pub prefix_cache: bool,
    /// What a step is made of.
    pub mode: ScheduleMode,
    /// Steps that only decode, in a row, before waiting prompts get one. For [`ScheduleMode::DecodeFirst`].
    pub max_wait_tokens: u32,
    /// Who may run beside those that run.
    pub policy: PolicyConfig,
    /// Who is asked first.
    pub order: OrderConfig,
    /// What the prefix cache gives up first.
    pub eviction: EvictionPolicy,
    /// Of everything that draws: the same seed and the same calls give the same plans.
    pub seed: u64,
    /// Check everything against everything after each call, and panic if anything is wrong. Slow.
    pub debug_checks: bool,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            pages: 4096,
            page_size: 16,
            slots: 256,
            context: 8192,
            step_tokens: 2048,
            step_ns: 0,
            balance_tokens: 0,
            plan_lead_ns: 0,
            prefill_chunk: 2048,
            queue_requests: 4096,
            queue_tokens: 8 << 20,
            shared_rows: 4,
            shared_tokens: 256,
            prefix_cache: true,
            mode: ScheduleMode::Chunked,
            max_wait_tokens: 8,
            policy: PolicyConfig::default(),
            order: OrderConfig::default(),
            eviction: EvictionPolicy::default(),
            seed: 0,
            debug_checks: false,
        }
    }
}

impl SchedulerConfig {
    /// Larger pages waste more of themselves than they save.
    const MAX_PAGE_SIZE: u32 = 256;

    /// Checks every range and combination.
    pub fn validate(&self) -> Result<()> {
        let invalid = |setting, reason| Err(Error::InvalidConfig { setting, reason });
        let positive: [(&'static str, u64); 7] = [
            ("pages", self.pages.into()),
            ("page_size", self.page_size.into()),
            ("slots", self.slots.into()),
            ("context", self.context.into()),
            ("step_tokens", self.step_tokens.into()),
            ("prefill_chunk", self.prefill_chunk.into()),
            ("queue_requests", self.queue_requests as u64),
        ];
        if let Some((setting, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return invalid(setting, "is 0: it must be at least 1".to_owned());
        }
        if self.page_size > Self::MAX_PAGE_SIZE {
            return invalid("page_size", format!("is {}: it must be at most {}", self.page_size, Self::MAX_PAGE_SIZE));
        }
        if self.step_tokens < self.slots {
            let reason = format!(
                "{} tokens a step are fewer than the {} slots: raise step_tokens or lower slots",
                self.step_tokens, self.slots
            );
            return invalid("step_tokens", reason);
        }
        if self.queue_tokens < u64::from(self.context) {
            let reason = format!(
                "{} tokens are less than the context of {}: a long prompt could never be queued",
                self.queue_tokens, self.context
            );
            return invalid("queue_tokens", reason);
        }
        if u64::from(self.pages) * u64::from(self.page_size) > u64::from(u32::MAX) {
            let reason = format!(
                "{} pages of {} positions are more than the {} that a KV index can name",
                self.pages,
                self.page_size,
                u32::MAX
            );
            return invalid("pages", reason);
        }
        self.policy.validate()
    }

    /// Pages that hold `tokens` positions.
    pub(crate) fn pages_for(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.page_size as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        assert_eq!(SchedulerConfig::default().validate(), Ok(()));
        let widest = SchedulerConfig { page_size: 256, ..SchedulerConfig::default() };
        assert_eq!(widest.validate(), Ok(()));
    }

    #[test]
    fn each_bad_setting_is_named() {
        let good = SchedulerConfig::default();
        let cases = [
            ("pages", SchedulerConfig { pages: 0, ..good }),
            ("page_size", SchedulerConfig { page_size: 0, ..good }),
            ("page_size", SchedulerConfig { page_size: 257, ..good }),
            ("slots", SchedulerConfig { slots: 0, ..good }),
            ("context", SchedulerConfig { context: 0, ..good }),
            ("step_tokens", SchedulerConfig { step_tokens: 0, ..good }),
            ("step_tokens", SchedulerConfig { step_tokens: 255, ..good }),
            ("prefill_chunk", SchedulerConfig { prefill_chunk: 0, ..good }),
            ("queue_requests", SchedulerConfig { queue_requests: 0, ..good }),
            ("queue_tokens", SchedulerConfig { queue_tokens: 8191, ..good }),
            ("pages", SchedulerConfig { pages: 1 << 28, ..good }),
        ];
        for (expected, config) in cases {
            match config.validate() {
                Err(Error::InvalidConfig { setting, .. }) => assert_eq!(setting, expected),
                other => panic!("{expected}: {other:?}"),
            }
        }
    }
}
