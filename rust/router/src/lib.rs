//! The scheduler of lightllm-rs.
//!
//! It decides, step by step, which requests a model backend works on: it owns the queue, the pages of the KV cache,
//! the slots, and the cache of common prefixes. It is pure: no clock, no sockets, no threads, no randomness. The
//! router process drives it with real results, a simulator with made up ones, and both get the same plans.
//!
//! Two calls make the hot loop: [`Scheduler::schedule`] gives the next plan, [`Scheduler::update`] takes its result.
//!
//! ```
//! use lightllm_router::{Finish, Request, RequestId, RowResult, Scheduler, SchedulerConfig, StepResult};
//!
//! let config = SchedulerConfig { pages: 64, page_size: 16, slots: 4, context: 512, ..SchedulerConfig::default() };
//! let mut scheduler = Scheduler::new(config)?;
//! scheduler.add(Request::new(RequestId(1), vec![5, 6, 7], 2), 0)?;
//!
//! let mut text = Vec::new();
//! while let Some(plan) = scheduler.schedule(0) {
//!     // A backend would compute the rows. This one always samples token 42.
//!     let emitting = plan.rows.iter().enumerate().filter(|(_, row)| row.emits);
//!     let rows = emitting.map(|(index, _)| RowResult { row: index as u32, tokens: [42][..].into(), failed: None });
//!     let result = StepResult { step: plan.step, rows: rows.collect() };
//!     for output in scheduler.update(result, 0)? {
//!         text.extend(output.tokens);
//!         if let Some(finish) = output.finish {
//!             assert_eq!(finish, Finish::Length);
//!         }
//!     }
//! }
//! assert_eq!(text, [42, 42]);
//! assert_eq!(scheduler.stats().free_pages, 64);
//! # Ok::<(), lightllm_router::Error>(())
//! ```
//!
//! A second plan may be made before the result of the first is there, so that a backend never waits: then an end by
//! token id, which only the result tells, costs one row in vain.
//!
//! ```
//! # use lightllm_router::{Request, RequestId, RowResult, Scheduler, SchedulerConfig, StepResult};
//! # let mut scheduler = Scheduler::new(SchedulerConfig::default())?;
//! let mut request = Request::new(RequestId(1), vec![5, 6, 7], 100);
//! request.end_ids = vec![2];
//! scheduler.add(request, 0)?;
//! let first = scheduler.schedule(0).expect("a prefill");
//! let second = scheduler.schedule(0).expect("a decode, whatever the prefill will have sampled");
//! assert!(second.rows[0].from_last);
//! assert!(scheduler.schedule(0).is_none(), "two plans have no result");
//!
//! let token = |id| vec![RowResult { row: 0, tokens: [id][..].into(), failed: None }];
//! let outputs = scheduler.update(StepResult { step: first.step, rows: token(2) }, 0)?;
//! assert!(outputs[0].finish.is_some());
//! let outputs = scheduler.update(StepResult { step: second.step, rows: token(9) }, 0)?;
//! assert!(outputs.is_empty(), "its request has ended");
//! # Ok::<(), lightllm_router::Error>(())
//! ```
//!
//! Errors are the caller's fault and change nothing. A broken invariant of the scheduler itself is a panic.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod admission;
mod balance;
mod config;
mod cost;
mod error;
mod ids;
mod images;
mod memory;
mod order;
mod pace;
mod pages;
mod plan;
mod prefixes;
mod queue;
mod radix;
mod random;
mod request;
mod running;
mod scheduler;
mod sequence;
mod stats;

pub use admission::{
    AdmissionPolicy, Aggressive, Conservative, Demand, Ema, Forecast, ForecastConfig, Oracle, PastFuture,
    PastFutureConfig, PolicyConfig, Room,
};
pub use config::{ScheduleMode, SchedulerConfig};
pub use error::{Error, Result};
pub use ids::{PageId, RequestId, SlotId};
pub use images::ImageSpan;
pub use order::OrderConfig;
pub use plan::{Attach, PrefixGroup, Row, RowResult, StepPlan, StepResult, Tokens};
pub use radix::EvictionPolicy;
pub use random::SplitMix64;
pub use request::{Admission, Finish, Output, Request};
pub use scheduler::Scheduler;
pub use stats::{Stats, Totals};
