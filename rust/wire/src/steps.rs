use serde::{Deserialize, Serialize, Serializer};
use serde_bytes::ByteBuf;

use crate::{ImageSpan, Sampling, TokenLogprobs, Words};

/// Words of one row of [`StepPlan::rows`]: slot, start, tokens, new pages, flags.
pub const ROW_WORDS: usize = 5;
/// Words of one group of [`StepPlan::groups`], consecutive decode rows whose first pages are the same: first row, number
/// of rows, pages in common.
pub const GROUP_WORDS: usize = 3;
/// A token is sampled after the row's last position.
pub const FLAG_EMITS: u32 = 1;
/// The row's one input token is the slot's last sampled token.
pub const FLAG_FROM_LAST: u32 = 2;

union! {
    /// What the router hears from a backend rank.
    RankMessage {
        /// First frame of a rank, once its model is loaded.
        "hello" => RankHello {
            #[allow(missing_docs)] protocol: u32,
            #[allow(missing_docs)] rank: u32,
            #[allow(missing_docs)] world: u32,
            #[allow(missing_docs)] pages: u32,
            #[allow(missing_docs)] page_size: u32,
            #[allow(missing_docs)] slots: u32,
            #[allow(missing_docs)] vocab: u32,
            #[allow(missing_docs)] context: u32,
            /// Whether the model takes images.
            images: bool,
        }
        /// What a step gave.
        "result" => StepResult {
            #[allow(missing_docs)] step: u64,
            /// Indices of the rows that emitted.
            rows: Words,
            /// How many tokens each of them emitted.
            counts: Words,
            /// The tokens, row after row.
            tokens: Words,
            /// Only rows that have something to add.
            extras: Vec<RowExtra>,
            /// Microseconds that the backend spent on the step.
            busy_us: u64,
        }
        /// The whole step failed on this rank and the rank lives on.
        "failed" => StepFailed {
            #[allow(missing_docs)] step: u64,
            #[allow(missing_docs)] rank: u32,
            #[allow(missing_docs)] message: String,
        }
    }
}

union! {
    /// What a backend rank hears from the router.
    PlanMessage {
        /// One step, carried out in the order detach, attach, copies, rows.
        "plan" => StepPlan {
            #[allow(missing_docs)] step: u64,
            /// Slots whose requests are gone.
            detach: Words,
            /// Slots that get a request.
            attach: Vec<Attach>,
            /// Pairs of page from, page to.
            copies: Words,
            /// See [`ROW_WORDS`].
            rows: Words,
            /// New pages of all rows, row after row.
            new_pages: Words,
            /// Input ids of all rows without [`FLAG_FROM_LAST`], row after row.
            token_ids: Words,
            /// See [`GROUP_WORDS`].
            groups: Words,
        }
        /// No more plans will come.
        "stop" => RankStop {}
    }
}

/// A [`StepPlan`] whose long arrays are packed already: little-endian words, as they travel. Written as one.
#[derive(Debug, Default)]
pub struct PackedPlan {
    /// See [`StepPlan`] for this and all others.
    pub step: u64,
    #[allow(missing_docs)]
    pub detach: ByteBuf,
    #[allow(missing_docs)]
    pub attach: Vec<Attach>,
    #[allow(missing_docs)]
    pub copies: ByteBuf,
    #[allow(missing_docs)]
    pub rows: ByteBuf,
    #[allow(missing_docs)]
    pub new_pages: ByteBuf,
    #[allow(missing_docs)]
    pub token_ids: ByteBuf,
    #[allow(missing_docs)]
    pub groups: ByteBuf,
}

impl Serialize for PackedPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { step, detach, attach, copies, rows, new_pages, token_ids, groups } = self;
        ("plan", step, detach, attach, copies, rows, new_pages, token_ids, groups).serialize(serializer)
    }
}

/// What a row reports beside its tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowExtra {
    /// Index of the row in the plan.
    pub row: u32,
    /// One entry for each token of the row, when asked for.
    pub logprobs: Option<Vec<TokenLogprobs>>,
    /// Position of the first entry of `prompt_logprobs`.
    pub prompt_start: u32,
    /// Entries of the prompt positions after each of the row's tokens, when asked for.
    pub prompt_logprobs: Option<Vec<TokenLogprobs>>,
    /// This row failed; its request ends with this message.
    pub error: Option<String>,
}

/// A request takes a slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attach {
    /// Index below the number of slots.
    pub slot: u32,
    /// Tokens of the prompt.
    pub prompt_len: u32,
    #[allow(missing_docs)]
    pub sampling: Sampling,
    /// All known token ids, if [`Sampling::wants_history`].
    pub history: Option<Words>,
    /// [`Add::position_offset`](crate::Add::position_offset).
    pub position_offset: i64,
    /// All images of the prompt; those that rows of this attach read are `ready`.
    pub images: Vec<ImageSpan>,
}
