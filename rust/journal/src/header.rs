//! The first line of a journal.

use lightllm_router::SchedulerConfig;
use serde::{Deserialize, Serialize};

/// Version of the format. A journal of another version is refused.
pub const VERSION: u32 = 1;

/// The first line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Version of the format: [`VERSION`].
    pub journal: u32,
    /// Token ids are written, in place of hashes of them.
    pub tokens: bool,
    /// All settings of the scheduler.
    pub config: SchedulerConfig,
}
