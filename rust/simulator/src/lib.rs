//! The scheduler under a virtual clock: traces in, latencies out.
//!
//! The very scheduler that serves ([`lightllm_router::Scheduler`]) is driven by requests of a trace or of a random
//! process, and by a backend that computes nothing: a [cost model](cost) says how long each step takes. Time jumps
//! from one event to the next, so an hour of traffic takes a second or two.
//!
//! [`run`] simulates one [`Setup`] and gives a [`Report`]; [`sweep`] does so for many, over several threads. Both
//! types are plain data for serde. The same setup gives the same report, bit for bit, on every machine.
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! let setup = r#"{
//!     "workload": {
//!         "source": {
//!             "kind": "synthetic",
//!             "prompt": {"kind": "uniform", "min": 100, "max": 300},
//!             "output": {"kind": "constant", "tokens": 20}
//!         },
//!         "arrivals": {"kind": "poisson"},
//!         "rate": 10
//!     },
//!     "cost": {"version": 1, "kind": "constant", "ms": 20},
//!     "limits": {"requests": 50},
//!     "seed": 1
//! }"#;
//! let setup: lightllm_simulator::Setup = serde_json::from_str(setup)?;
//! let report = lightllm_simulator::run(&setup, &mut |_| ControlFlow::Continue(()))?;
//! assert_eq!(report.finished, 50);
//! assert_eq!(report.itl_ms.p50, 20.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod cost;
mod engine;
mod error;
mod metrics;
mod preset;
mod random;
mod report;
mod scheduler;
mod setup;
mod sweep;
pub mod workload;

pub use engine::{Progress, run};
pub use error::{Error, Result};
pub use preset::{NAME as PAST_FUTURE_PAPER, PresetRow, PresetSettings, preset_policy, run_preset};
pub use report::{Cdf, Goodput, Refused, Report, Summary, Throughput, Timeline, Utilization};
pub use setup::{Before, Limits, Setup, Slo};
pub use sweep::sweep;
