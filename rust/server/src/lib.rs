//! The router process: sockets, clock and telemetry around the pure scheduler of `lightllm-router`.
//!
//! One thread, one poll, no ticks: the loop wakes for a frame or for the heartbeat of the second. What it learns goes to
//! the scheduler, and as long as fewer than two plans are unanswered the next plan leaves at once.

mod clients;
mod error;
mod images;
mod intake;
mod journal;
mod outbox;
mod output;
mod plan;
mod process;
mod ranks;
mod results;
mod router;
mod salt;
mod settings;
mod sockets;
mod telemetry;

pub use error::{Error, Result};
pub use process::run;
