//! What can go wrong through no fault of the scheduler.

use crate::ids::RequestId;
use crate::request::Request;

/// The result of a call that the caller can get wrong.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A fault of the caller (or, for the last group, of the backend). The scheduler's state is as before the call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of its range, or two settings contradict each other.
    #[error("{setting}: {reason}")]
    InvalidConfig {
        /// Name of the field of [`SchedulerConfig`](crate::SchedulerConfig).
        setting: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },

    /// The queue is at its bound; nothing was queued.
    #[error("the queue is full ({requests} requests, {tokens} prompt tokens waiting): retry in {retry_after_s} s")]
    QueueFull {
        /// Requests that wait.
        requests: usize,
        /// Their prompt tokens.
        tokens: u64,
        /// Estimate of when a retry is worth it, in seconds, from 1 to 60.
        retry_after_s: u64,
    },
    /// The first token can't be there by the deadline any more, and the operator asked not to serve late.
    #[error(
        "the deadline passes before the first token could be there: retry in {retry_after_s} s, or allow more time"
    )]
    DeadlineMissed {
        /// Estimate of when a retry is worth it, in seconds, from 1 to 60.
        retry_after_s: u64,
    },
    /// The prompt alone is longer than the context.
    #[error("the prompt has {prompt} tokens but the context has {context}: shorten the prompt")]
    PromptTooLong {
        /// Tokens of the prompt.
        prompt: u64,
        /// Tokens of the context.
        context: u32,
    },
    /// Prompt and output together are longer than the context.
    #[error(
        "the prompt has {prompt} tokens and max_tokens is {max_tokens}, {} in all, but the context has {context}: \
         shorten the prompt or lower max_tokens",
        prompt + u64::from(*max_tokens)
    )]
    ContextExceeded {
        /// Tokens of the prompt.
        prompt: u64,
        /// Tokens asked for.
        max_tokens: u32,
        /// Tokens of the context.
        context: u32,
    },
    /// The request would not fit into the KV cache if it ran alone.
    #[error(
        "the request needs {needed} KV cache pages for its prompt and max_tokens but the cache has {pages}: lower \
         max_tokens, shorten the prompt or give the server a larger KV cache"
    )]
    TooLargeForPool {
        /// Pages of the prompt and the output; of a group, of its prompt and all outputs.
        needed: u64,
        /// Pages of the whole pool.
        pages: u32,
    },
    /// All requests of a group run at once, so each needs a slot.
    #[error("{requests} outputs of one prompt were asked for but {slots} requests run at once: ask for fewer")]
    TooManySiblings {
        /// Requests of the group.
        requests: usize,
        /// Slots of the server.
        slots: u32,
    },
    /// A prompt has one token at least.
    #[error("the prompt is empty: give at least one token")]
    EmptyPrompt,
    /// A request with this id has not ended yet.
    #[error("request {0} is already queued or running: use a new id")]
    DuplicateId(RequestId),
    /// The images of a prompt are not in order, not apart, or not within it.
    #[error("image {image} of the prompt is in no place for it: {reason}")]
    BadImage {
        /// Index of the image.
        image: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// A request has no image of this index.
    #[error("request {request} has {images} images: there is no image {image}")]
    NoSuchImage {
        /// The request.
        request: RequestId,
        /// Index that was given.
        image: u32,
        /// Images of the request.
        images: usize,
    },
    /// The priority is out of its range.
    #[error(
        "the priority is {priority}: it must be from {} to {}",
        Request::PRIORITIES.start(),
        Request::PRIORITIES.end()
    )]
    PriorityOutOfRange {
        /// The priority asked for.
        priority: i32,
    },
    /// No token was asked for, and no log-probabilities of the prompt either.
    #[error("max_tokens is 0: ask for at least one token, or for log-probabilities of the prompt")]
    NothingToDo,

    /// A result for a step that is not the oldest unanswered one.
    #[error("result of step {got}, but {}", match expected {
        Some(step) => format!("the oldest unanswered step is {step}"),
        None => "no step is unanswered".to_owned(),
    })]
    UnexpectedStep {
        /// The step of the result.
        got: u64,
        /// The oldest step without a result.
        expected: Option<u64>,
    },
    /// A result that contradicts its plan.
    #[error("result of step {step}, row {row}: {reason}")]
    BadResult {
        /// The step of the result.
        step: u64,
        /// Index of the row in its plan.
        row: u32,
        /// What is wrong.
        reason: &'static str,
    },
}
