use super::request::TraceRequest;
use super::{SharedPrefix, TraceImage, Workload};
use crate::error::{Error, Result};
use crate::random::Random;

/// What a workload adds to the requests of its source.
#[derive(Debug)]
pub(crate) struct Decorator {
    max_tokens: Option<u32>,
    shared_prefix: Option<SharedPrefix>,
    tenants: u32,
    priorities: Vec<i32>,
    deadline_ns: Option<u64>,
    image: Option<TraceImage>,
    n: u32,
    random: Random,
}

impl Decorator {
    pub fn new(workload: &Workload, seed: u64) -> Result<Self> {
        if workload.max_tokens == Some(0) {
            return Err(Error::setting("workload.max_tokens", "is 0: it must be at least 1"));
        }
        if workload.shared_prefix.is_some_and(|prefix| prefix.groups == 0 || prefix.tokens > 1 << 24) {
            let reason = "needs one group at least, and 16777216 tokens at most";
            return Err(Error::setting("workload.shared_prefix", reason));
        }
        if let Some(priority) = workload.priorities.iter().find(|priority| !(-1000..=1000).contains(*priority)) {
            return Err(Error::setting("workload.priorities", format!("{priority} is not from -1000 to 1000")));
        }
        if workload.deadline_ms.is_some_and(|ms| !(0.0..=86_400_000.0).contains(&ms)) {
            return Err(Error::setting("workload.deadline_ms", "must be from 0 to 86400000"));
        }
        if let Some(image) = workload.image
            && (!(1..=1 << 24).contains(&image.tokens) || !(0.0..=86_400_000.0).contains(&image.delay_ms))
        {
            let reason = "needs from 1 to 16777216 tokens, and a delay_ms from 0 to 86400000";
            return Err(Error::setting("workload.image", reason));
        }
        if !(1..=128).contains(&workload.n) {
            return Err(Error::setting("workload.n", format!("is {}: it must be from 1 to 128", workload.n)));
        }
        Ok(Self {
            max_tokens: workload.max_tokens,
            shared_prefix: workload.shared_prefix,
            tenants: workload.tenants,
            priorities: workload.priorities.clone(),
            deadline_ns: workload.deadline_ms.map(|ms| libm::round(ms * 1e6) as u64),
            image: workload.image,
            n: workload.n,
            random: Random::new(seed, 2),
        })
    }

    pub fn decorate(&mut self, request: &mut TraceRequest) {
        request.max_tokens = self.max_tokens.or(request.max_tokens);
        if let Some(prefix) = self.shared_prefix {
            let group = self.random.below(prefix.groups.into()) as u32;
            request.prefix = Some((group, prefix.tokens));
        }
        if self.tenants > 0 {
            request.tenant = 1 + self.random.below(self.tenants.into());
        }
        if !self.priorities.is_empty() {
            request.priority = self.priorities[self.random.below(self.priorities.len() as u64) as usize];
        }
        request.deadline_ns = self.deadline_ns.or(request.deadline_ns);
        request.image = self.image;
        if self.n > 1 {
            request.siblings = vec![request.output_tokens; self.n as usize - 1];
        }
    }
}
