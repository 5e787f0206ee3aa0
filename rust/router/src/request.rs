//! What callers hand in and get back.

use crate::ids::RequestId;
use crate::images::ImageSpan;
use crate::plan::Tokens;

/// A request for tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Name of the request, unique among those that have not ended.
    pub id: RequestId,
    /// Token ids of the prompt, one at least.
    pub prompt: Vec<u32>,
    /// Tokens to generate at most. 0 only together with `prompt_logprobs`.
    pub max_tokens: u32,
    /// Token ids that end the output. Empty where the end of the text is to be ignored.
    pub end_ids: Vec<u32>,
    /// An end id does not end the output before this many tokens.
    pub min_tokens: u32,
    /// Requests share cached prefixes only with requests of the same salt.
    pub cache_salt: u128,
    /// The backend needs all token ids known so far when the request gets a slot (for penalties).
    pub wants_history: bool,
    /// Compute every prompt position, because its log-probabilities are wanted: cached prefixes are not used.
    pub prompt_logprobs: bool,
    /// Lower goes first; one of [`PRIORITIES`](Self::PRIORITIES).
    pub priority: i32,
    /// When the first token should be there, in nanoseconds of the scheduler's clock.
    pub deadline: Option<u64>,
    /// Who asks; tenants share the server fairly. 0 is the tenant of those without a name.
    pub tenant: u64,
    /// Label of the kind of request, given by the client, for the statistics of lengths. 0 is no label.
    pub class: u64,
    /// Further requests with the same prompt and settings, each with an output of its own (n > 1). All are admitted
    /// together, and share the prompt's pages.
    pub siblings: Vec<RequestId>,
    /// Where images stand in the prompt, in order. Their token ids tell them apart as those of text do.
    pub images: Vec<ImageSpan>,
    /// Tokens that it will generate, where that is known: for the oracle, in simulations.
    pub expected_tokens: Option<u32>,
}

impl Request {
    /// Priorities that a request may have.
    pub const PRIORITIES: std::ops::RangeInclusive<i32> = -1000..=1000;

    /// A request with neutral settings.
    pub fn new(id: RequestId, prompt: Vec<u32>, max_tokens: u32) -> Self {
        Self {
            id,
            prompt,
            max_tokens,
            end_ids: Vec::new(),
            min_tokens: 0,
            cache_salt: 0,
            wants_history: false,
            prompt_logprobs: false,
            priority: 0,
            deadline: None,
            tenant: 0,
            class: 0,
            siblings: Vec::new(),
            images: Vec::new(),
            expected_tokens: None,
        }
    }
}

/// Why a request ended. Aborts give no output: the caller knows of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// An end id was generated; it is the last of the tokens.
    Stop,
    /// `max_tokens` were generated.
    Length,
    /// The backend could not compute a row of this request. The text is the backend's own.
    Failed(String),
}

/// How a request came to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Prompt tokens that were in the prefix cache when it was first admitted.
    pub cached_tokens: u32,
    /// Nanoseconds from `add` to the first admission, without those of `image_wait_ns` until then.
    pub queue_ns: u64,
    /// Nanoseconds in which nothing of it could be computed until an image was ready.
    pub image_wait_ns: u64,
}

/// News of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The request.
    pub request: RequestId,
    /// New tokens, an end id included. Empty only with a `finish`.
    pub tokens: Tokens,
    /// Set in the last output of a request.
    pub finish: Option<Finish>,
    /// Set in the first output of a request.
    pub admission: Option<Admission>,
}
