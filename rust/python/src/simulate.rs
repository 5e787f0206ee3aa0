//! Simulations, as Python sees them: settings in and reports out are JSON, since both are plain data of many parts.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use lightllm_simulator::{Progress, Setup, sweep};
use pyo3::prelude::*;

use crate::arguments::{Given, integer_or, string};
use crate::errors::{bad_json, broken, simulation_error};
use crate::guard::caught;

/// Time between two calls of `progress`: a bar does not move faster than the eye.
const TELL_EVERY: Duration = Duration::from_millis(50);

/// Simulates a JSON list of setups.
#[pyfunction]
#[pyo3(signature = (setups, *, jobs=None, progress=None), text_signature = "(setups, *, jobs=0, progress=None)")]
pub fn simulate(
    py: Python<'_>,
    setups: &Bound<'_, PyAny>,
    jobs: Given<'_, '_>,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let jobs = integer_or(jobs, "jobs", 0)?;
    // Out of JSON values and not out of the text: a position in a text that nobody wrote helps nobody.
    let setups = string(setups, "setups")?;
    let setups: Vec<serde_json::Value> = serde_json::from_str(&setups).map_err(|error| bad_json(py, &error))?;
    let setups: Result<Vec<Setup>, _> = setups.into_iter().map(Setup::read).collect();
    let setups = setups.map_err(|error| simulation_error(py, &error))?;
    let mut told = Told { progress, last: None, raised: None };
    let reports = py.detach(|| caught(|| sweep(&setups, jobs, &mut |news| told.tell(news))));
    if let Some(raised) = told.raised {
        return Err(raised);
    }
    let reports = reports.map_err(|panic| broken(py, &panic.0))?.map_err(|error| simulation_error(py, &error))?;
    Ok(serde_json::to_string(&reports).expect("reports are plain data"))
}

/// Tells Python of progress, now and then, and stops where a call or a signal raises.
struct Told {
    progress: Option<Py<PyAny>>,
    last: Option<Instant>,
    raised: Option<PyErr>,
}

impl Told {
    fn tell(&mut self, news: Progress) -> ControlFlow<()> {
        let now = Instant::now();
        if !news.finished && self.last.is_some_and(|last| now - last < TELL_EVERY) {
            return ControlFlow::Continue(());
        }
        self.last = Some(now);
        let told = Python::attach(|py| {
            py.check_signals()?;
            if let Some(progress) = &self.progress {
                progress.call1(py, (news.index, news.done, news.requests, news.simulated_seconds))?;
            }
            Ok(())
        });
        match told {
            Ok(()) => ControlFlow::Continue(()),
            Err(raised) => {
                self.raised.get_or_insert(raised);
                ControlFlow::Break(())
            }
        }
    }
}
