//! `lightllm_rs._core`: the one crate that knows Python.

mod arguments;
mod cache;
mod config;
mod errors;
mod frames;
mod guard;
mod images;
mod order;
mod pieces;
mod plan;
mod policy;
mod preset;
mod replay;
mod request;
mod result;
mod scheduler;
mod simulate;
mod stats;
mod streams;
mod text;
mod view;

use lightllm_router_server as server;
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(lightllm_rs._core, RouterError, PyException, "The router process ended with an error.");

/// Runs the router process until the supervisor says stop.
///
/// The GIL is released for good: signal handlers of Python do not run meanwhile.
#[pyfunction]
fn run_router(py: Python<'_>, start: &[u8]) -> PyResult<()> {
    let run = py.detach(|| guard::caught(|| server::run(start)));
    let run = run.map_err(|panic| RouterError::new_err(format!("an invariant does not hold: {}", panic.0)))?;
    run.map_err(|error| RouterError::new_err(error.to_string()))
}

#[pymodule]
mod _core {
    #[pymodule_export]
    use super::cache::{CacheClient, CacheManagerError, Lease, Want, run_cache_manager};
    #[pymodule_export]
    use super::config::SchedulerConfig;
    #[pymodule_export]
    use super::frames::{FrameError, reencode_frame};
    #[pymodule_export]
    use super::order::OrderConfig;
    #[pymodule_export]
    use super::pieces::{Detokenizer, Pieces};
    #[pymodule_export]
    use super::plan::{Attach, Row, StepPlan};
    #[pymodule_export]
    use super::policy::PolicyConfig;
    #[pymodule_export]
    use super::preset::past_future_paper;
    #[pymodule_export]
    use super::replay::{Difference, ReplayReport, replay_journal, summarize_journal};
    #[pymodule_export]
    use super::request::{Admission, Output, Request};
    #[pymodule_export]
    use super::result::{RowResult, StepResult};
    #[pymodule_export]
    use super::scheduler::{Scheduler, break_scheduler};
    #[pymodule_export]
    use super::simulate::simulate;
    #[pymodule_export]
    use super::stats::Stats;
    #[pymodule_export]
    use super::streams::{EventTemplate, Logprobs, News, Record, StopSet, TextOutput, TextStreams};
    #[pymodule_export]
    use super::view::CacheView;
    #[pymodule_export]
    use super::{RouterError, run_router};

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::errors::add_classes(module)
    }
}
