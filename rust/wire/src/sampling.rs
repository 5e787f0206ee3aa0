use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::Words;

/// How the next token of a request is drawn; the fields are described in `lightllm_rs.messages.sampling`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Sampling {
    pub temperature: f64,
    pub top_p: f64,
    pub top_k: i64,
    pub min_p: f64,
    pub seed: u64,
    pub presence: f64,
    pub frequency: f64,
    pub repetition: f64,
    pub min_tokens: u32,
    pub logprobs: i32,
    pub prompt_logprobs: i32,
    pub end_ids: Words,
    pub bias_ids: Words,
    /// f32 words.
    pub bias_values: ByteBuf,
}

impl Sampling {
    /// Whether the backend needs all known token ids when the request is attached to a slot.
    #[allow(clippy::float_cmp)] // neutral values are exact
    pub fn wants_history(&self) -> bool {
        self.presence != 0.0 || self.frequency != 0.0 || self.repetition != 1.0 || self.prompt_logprobs >= 0
    }
}

/// Log-probabilities at one position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprobs {
    /// Of the token that stands there.
    pub chosen: f64,
    /// The most probable alternatives, best first.
    pub ids: Words,
    /// f32 words, one for each of `ids`.
    pub values: ByteBuf,
}
