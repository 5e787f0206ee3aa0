//! The lines of a journal.

use lightllm_router::{Error, ImageSpan, Request, RequestId, SchedulerConfig};
use serde::Deserialize;

use crate::hash::{END_ID, named_positions, names_of};
use crate::slots::SlotSet;

/// One call of the scheduler and what came of it. Times are in nanoseconds of the scheduler's clock.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// A request was queued or refused.
    Add(Box<Add>),
    /// A request was aborted.
    Abort(Abort),
    /// An image of a request was ready.
    ImageReady(ImageReady),
    /// A plan was asked for.
    Schedule(Schedule),
    /// The result of a plan.
    Update(Update),
    /// A step failed as a whole.
    FailStep(FailStep),
    /// The prefix cache was emptied.
    ClearCache(ClearCache),
}

/// A request, as [`Request`] has it. Fields that are not written have their neutral value.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // these are the fields of `Request`
pub struct Add {
    /// When.
    pub now: u64,
    pub id: u64,
    /// Length of the prompt.
    pub prompt: u32,
    pub max_tokens: u32,
    #[serde(default)]
    pub min_tokens: u32,
    /// Name of the cache salt: equal salts have equal ones. 32 hex digits.
    #[serde(default, deserialize_with = "hex::u128")]
    pub salt: u128,
    #[serde(default)]
    pub history: bool,
    #[serde(default)]
    pub prompt_logprobs: bool,
    #[serde(default)]
    pub priority: i32,
    #[serde(default)]
    pub deadline: Option<u64>,
    #[serde(default)]
    pub tenant: u64,
    #[serde(default)]
    pub class: u64,
    #[serde(default)]
    pub siblings: Vec<u64>,
    /// Start, length and readiness of each image.
    #[serde(default)]
    pub images: Vec<(u32, u32, bool)>,
    #[serde(default)]
    pub expected: Option<u32>,
    /// Names of the prompt's prefixes that end at the last two positions of a page, 8 hex digits each. Neither these nor
    /// `tokens` are there if the prompt is longer than the context.
    #[serde(default, deserialize_with = "hex::names")]
    pub hashes: Vec<u32>,
    /// Token ids of the prompt, in place of `hashes`.
    #[serde(default)]
    pub tokens: Option<Vec<u32>>,
    /// Token ids that end the output, with `tokens`.
    #[serde(default)]
    pub end_ids: Vec<u32>,
    /// Why it was not queued.
    #[serde(default)]
    pub refused: Option<Refusal>,
    /// Seconds after which a refused client was told to retry.
    #[serde(default)]
    pub retry_after: Option<u64>,
}

/// Why the scheduler did not take, or gave up, a request: the variants of [`Error`] that say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // each is the variant of the same name
pub enum Refusal {
    QueueFull,
    DeadlineMissed,
    PromptTooLong,
    ContextExceeded,
    TooLargeForPool,
    EmptyPrompt,
    DuplicateId,
    NothingToDo,
    /// Any other.
    Invalid,
}

/// A request was aborted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Abort {
    /// When.
    pub now: u64,
    /// The request.
    pub id: u64,
    /// Whether it had not ended yet.
    pub found: bool,
}

/// An image of a request was ready.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageReady {
    /// When.
    pub now: u64,
    /// The request.
    pub id: u64,
    /// Index of the image.
    pub image: u32,
    /// Whether the request had not ended yet.
    pub found: bool,
}

/// A plan was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// When.
    pub now: u64,
    /// Number of the plan. None: there was nothing to plan.
    #[serde(default)]
    pub step: Option<u64>,
    /// [`digest`](crate::digest) of the plan, 16 hex digits; 0 without a plan.
    #[serde(default, deserialize_with = "hex::u64")]
    pub digest: u64,
    /// What the plan asks of the backend.
    #[serde(default)]
    pub load: Load,
    /// Slots and the requests that get them.
    #[serde(default)]
    pub attach: Vec<(u32, u64)>,
    /// Requests that were given up while they waited, and why.
    #[serde(default)]
    pub refused: Vec<(u64, Refusal)>,
}

/// Size of a step, as cost models of a backend have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Load {
    /// Positions in prefill rows.
    pub prefill_tokens: u32,
    /// Rows that decode.
    pub decode_rows: u32,
    /// Positions that the decode rows attend to, their own included.
    pub context_tokens: u64,
}

/// The result of a plan. Rows are named by the slot that they had in the plan.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// When.
    pub now: u64,
    /// Number of the plan.
    pub step: u64,
    /// Time that the backend needed for it, in microseconds.
    #[serde(default)]
    pub busy_us: u64,
    /// Requests that got a token: those that had not ended meanwhile.
    #[serde(default)]
    pub slots: SlotSet,
    /// Those of them that ended with an end id.
    #[serde(default)]
    pub stop: Vec<u32>,
    /// Those that ended at `max_tokens`.
    #[serde(default)]
    pub length: Vec<u32>,
    /// Those whose row could not be computed. They got no token.
    #[serde(default)]
    pub failed: Vec<u32>,
    /// Those that got their first token and had a cached prefix: slot and length of the prefix.
    #[serde(default)]
    pub cached: Vec<(u32, u32)>,
    /// Slots and names of the tokens that have one.
    #[serde(default)]
    pub hashes: Vec<(u32, u32)>,
    /// Slots and token ids of all, in place of `hashes`.
    #[serde(default)]
    pub tokens: Vec<(u32, u32)>,
}

/// A step failed as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailStep {
    /// When.
    pub now: u64,
    /// Number of the plan.
    pub step: u64,
    /// Requests that ended by it.
    pub ended: Vec<u64>,
}

/// The prefix cache was emptied.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClearCache {
    /// When.
    pub now: u64,
    /// Pages that were freed.
    pub freed: u64,
}

impl Record {
    /// When it happened.
    pub fn now(&self) -> u64 {
        match self {
            Self::Add(add) => add.now,
            Self::Abort(abort) => abort.now,
            Self::ImageReady(ready) => ready.now,
            Self::Schedule(schedule) => schedule.now,
            Self::Update(update) => update.now,
            Self::FailStep(failed) => failed.now,
            Self::ClearCache(clear) => clear.now,
        }
    }
}

impl Add {
    /// The token ids; where the journal has none, as many others that share the same pages with the prompts and
    /// outputs of the journal: zeros but for the names of the last two positions of each page. `page_size` is that of
    /// the journal's scheduler.
    pub fn prompt(&self, page_size: u32) -> Vec<u32> {
        if let Some(tokens) = &self.tokens {
            return tokens.clone();
        }
        let mut prompt = vec![0; self.prompt as usize];
        let unnamed = (page_size - named_positions(page_size)) as usize;
        let mut names = self.hashes.iter();
        for page in prompt.chunks_mut(page_size as usize) {
            for (token, name) in page.iter_mut().skip(unnamed).zip(&mut names) {
                *token = *name;
            }
        }
        prompt
    }

    /// The request as it is replayed.
    pub fn request(&self, page_size: u32) -> Request {
        Request {
            end_ids: if self.tokens.is_some() { self.end_ids.clone() } else { vec![END_ID] },
            min_tokens: self.min_tokens,
            cache_salt: self.salt,
            wants_history: self.history,
            prompt_logprobs: self.prompt_logprobs,
            priority: self.priority,
            deadline: self.deadline,
            tenant: self.tenant,
            class: self.class,
            siblings: self.siblings.iter().map(|id| RequestId(*id)).collect(),
            images: self.images.iter().map(|(start, tokens, ready)| image(*start, *tokens, *ready)).collect(),
            expected_tokens: self.expected,
            ..Request::new(RequestId(self.id), self.prompt(page_size), self.max_tokens)
        }
    }

    /// Ranges, and that the hashes or tokens are those of the prompt.
    pub(crate) fn check(&self, config: &SchedulerConfig, tokens: bool) -> Result<(), (&'static str, String)> {
        // One that was refused may have any: it is refused again.
        if self.refused.is_none() && !Request::PRIORITIES.contains(&self.priority) {
            return Err(("priority", format!("is {}: it must be from -1000 to 1000", self.priority)));
        }
        if self.prompt > config.context && self.tokens.is_none() && self.hashes.is_empty() {
            // It was too long to be written down.
            return Ok(());
        }
        match &self.tokens {
            Some(_) if !tokens => Err(("tokens", "the header says that there are none".to_owned())),
            None if tokens => Err(("tokens", "are missing: the header says that they are there".to_owned())),
            Some(tokens) if tokens.len() != self.prompt as usize => {
                Err(("tokens", format!("are {}, but the prompt has {}", tokens.len(), self.prompt)))
            }
            Some(_) => Ok(()),
            None => {
                let (names, wanted) = (self.hashes.len(), names_of(self.prompt as usize, config.page_size));
                if names == wanted {
                    return Ok(());
                }
                Err(("hashes", format!("are {names}, but a prompt of {} tokens has {wanted}", self.prompt)))
            }
        }
    }
}

fn image(start: u32, tokens: u32, ready: bool) -> ImageSpan {
    ImageSpan { start, tokens, ready }
}

impl Refusal {
    /// Why, and the seconds after which to retry.
    pub(crate) fn of(error: &Error) -> (Self, Option<u64>) {
        match error {
            Error::QueueFull { retry_after_s, .. } => (Self::QueueFull, Some(*retry_after_s)),
            Error::DeadlineMissed { retry_after_s } => (Self::DeadlineMissed, Some(*retry_after_s)),
            Error::PromptTooLong { .. } => (Self::PromptTooLong, None),
            Error::ContextExceeded { .. } => (Self::ContextExceeded, None),
            Error::TooLargeForPool { .. } => (Self::TooLargeForPool, None),
            Error::EmptyPrompt => (Self::EmptyPrompt, None),
            Error::DuplicateId(_) => (Self::DuplicateId, None),
            Error::NothingToDo => (Self::NothingToDo, None),
            _ => (Self::Invalid, None),
        }
    }

    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::DeadlineMissed => "deadline_missed",
            Self::PromptTooLong => "prompt_too_long",
            Self::ContextExceeded => "context_exceeded",
            Self::TooLargeForPool => "too_large_for_pool",
            Self::EmptyPrompt => "empty_prompt",
            Self::DuplicateId => "duplicate_id",
            Self::NothingToDo => "nothing_to_do",
            Self::Invalid => "invalid",
        }
    }
}

/// Numbers in hex digits, of fixed width.
mod hex {
    use std::fmt;

    use serde::de::{Deserializer, Error, Unexpected, Visitor};

    pub fn u64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_str(Digits(|text: &[u8]| parse(text, 16).map(|value| value as u64), "16 hex digits"))
    }

    pub fn u128<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        deserializer.deserialize_str(Digits(|text: &[u8]| parse(text, 32), "32 hex digits"))
    }

    /// Names, 8 digits each. The end id of replays is none.
    pub fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
        let read = |text: &[u8]| {
            let (names, rest) = text.as_chunks::<8>();
            let name =
                |digits: &[u8; 8]| parse(digits, 8).map(|name| name as u32).filter(|name| *name != super::END_ID);
            rest.is_empty().then(|| names.iter().map(name).collect())?
        };
        deserializer.deserialize_str(Digits(read, "hashes of 8 hex digits each"))
    }

    fn parse(text: &[u8], digits: usize) -> Option<u128> {
        if text.len() != digits {
            return None;
        }
        text.iter().try_fold(0, |value, digit| Some(value << 4 | u128::from((*digit as char).to_digit(16)?)))
    }

    struct Digits<F>(F, &'static str);

    impl<T, F: FnOnce(&[u8]) -> Option<T>> Visitor<'_> for Digits<F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.1)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            let Self(read, expected) = self;
            let shown: String = text.chars().take(40).collect();
            read(text.as_bytes()).ok_or_else(|| E::invalid_value(Unexpected::Str(&shown), &expected))
        }
    }
}
