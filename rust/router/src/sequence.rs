//! One request from `add` to its end, whether it waits or runs.

use crate::ids::RequestId;
use crate::radix::Match;
use crate::request::{Admission, Finish, Request};

/// A request and what has come of it.
#[allow(dead_code, reason = "the order is about to read all of it")]
#[derive(Debug)]
pub(crate) struct Sequence {
    /// When it was added, as a count: its place in the queue, and what tells it from a later request of the same id.
    pub arrival: u64,
    pub id: RequestId,
    /// Prompt and outputs.
    pub tokens: Vec<u32>,
    pub prompt_len: usize,
    pub max_tokens: u32,
    end_ids: Vec<u32>,
    min_tokens: u32,
    pub salt: u128,
    pub wants_history: bool,
    pub prompt_logprobs: bool,
    pub priority: i32,
    pub deadline: Option<u64>,
    pub tenant: u64,
    /// When it was added, in nanoseconds.
    pub added_ns: u64,
    /// Set by the first admission, taken by the first output.
    pub admission: Option<Admission>,
    /// It ran before: this is not its first admission.
    pub was_admitted: bool,
    /// Positions whose results have come, whatever became of their pages.
    computed: usize,
    /// Rows without a result.
    pub unanswered: u32,
    /// The cached prefix, as of the last look.
    pub found: Option<Match>,
}

impl Sequence {
    pub fn new(request: Request, arrival: u64, added_ns: u64) -> Self {
        Self {
            arrival,
            id: request.id,
            prompt_len: request.prompt.len(),
            tokens: request.prompt,
            max_tokens: request.max_tokens,
            end_ids: request.end_ids,
            min_tokens: request.min_tokens,
            salt: request.cache_salt,
            wants_history: request.wants_history,
            prompt_logprobs: request.prompt_logprobs,
            priority: request.priority,
            deadline: request.deadline,
            tenant: request.tenant,
            added_ns,
            admission: None,
            was_admitted: false,
            computed: 0,
            unanswered: 0,
            found: None,
        }
    }

    /// Tokens generated so far.
    pub fn outputs(&self) -> u32 {
        (self.tokens.len() - self.prompt_len) as u32
    }

    /// Tokens that a cached prefix may cover. One is left to compute, since a row needs one; and where the prompt's
    /// log-probabilities are wanted, each position is computed once.
    pub fn most_cached(&self) -> usize {
        let limit = self.tokens.len() - 1;
        if self.prompt_logprobs { limit.min(self.computed) } else { limit }
    }

    /// A good result of a row that ends before position `end`, with the token it emitted. Says if that was the last.
    pub fn advance(&mut self, end: usize, token: Option<u32>) -> Option<Finish> {
        self.computed = self.computed.max(end);
        let Some(token) = token else {
            return (self.max_tokens == 0 && end == self.prompt_len).then_some(Finish::Length);
        };
        let may_end = self.outputs() >= self.min_tokens;
        self.tokens.push(token);
        if may_end && self.end_ids.contains(&token) {
            return Some(Finish::Stop);
        }
        (self.outputs() >= self.max_tokens).then_some(Finish::Length)
    }
}
