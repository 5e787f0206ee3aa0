//! Replays of journals, as Python sees them.

use std::path::PathBuf;

use lightllm_journal as journal;
use lightllm_journal::{OnDifference, Reader};
use pyo3::prelude::*;

use crate::arguments::{Given, boolean_or};
use crate::errors::{broken, journal_error};
use crate::guard::caught;
use crate::text::Repr;

/// Where a scheduler did something else than a journal says.
#[pyclass(module = "lightllm_rs._core", frozen, eq)]
#[derive(Clone, PartialEq)]
pub struct Difference(journal::Difference);

#[pymethods]
impl Difference {
    #[getter]
    fn line(&self) -> u64 {
        self.0.line
    }

    #[getter]
    fn step(&self) -> u64 {
        self.0.step
    }

    #[getter]
    fn what(&self) -> &str {
        &self.0.what
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        Repr::new("Difference").field("line", self.0.line).field("step", self.0.step).field("what", &self.0.what).end()
    }
}

/// What a replay found.
#[pyclass(module = "lightllm_rs._core", frozen, eq)]
#[derive(Clone, PartialEq)]
pub struct ReplayReport(journal::ReplayReport);

#[pymethods]
impl ReplayReport {
    #[getter]
    fn records(&self) -> u64 {
        self.0.records
    }

    #[getter]
    fn steps(&self) -> u64 {
        self.0.steps
    }

    #[getter]
    fn identical(&self) -> bool {
        self.0.identical()
    }

    #[getter]
    fn differences(&self) -> u64 {
        self.0.differences
    }

    #[getter]
    fn first(&self) -> Option<Difference> {
        self.0.first.clone().map(Difference)
    }

    #[getter]
    fn cut(&self) -> Option<u64> {
        self.0.cut
    }

    fn __repr__(&self) -> String {
        let first = self.first().map_or_else(|| "None".to_owned(), |first| first.__repr__());
        Repr::new("ReplayReport")
            .field("records", self.0.records)
            .field("steps", self.0.steps)
            .boolean("identical", self.identical())
            .field("differences", self.0.differences)
            .verbatim("first", &first)
            .optional("cut", self.0.cut)
            .end()
    }
}

/// Runs a journal through a scheduler of the same settings.
#[pyfunction]
#[pyo3(signature = (path, *, count=None), text_signature = "(path, *, count=False)")]
pub fn replay_journal(py: Python<'_>, path: PathBuf, count: Given<'_, '_>) -> PyResult<ReplayReport> {
    let on_difference = if boolean_or(count, "count", false)? { OnDifference::Count } else { OnDifference::Stop };
    let report = py.detach(move || caught(|| journal::replay(Reader::open(&path)?, on_difference)));
    report.map_err(|panic| broken(py, &panic.0))?.map(ReplayReport).map_err(|error| journal_error(py, &error))
}

/// What a journal says of the service, as JSON.
#[pyfunction]
pub fn summarize_journal(py: Python<'_>, path: PathBuf) -> PyResult<String> {
    let summary = py.detach(move || caught(|| journal::summary(Reader::open(&path)?)));
    let summary = summary.map_err(|panic| broken(py, &panic.0))?.map_err(|error| journal_error(py, &error))?;
    Ok(serde_json::to_string(&summary).expect("figures are finite, and keys are text"))
}
