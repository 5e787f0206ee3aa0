//! Who asks for what, and when.
//!
//! A [`Workload`] is a [`Source`] of requests (a trace, a file of lengths, or lengths drawn at random) and the
//! [`Arrivals`] of these requests: those of the trace, or a random process, or clients that wait for their answers.
//! Files are read as they are needed, line by line; what is wrong in one names file and line.

mod arrivals;
mod azure;
mod burstgpt;
mod columns;
mod datetime;
mod decorate;
mod journal;
mod lengths;
mod lines;
mod mooncake;
mod prompt;
mod request;
mod sharegpt;
mod source;
mod synthetic;
mod traffic;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use arrivals::Arrivals;
pub use lengths::Lengths;
pub use prompt::Prompt;
pub(crate) use prompt::{END, image_token, output_token};
pub use request::TraceRequest;
pub(crate) use traffic::{Traffic, open};

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Where the requests are from.
    pub source: Source,
    /// When they arrive. Left out: as the trace says.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// Requests a second. Needed by random arrivals; a trace with times of its own is stretched or squeezed to it (and
    /// read once more for that).
    #[serde(default)]
    pub rate: Option<f64>,
    /// The rate is multiplied by this.
    #[serde(default)]
    pub rate_scale: Option<f64>,
    /// What clients say that they want at most, the context allowing it; a request then ends when the length of the
    /// trace is reached, which the scheduler does not know. Left out: clients ask for exactly what they get.
    #[serde(default)]
    pub max_tokens: Option<u32>,
    /// Every prompt begins like others.
    #[serde(default)]
    pub shared_prefix: Option<SharedPrefix>,
    /// Every prompt has an image.
    #[serde(default)]
    pub image: Option<TraceImage>,
    /// Tenants to whom requests are given at random. 0: as the trace says, or none.
    #[serde(default)]
    pub tenants: u32,
    /// Priorities of which each request gets one at random. Empty: as the trace says, or 0.
    #[serde(default)]
    pub priorities: Vec<i32>,
    /// Milliseconds from arrival in which the first token should be there.
    #[serde(default)]
    pub deadline_ms: Option<f64>,
    /// Outputs of each prompt.
    #[serde(default = "one")]
    pub n: u32,
}

/// Tokens that are put before every prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedPrefix {
    /// Length of a prefix.
    pub tokens: u32,
    /// Different prefixes, of which each request gets one at random.
    #[serde(default = "one")]
    pub groups: u32,
}

/// An image that is put into every prompt; no two are the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceImage {
    /// Tokens of the prompt before it; a shorter prompt ends with it.
    pub after: u32,
    /// Its own tokens, by which the prompt is longer.
    pub tokens: u32,
    /// Milliseconds from arrival after which it is ready.
    pub delay_ms: f64,
}

/// Where requests are from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// The Azure LLM inference traces: CSV with `TIMESTAMP`, `ContextTokens`, `GeneratedTokens`.
    Azure {
        /// The file.
        path: PathBuf,
    },
    /// Mooncake's traces: JSON lines with `timestamp` (milliseconds), `input_length`, `output_length`, `hash_ids`.
    Mooncake {
        /// The file.
        path: PathBuf,
        /// Tokens of the block that a hash id stands for.
        #[serde(default = "mooncake_block")]
        block_tokens: u32,
    },
    /// `BurstGPT`: CSV with `Timestamp` (seconds), `Model`, `Request tokens`, `Response tokens`, `Total tokens`,
    /// `Log Type`. Requests that failed there (no response token) are left out.
    Burstgpt {
        /// The file.
        path: PathBuf,
    },
    /// JSON or JSON lines of lengths: pairs `[prompt, output]`, objects with `prompt_tokens` and `output_tokens`, or
    /// conversations as in `ShareGPT` with a number of tokens for each turn. They have no times.
    Sharegpt {
        /// The file.
        path: PathBuf,
    },
    /// A router's own journal (`serve --journal`): arrivals, lengths, and which pages of prompts were equal. Requests
    /// that got no token are left out, and prompts do not share the pages of earlier outputs.
    Journal {
        /// The file.
        path: PathBuf,
    },
    /// Lengths drawn at random, without end.
    Synthetic {
        /// Tokens of prompts.
        prompt: Lengths,
        /// Tokens of outputs.
        output: Lengths,
    },
}

fn one() -> u32 {
    1
}

fn mooncake_block() -> u32 {
    512
}
