//! `Scheduler`: the core's scheduler behind a lock.

use lightllm_router as core;
use lightllm_router::{Error, RequestId};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::arguments::{instance, integer};
use crate::config::SchedulerConfig;
use crate::errors::{broken, clock_ran_backwards, scheduler_broken, scheduler_error};
use crate::guard::{Guard, caught};
use crate::plan::StepPlan;
use crate::request::{Output, Request};
use crate::result::StepResult;
use crate::stats::Stats;

/// Queue, prefix cache, pages and slots of one backend, and the plans that come of them.
#[pyclass(module = "lightllm_rs._core", frozen)]
pub struct Scheduler {
    config: SchedulerConfig,
    state: Guard<State>,
}

struct State {
    scheduler: core::Scheduler,
    /// The latest `now`: the core relies on a clock that does not run backwards.
    latest: u64,
}

/// Why a call with a time came to nothing.
enum Refusal {
    Backwards(u64),
    Refused(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl State {
    /// The scheduler at a later time. A refused call does not advance the clock of the calls to come either.
    fn at<R>(&mut self, now: u64, work: impl FnOnce(&mut core::Scheduler) -> Result<R, Error>) -> Result<R, Refusal> {
        if now < self.latest {
            return Err(Refusal::Backwards(self.latest));
        }
        let worked = work(&mut self.scheduler)?;
        self.latest = now;
        Ok(worked)
    }
}

impl Scheduler {
    /// Works on the scheduler without the GIL: a step takes tens of microseconds at hundreds of requests, and whoever
    /// holds the lock must never wait for the GIL.
    fn work<R: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut State) -> R + Send) -> PyResult<R> {
        py.detach(|| self.state.with(work)).map_err(|broken| scheduler_broken(py, &broken.0))
    }

    fn work_at<R: Send>(
        &self,
        py: Python<'_>,
        now: &Bound<'_, PyAny>,
        work: impl FnOnce(&mut core::Scheduler, u64) -> Result<R, Error> + Send,
    ) -> PyResult<R> {
        let now = integer(now, "now")?;
        let worked = self.work(py, |state| state.at(now, |scheduler| work(scheduler, now)))?;
        worked.map_err(|refusal| match refusal {
            Refusal::Backwards(latest) => clock_ran_backwards(py, now, latest),
            Refusal::Refused(error) => scheduler_error(py, &error),
        })
    }
}

#[pymethods]
impl Scheduler {
    #[new]
    fn new(py: Python<'_>, config: &Bound<'_, PyAny>) -> PyResult<Self> {
        let config = instance::<SchedulerConfig>(config, "config")?.get().clone();
        let scheduler = core::Scheduler::new(config.0).map_err(|error| scheduler_error(py, &error))?;
        Ok(Self { config, state: Guard::new(State { scheduler, latest: 0 }) })
    }

    #[getter]
    fn config(&self) -> SchedulerConfig {
        self.config.clone()
    }

    fn add(&self, py: Python<'_>, request: &Bound<'_, PyAny>, now: &Bound<'_, PyAny>) -> PyResult<()> {
        let request = instance::<Request>(request, "request")?.get().0.clone();
        self.work_at(py, now, |scheduler, now| scheduler.add(request, now))
    }

    fn abort(&self, py: Python<'_>, request: &Bound<'_, PyAny>) -> PyResult<bool> {
        let request = RequestId(integer(request, "request")?);
        self.work(py, |state| state.scheduler.abort(request))
    }

    fn image_ready(
        &self,
        py: Python<'_>,
        request: &Bound<'_, PyAny>,
        image: &Bound<'_, PyAny>,
        now: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let (request, image) = (RequestId(integer(request, "request")?), integer(image, "image")?);
        self.work_at(py, now, |scheduler, now| scheduler.image_ready(request, image, now))
    }

    fn schedule(&self, py: Python<'_>, now: &Bound<'_, PyAny>) -> PyResult<Option<StepPlan>> {
        Ok(self.work_at(py, now, |scheduler, now| Ok(scheduler.schedule(now)))?.map(StepPlan::of))
    }

    fn plan_at(&self, py: Python<'_>, now: &Bound<'_, PyAny>) -> PyResult<u64> {
        self.work_at(py, now, |scheduler, now| Ok(scheduler.plan_at(now)))
    }

    fn update(&self, py: Python<'_>, result: &Bound<'_, PyAny>, now: &Bound<'_, PyAny>) -> PyResult<Vec<Output>> {
        let result = instance::<StepResult>(result, "result")?.get().0.clone();
        let outputs = self.work_at(py, now, |scheduler, now| scheduler.update(result, now))?;
        Ok(outputs.into_iter().map(Output).collect())
    }

    fn fail_step(&self, py: Python<'_>, step: &Bound<'_, PyAny>) -> PyResult<Vec<u64>> {
        let step = integer(step, "step")?;
        let ended = self.work(py, |state| state.scheduler.fail_step(step))?;
        Ok(ended.into_iter().map(|request| request.0).collect())
    }

    fn take_refused<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let refused = self.work(py, |state| state.scheduler.take_refused())?;
        let refused = refused.iter().map(|(request, error)| (request.0, scheduler_error(py, error).into_value(py)));
        PyList::new(py, refused.collect::<Vec<_>>())
    }

    fn clear_cache(&self, py: Python<'_>) -> PyResult<usize> {
        self.work(py, |state| state.scheduler.clear_cache())
    }

    fn has_work(&self, py: Python<'_>) -> PyResult<bool> {
        self.work(py, |state| state.scheduler.has_work())
    }

    fn has_late(&self, py: Python<'_>, now: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.work_at(py, now, |scheduler, now| Ok(scheduler.has_late(now)))
    }

    fn unanswered(&self, py: Python<'_>) -> PyResult<usize> {
        self.work(py, |state| state.scheduler.unanswered())
    }

    fn stats(&self, py: Python<'_>) -> PyResult<Stats> {
        self.work(py, |state| Stats(state.scheduler.stats()))
    }

    fn check_invariants(&self, py: Python<'_>) -> PyResult<()> {
        self.work(py, |state| state.scheduler.check_invariants())
    }

    fn __contains__(&self, py: Python<'_>, request: &Bound<'_, PyAny>) -> PyResult<bool> {
        let request = RequestId(integer(request, "request")?);
        self.work(py, |state| state.scheduler.contains(request))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let stats = self.stats(py)?.0;
        Ok(format!(
            "<Scheduler: {} running, {} queued, {} of {} pages free>",
            stats.running, stats.queued, stats.free_pages, stats.total_pages
        ))
    }
}

/// Panics inside a scheduler, or where a simulation would, for the test that Python survives a broken invariant.
#[pyfunction]
pub fn break_scheduler(py: Python<'_>, scheduler: Option<&Bound<'_, Scheduler>>, reason: String) -> PyResult<()> {
    match scheduler {
        Some(scheduler) => scheduler.get().work(py, move |_| panic!("{reason}")),
        None => py.detach(|| caught(|| panic!("{reason}"))).map_err(|panic| broken(py, &panic.0)),
    }
}
