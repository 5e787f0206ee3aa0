//! What other processes use the cache by.
//!
//! [`Client`] may be used by several threads at once. A call either blocks until its answer is there, or is begun and
//! finished later ([`Client::begin`], [`Client::finished`]), with a descriptor for an event loop between the two.

mod calls;
mod connection;
mod error;
mod lease;
mod line;

pub use calls::{Call, Outcome, Want};
pub use connection::{Client, Interrupt};
pub use error::{Error, Result};
pub use lease::{Lease, State};
pub use lightllm_cache::{Bounds, Key, View};
