use serde::{Deserialize, Serialize};

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
    /// Token budget of a step.
    pub step_tokens: u32,
    /// Most prefill tokens of one request in one step.
    pub prefill_chunk: u32,
    /// Most requests that wait.
    pub queue_requests: u64,
    /// Most prompt tokens that wait.
    pub queue_tokens: u64,
    /// Whether prompts reuse pages of earlier ones.
    pub prefix_cache: bool,
    /// Bytes of output that may be under way to one HTTP process.
    pub client_bound_bytes: u64,
}
