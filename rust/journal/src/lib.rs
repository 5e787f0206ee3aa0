//! What went into a scheduler and came back from the backend, written line by line; and the replay of it.
//!
//! A journal is a file of JSON lines. The first is the [`Header`] with all settings of the scheduler, each other one
//! is a [`Record`] of one call of [`Scheduler`](lightllm_router::Scheduler), in order:
//!
//! ```text
//! {"journal":2,"tokens":false,"config":{"pages":4096,"page_size":16,"slots":256,...}}
//! {"add":{"now":1200,"id":7,"prompt":40,"max_tokens":100,"hashes":"91c2a0f35be20c7d..."}}
//! {"schedule":{"now":1300,"step":1,"digest":"3f0a8c11d2e4b596","load":[40,0,0],"attach":[[0,7]]}}
//! {"update":{"now":21300,"step":1,"busy_us":19500,"slots":"1"}}
//! {"image_ready":{"now":29000,"id":8,"image":0,"found":true}}
//! {"abort":{"now":30000,"id":7,"found":true}}
//! ```
//!
//! [`Recorder`] writes one beside a live scheduler. [`Reader`] reads it as a stream, [`replay`] drives a scheduler
//! with it and compares every plan, [`requests`] and [`summary`] tell what became of the requests and when.
//!
//! # What a journal tells of prompts
//!
//! Unless it was asked to write token ids, a journal has no text: only the lengths of prompts and a keyed hash
//! (SipHash-2-4, see [`Key`]) of all tokens up to the last two positions of each page. Whoever has the key can check
//! a guess of a prompt, so it is drawn for each journal and not written. Equal beginnings look equal, and lengths,
//! times, tenants, class labels and the places of images are there as they are.
//!
//! The hashes are enough for a replay, since a scheduler only ever compares whole pages: a replayed prompt is zeros
//! but for the hashes at their positions ([`Add::prompt`]).

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod digest;
mod distribution;
mod error;
mod hash;
mod header;
mod line;
mod live;
mod reader;
mod record;
mod recorder;
mod replay;
mod requests;
mod slots;
mod summary;

pub use digest::digest;
pub use distribution::Figures;
pub use error::{Error, Result};
pub use hash::Key;
pub use header::{Header, VERSION};
pub use reader::{MAX_LINE_BYTES, Reader};
pub use record::{Abort, Add, ClearCache, FailStep, ImageReady, Load, Record, Refusal, Schedule, Update};
pub use recorder::{AddInProgress, Recorder};
pub use replay::{Difference, OnDifference, ReplayReport, replay};
pub use requests::{ByArrival, Ending, RecordedRequest, Requests, requests};
pub use slots::SlotSet;
pub use summary::{Summary, summary};
