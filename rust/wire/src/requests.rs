use serde::{Deserialize, Serialize};

use crate::{ImageSpan, Sampling, TokenLogprobs, Words};

/// [`OutputRow::finish`]: the request goes on.
pub const FINISH_RUNNING: u8 = 0;
/// [`OutputRow::finish`]: the last token is an end token.
pub const FINISH_STOP: u8 = 1;
/// [`OutputRow::finish`]: `max_tokens` were generated.
pub const FINISH_LENGTH: u8 = 2;

union! {
    /// What the router hears from an HTTP process.
    ClientMessage {
        /// First frame of an HTTP process. A second hello of the same `name` ends all requests of the first.
        "hello" => ClientHello { #[allow(missing_docs)] protocol: u32, #[allow(missing_docs)] name: String }
        /// A new request, or several that share all but their seeds; each gets exactly one end.
        "add" => Add {
            /// Chosen by the client, unique among its live requests.
            request: u64,
            /// At least one token.
            prompt: Words,
            /// Most tokens to generate.
            max_tokens: u32,
            #[allow(missing_docs)]
            sampling: Sampling,
            /// Requests with different salts never share cached pages.
            cache_salt: String,
            /// Lower goes first; from -1000 to 1000.
            priority: i32,
            /// Milliseconds from now in which the first token should be there; 0 for none.
            deadline_ms: u64,
            /// Who asks, as a hash under a key of this service; 0 for nobody in particular.
            tenant: u64,
            /// The client's label of the kind of request, likewise; 0 for none.
            class_label: u64,
            /// Further choices of the same prompt: they are admitted together with the first and share its pages.
            siblings: Vec<Sibling>,
            /// Where images stand in the prompt, in order. Token ids are from [`FIRST_SYNTHETIC`](crate::FIRST_SYNTHETIC)
            /// on in there, and below it elsewhere.
            images: Vec<ImageSpan>,
            /// What positions after the prompt have added to them, in models whose positions have three axes: 0 or less.
            position_offset: i64,
        }
        /// The features of an image are in the image cache now. It holds for the request and the choices that still wait
        /// with it; a request that has ended is passed over.
        "image_ready" => ImageReady {
            #[allow(missing_docs)] request: u64,
            /// Index in [`Add::images`].
            image: u32,
        }
        /// The client no longer wants these requests.
        "abort" => Abort { #[allow(missing_docs)] requests: Vec<u64> }
        /// Bytes of output frames that the client has taken in since its hello.
        "received" => Received { #[allow(missing_docs)] total: u64 }
    }
}

union! {
    /// What an HTTP process hears from the router.
    RouterMessage {
        /// Answer to a hello: what the engine can do.
        "hello" => RouterHello {
            #[allow(missing_docs)] protocol: u32,
            #[allow(missing_docs)] vocab: u32,
            /// Most tokens of prompt and output together.
            context: u32,
            #[allow(missing_docs)] pages: u32,
            #[allow(missing_docs)] page_size: u32,
            /// Most requests that run at once.
            slots: u32,
            /// Whether the model takes images.
            images: bool,
        }
        /// All rows of one client that came out of one step.
        "output" => StepOutput { #[allow(missing_docs)] rows: Vec<OutputRow> }
        /// The end of a request that could not be served.
        "failed" => Failed {
            #[allow(missing_docs)] request: u64,
            /// See `lightllm_rs.messages.requests.Failed`.
            kind: String,
            /// For the caller; what to do.
            message: String,
            /// Seconds, for "`queue_full`" and "`deadline`"; otherwise 0.
            retry_after: u32,
        }
    }
}

/// A further choice of the same prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sibling {
    /// Chosen by the client, as [`Add::request`] is.
    pub request: u64,
    /// In place of [`Sampling::seed`].
    pub seed: u64,
}

/// When the request first ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// Tokens of the prompt that were found in the prefix cache.
    pub cached_tokens: u32,
    /// Microseconds between its arrival at the router and its first step, without `image_wait_us`.
    pub queue_us: u64,
    /// Microseconds in which nothing of it could be computed until an image was ready.
    pub image_wait_us: u64,
}

impl StepOutput {
    /// A frame of `count` rows that were encoded one by one.
    pub fn frame_of(frame: &mut Vec<u8>, rows: &[u8], count: u32) {
        frame.extend_from_slice(b"\x92\xa6output\xdd"); // an array of two: the tag, and an array with a long length
        frame.extend_from_slice(&count.to_be_bytes());
        frame.extend_from_slice(rows);
    }
}

/// What one request got out of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputRow {
    /// The client's id.
    pub request: u64,
    /// With [`FINISH_STOP`] the last one is the end token.
    pub tokens: Words,
    /// One of the `FINISH_` values.
    pub finish: u8,
    /// In the first row of the request only.
    pub admission: Option<Admission>,
    /// One entry for each of `tokens`, when asked for.
    pub logprobs: Option<Vec<TokenLogprobs>>,
    /// Position of the first entry of `prompt_logprobs`.
    pub prompt_start: u32,
    /// One entry for each prompt position from `prompt_start`, when asked for.
    pub prompt_logprobs: Option<Vec<TokenLogprobs>>,
}
