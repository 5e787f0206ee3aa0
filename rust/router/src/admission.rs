//! Admission: whether the head of the queue may run now.

use std::fmt;

/// The request that asks to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Pages that it needs for its prompt (and, after a preemption, its outputs so far), less those that are cached.
    pub new_pages: usize,
    /// Tokens that it may still generate.
    pub remaining_tokens: u32,
}

/// What the server has, as the candidate would find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Pages that are free or can be evicted.
    pub available_pages: usize,
    /// Pages of the whole pool.
    pub total_pages: usize,
    /// Requests that run, one at least.
    pub running: usize,
}

/// Decides who may run beside others. Slots, step budget and `new_pages <= available_pages` are the scheduler's
/// business; a policy says how much room running requests need for their output. It isn't asked while nothing runs:
/// then the head of the queue is admitted.
pub trait AdmissionPolicy: fmt::Debug + Send {
    /// Whether the candidate may run now.
    fn admits(&mut self, candidate: &Candidate, load: &Load) -> bool;
}

/// Leaves one page for each running request, or a fixed number if that is more. It knows nothing of how long outputs
/// get: when many are long, requests are preempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headroom {
    /// Pages to leave at least.
    pub watermark_pages: usize,
}

impl AdmissionPolicy for Headroom {
    fn admits(&mut self, candidate: &Candidate, load: &Load) -> bool {
        let headroom = load.running.max(self.watermark_pages);
        candidate.new_pages + headroom <= load.available_pages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_left_for_those_that_run() {
        let mut policy = Headroom { watermark_pages: 3 };
        let mut admits = |new_pages, running| {
            let candidate = Candidate { new_pages, remaining_tokens: 1 };
            policy.admits(&candidate, &Load { available_pages: 10, total_pages: 20, running })
        };
        assert!(admits(7, 1) && !admits(8, 1), "the watermark");
        assert!(admits(5, 5) && !admits(6, 5), "one page each");
    }
}
