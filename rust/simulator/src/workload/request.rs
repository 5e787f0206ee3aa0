use std::ops::RangeInclusive;

use super::{Prompt, TraceImage};

/// Most tokens of a prompt or an output that a trace is believed.
pub(crate) const MOST_TOKENS: u64 = 1 << 24;
/// Priorities that a trace may give.
pub(crate) const PRIORITIES: RangeInclusive<i64> = -1000..=1000;
/// Deadlines that it may give, in milliseconds: up to a day.
pub(crate) const DEADLINES_MS: RangeInclusive<i64> = 0..=86_400_000;
/// What its clients may ask for.
pub(crate) const MAX_TOKENS: RangeInclusive<i64> = 1..=MOST_TOKENS.cast_signed();

/// One request of a trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceRequest {
    /// Nanoseconds since the first request of the trace. None where the source has no times.
    pub at_ns: Option<u64>,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens that it generates, however many it may.
    pub output_tokens: u32,
    /// The same of further outputs of the prompt.
    pub siblings: Vec<u32>,
    /// What the prompt's tokens are.
    pub prompt: Prompt,
    /// Requests share cached prefixes only with those of the same salt.
    pub salt: u128,
    /// Number and length of a prefix that goes before the prompt.
    pub prefix: Option<(u32, u32)>,
    /// Tokens that it may generate. None: exactly those that it does.
    pub max_tokens: Option<u32>,
    /// Lower goes first.
    pub priority: i32,
    /// Who asks.
    pub tenant: u64,
    /// Kind of request.
    pub class: u64,
    /// Nanoseconds from arrival in which the first token should be there.
    pub deadline_ns: Option<u64>,
    /// An image in the prompt.
    pub image: Option<TraceImage>,
}
