//! From token ids to text and events: what the HTTP process does with each step's output, for all its streams at once.
//!
//! [`Streams`] takes the router's frames. Each row goes to its [`Output`], which turns tokens into text ([`Decode`]),
//! looks for stop strings ([`StopSet`]) and keeps what the answer has not used yet; [`EventTemplate`] makes a
//! server-sent event of that. There is no clock here: time is an argument.

#![forbid(unsafe_code)]

mod detokenizer;
mod event;
mod json;
mod output;
mod pieces;
mod stop;
mod streams;

pub use detokenizer::{Decode, Detokenizer};
pub use event::EventTemplate;
pub use output::{Finish, Output, OutputSettings, Record, Taken};
pub use pieces::{Pieces, Spelling};
pub use stop::{StopMatcher, StopSet};
pub use streams::{Latencies, News, Streams};
