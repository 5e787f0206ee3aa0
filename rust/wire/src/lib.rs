//! Frames of the wire: what the Python package `lightllm_rs.messages` says in msgspec structs, in serde.
//!
//! A frame is one msgpack array whose first element is a tag. Long arrays travel as little-endian words ([`Words`]).
//! A golden-frame test on the Python side holds the two against each other byte for byte.

#![forbid(unsafe_code)]

#[macro_use]
mod union;

pub mod cache;
mod control;
mod frame;
mod images;
mod requests;
mod sampling;
mod start;
mod steps;
mod telemetry;
#[cfg(test)]
mod tests;
mod words;

pub use control::{
    ChildHello, ChildMessage, Drain, Drained, EngineDown, EngineUp, Fatal, Notice, Phase, Ready, Stop,
    SupervisorMessage,
};
pub use frame::{BadFrame, MAX_FRAME_BYTES, PROTOCOL, decode, encode, encode_into};
pub use images::{FIRST_SYNTHETIC, ImageSpan, MAX_SPANS};
pub use requests::{
    Abort, Add, Admission, ClientHello, ClientMessage, FINISH_LENGTH, FINISH_RUNNING, FINISH_STOP, Failed, ImageReady,
    OutputRow, Received, RouterHello, RouterMessage, Sibling, StepOutput,
};
pub use sampling::{Sampling, TokenLogprobs};
pub use start::{JournalStart, RouterStart, Scheduling};
pub use steps::{
    Attach, FLAG_EMITS, FLAG_FROM_LAST, GROUP_WORDS, PackedPlan, PlanMessage, ROW_WORDS, RankHello, RankMessage,
    RankStop, RowExtra, StepFailed, StepPlan, StepResult,
};
pub use telemetry::{
    GaugesAnswer, GaugesQuery, HealthAnswer, HealthMessage, HealthQuery, Heartbeat, MetricsAnswer, MetricsMessage,
    MetricsQuery, Observations, Report, Sample, ServiceState, TelemetryAnswer,
};
pub use words::{Words, pack};
