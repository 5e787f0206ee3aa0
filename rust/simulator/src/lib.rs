//! The scheduler under a virtual clock: traces in, latencies out.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod preset;

pub use preset::{NAME as PAST_FUTURE_PAPER, PresetRow, PresetSettings, preset_policy, run_preset};
