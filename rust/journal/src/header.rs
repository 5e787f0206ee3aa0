//! The first line of a journal.

use lightllm_router::SchedulerConfig;
use serde::{Deserialize, Serialize};

/// Version of the format that is written. Version 1 had no images, and is read too; any other is refused.
pub const VERSION: u32 = 2;

/// The first line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Version of the format: at most [`VERSION`].
    pub journal: u32,
    /// Token ids are written, in place of hashes of them.
    pub tokens: bool,
    /// All settings of the scheduler.
    pub config: SchedulerConfig,
}
