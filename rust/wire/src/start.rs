use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Settings of the router process, written by `lightllm_rs.messages.router_start`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouterStart {
    /// Must equal [`crate::PROTOCOL`].
    pub protocol: u32,
    /// Name of the process in heartbeats and reports.
    pub process: String,
    /// Endpoint to bind for HTTP processes.
    pub requests: String,
    /// Endpoint to bind for backend ranks.
    pub plans: String,
    /// The supervisor's endpoint.
    pub control: String,
    /// The health server's endpoint.
    pub health: String,
    /// The metric server's endpoint.
    pub metrics: String,
    /// Backend ranks to wait for.
    pub ranks: u32,
    /// Bytes of output that may be under way to one HTTP process.
    pub client_bound_bytes: u64,
    /// How requests are scheduled.
    pub scheduling: Scheduling,
    /// Where to write down what is scheduled, if anywhere.
    pub journal: Option<JournalStart>,
}

/// What the scheduler is told beside what the backend can hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scheduling {
    /// Token budget of a step.
    pub step_tokens: u32,
    /// Most prefill tokens of one request in one step.
    pub prefill_chunk: u32,
    /// Microseconds of a step with prompts at most while others decode; 0 for no bound.
    pub max_step_us: u64,
    /// Microseconds before the end of a step at which the plan behind it leaves; 0: as soon as it may.
    pub plan_lead_us: u64,
    /// Prompt tokens of a step while others decode, or if that is more, those that keep prompts and outputs in balance;
    /// 0: no such bound.
    pub balance_tokens: u32,
    /// Most requests that wait.
    pub queue_requests: u64,
    /// Most prompt tokens that wait.
    pub queue_tokens: u64,
    /// Whether prompts reuse pages of earlier ones.
    pub prefix_cache: bool,
    /// "chunked", "`prefill_first`" or "`decode_first`".
    pub mode: String,
    /// Steps that only decode before waiting prompts get one, with "`decode_first`".
    pub max_wait_tokens: u32,
    /// Name of the admission policy.
    pub policy: String,
    /// Its parameters, by name; those that are not here have their defaults.
    pub policy_parameters: Vec<(String, f64)>,
    /// Microseconds of waiting that count as one priority better.
    pub priority_age_us: u64,
    /// Tokens that each tenant gets in one round.
    pub tenant_quantum: u32,
    /// Microseconds to the first token of requests without a deadline of their own; 0 for none.
    pub ttft_target_us: u64,
    /// Refuse what can no longer make its deadline.
    pub refuse_late: bool,
    /// Requests that may overtake one that does not fit.
    pub bypass_limit: u32,
    /// Tokens of an uncached prefix that requests share for the later ones to wait for the first's pages; 0: never.
    pub group_tokens: u32,
    /// "lru", "lfu" or "`cost_aware`".
    pub eviction: String,
    /// Of all that the scheduler draws.
    pub seed: u64,
    /// Check the scheduler's invariants after each call.
    pub debug_checks: bool,
}

/// A journal to write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalStart {
    /// The file, which is made or emptied.
    pub path: String,
    /// Write token ids, and not only hashes of pages.
    pub tokens: bool,
    /// Key of the hashes, 16 random bytes.
    pub key: ByteBuf,
}
