//! Figures of the scheduler, for metrics.

/// What is so now, and what has happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests that run.
    pub running: usize,
    /// Those of them that have no row yet: members of a group (n > 1) that wait for their prompt.
    pub forking: usize,
    /// Requests that wait, preempted ones included.
    pub queued: usize,
    /// Those of them that ran before: preempted ones.
    pub paused: usize,
    /// Those of them of which nothing can be computed until an image is ready.
    pub awaiting_images: usize,
    /// Prompt tokens of those that wait.
    pub queued_tokens: u64,
    /// Pages of the pool.
    pub total_pages: usize,
    /// Pages without content.
    pub free_pages: usize,
    /// Pages in the prefix cache.
    pub cached_pages: usize,
    /// Those of them that no running request uses.
    pub evictable_pages: usize,
    /// Pages of running requests outside the prefix cache.
    pub private_pages: usize,
    /// What has happened since the start.
    pub totals: Totals,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Plans made.
    pub steps: u64,
    /// Prompt tokens of requests, counted at their first admission.
    pub prompt_tokens: u64,
    /// Tokens of outputs.
    pub generated_tokens: u64,
    /// Prompt tokens looked up in the prefix cache, counted at the first admission.
    pub prefix_queries: u64,
    /// Those of them that were found.
    pub prefix_hits: u64,
    /// Tokens in prefill rows: prompts less hits, and what preempted requests compute again.
    pub prefill_tokens: u64,
    /// Times a running request gave up its pages to another.
    pub preemptions: u64,
    /// Requests refused by [`add`](crate::Scheduler::add) since the queue was full.
    pub refused_queue_full: u64,
    /// Requests given up while they waited, or refused when they came, since their deadline could not be met any more.
    pub refused_late: u64,
    /// Admissions past a request that comes first in order but did not fit.
    pub bypasses: u64,
    /// Requests that waited for another's prefill, to share its pages.
    pub deferred: u64,
    /// Times a part of a prompt was computed ahead of an image that was not ready.
    pub ahead: u64,
    /// Requests that began with the prompt that another of their group (n > 1) computed.
    pub forks: u64,
    /// Pages copied for them.
    pub copies: u64,
    /// Tokens of all rows.
    pub planned_tokens: u64,
    /// Tokens that the steps could have taken: `step_tokens` each.
    pub budget_tokens: u64,
    /// Requests that ended with an end id.
    pub finished_stop: u64,
    /// Requests that ended at `max_tokens`.
    pub finished_length: u64,
    /// Requests that ended with a failed row or step.
    pub finished_failed: u64,
    /// Requests that were aborted.
    pub aborted: u64,
}
