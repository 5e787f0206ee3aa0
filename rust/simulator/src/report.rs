//! What a simulation found.

use serde::{Deserialize, Serialize};

/// Figures of one simulation. Lists of the same part have the same length.
///
/// Times are as the router sees them: a request arrives when it is added, and a token when the result of its step
/// has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Name of the setup.
    pub name: String,
    /// Admission policy.
    pub policy: String,
    /// Seed of the setup.
    pub seed: u64,
    /// Requests that arrived.
    pub arrived: u64,
    /// Requests that were served to their end.
    pub finished: u64,
    /// Requests that were not served.
    pub refused: Refused,
    /// From the first arrival to the last event.
    pub simulated_seconds: f64,
    /// Steps of the backend.
    pub steps: u64,
    /// Milliseconds from arrival to the first token.
    pub ttft_ms: Summary,
    /// Milliseconds between two tokens of a request: one sample a token but the first.
    pub itl_ms: Summary,
    /// Milliseconds between the tokens of a request: the mean of each request is one sample.
    pub tpot_ms: Summary,
    /// Milliseconds from arrival to the last token.
    pub e2e_ms: Summary,
    /// Milliseconds from arrival to the first admission.
    pub queue_ms: Summary,
    /// How much of what could be used was used.
    pub utilization: Utilization,
    /// Times a running request had to give up its pages.
    pub evictions: u64,
    /// Those over finished requests, from 0 to 100 and more.
    pub evicted_percent: f64,
    /// Part of the prompt tokens that was found in the prefix cache, at the first admission.
    pub prefix_hit_rate: f64,
    /// Requests that kept the objectives.
    pub goodput: Goodput,
    /// Work done a second.
    pub throughput: Throughput,
    /// What went on, over time.
    pub timeline: Timeline,
    /// Distributions.
    pub cdf: Cdf,
}

/// Requests that were not served, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// All of them.
    pub total: u64,
    /// The queue was at its bound.
    pub queue_full: u64,
    /// The deadline could not be made.
    pub deadline: u64,
    /// Prompt and output are longer than the context.
    pub context: u64,
    /// They are larger than the KV cache.
    pub pool: u64,
    /// Anything else that the scheduler refuses.
    pub other: u64,
}

/// A distribution. All but `count` in the unit of its field; 0 where there are no samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Samples.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// The nearest rank of one half.
    pub p50: f64,
    /// Of nine tenths.
    pub p90: f64,
    /// Of 99 in a hundred.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

/// Parts are from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Utilization {
    /// Part of the KV cache that running requests hold, as the mean over time.
    pub kv_mean: f64,
    /// The most that they held.
    pub kv_max: f64,
    /// Part of the token budget that steps with rows used, as the mean over steps.
    pub step_tokens: f64,
    /// Part of the time in which a step ran.
    pub backend: f64,
    /// Requests that ran, as the mean over time.
    pub running_mean: f64,
    /// Requests that waited, as the mean over time.
    pub queued_mean: f64,
}

/// Requests that kept all objectives that were given. Those that were refused kept none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Goodput {
    /// Such requests.
    pub requests: u64,
    /// A second.
    pub requests_per_s: f64,
    /// Part of all that arrived.
    pub part: f64,
}

/// Over the simulated time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// Finished requests a second.
    pub requests_per_s: f64,
    /// Prompt tokens of admitted requests a second, cached ones included.
    pub prompt_tokens_per_s: f64,
    /// Generated tokens a second.
    pub output_tokens_per_s: f64,
}

/// Means over up to 1,000 equal pieces of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// When each piece begins.
    pub seconds: Vec<f64>,
    /// Requests that ran.
    pub running: Vec<f64>,
    /// Requests that waited.
    pub queued: Vec<f64>,
    /// Part of the KV cache that running requests held.
    pub kv: Vec<f64>,
    /// Part of the KV cache that was in the prefix cache, held or not.
    pub kv_cached: Vec<f64>,
}

/// Quantiles of 201 parts. Empty where there are no samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cdf {
    /// From 0 to 1.
    pub part: Vec<f64>,
    /// See [`Report::ttft_ms`].
    pub ttft_ms: Vec<f64>,
    /// See [`Report::itl_ms`].
    pub itl_ms: Vec<f64>,
    /// See [`Report::tpot_ms`].
    pub tpot_ms: Vec<f64>,
    /// See [`Report::e2e_ms`].
    pub e2e_ms: Vec<f64>,
    /// See [`Report::queue_ms`].
    pub queue_ms: Vec<f64>,
}
