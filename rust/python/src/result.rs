//! The backend's answer to a plan, as Python sees it.

use lightllm_router as core;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::arguments::{Given, instance, integer, integers, items, string, tuple};
use crate::text::Repr;

/// The outcome of one row.
#[pyclass(module = "lightllm_rs._core", frozen, eq)]
#[derive(Clone, PartialEq)]
pub struct RowResult(pub core::RowResult);

#[pymethods]
impl RowResult {
    #[new]
    #[pyo3(
        signature = (*, row, tokens=None, failed=None),
        text_signature = "(*, row, tokens=(), failed=None)"
    )]
    fn new(row: &Bound<'_, PyAny>, tokens: Given<'_, '_>, failed: Given<'_, '_>) -> PyResult<Self> {
        Ok(Self(core::RowResult {
            row: integer(row, "row")?,
            tokens: tokens.map_or_else(|| Ok(Vec::new()), |tokens| integers(tokens, "tokens"))?.into(),
            failed: failed.map(|reason| string(reason, "failed")).transpose()?,
        }))
    }

    #[getter]
    fn row(&self) -> u32 {
        self.0.row
    }

    #[getter]
    fn tokens<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        tuple(py, &self.0.tokens)
    }

    #[getter]
    fn failed(&self) -> Option<&str> {
        self.0.failed.as_deref()
    }

    fn __repr__(&self) -> String {
        Repr::new("RowResult")
            .field("row", self.0.row)
            .tuple("tokens", self.0.tokens.iter().map(u32::to_string))
            .optional("failed", self.failed())
            .end()
    }
}

/// The answer to one plan.
#[pyclass(module = "lightllm_rs._core", frozen, eq)]
#[derive(Clone, PartialEq)]
pub struct StepResult(pub core::StepResult);

#[pymethods]
impl StepResult {
    #[new]
    #[pyo3(signature = (*, step, rows=None), text_signature = "(*, step, rows=())")]
    fn new(step: &Bound<'_, PyAny>, rows: Given<'_, '_>) -> PyResult<Self> {
        let row = |item: &Bound<'_, PyAny>, name: &str| Ok(instance::<RowResult>(item, name)?.get().0.clone());
        Ok(Self(core::StepResult {
            step: integer(step, "step")?,
            rows: rows.map_or_else(|| Ok(Vec::new()), |rows| items(rows, "rows", row))?,
        }))
    }

    #[getter]
    fn step(&self) -> u64 {
        self.0.step
    }

    #[getter]
    fn rows<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        tuple(py, self.0.rows.iter().cloned().map(RowResult))
    }

    fn __repr__(&self) -> String {
        Repr::new("StepResult")
            .field("step", self.0.step)
            .tuple("rows", self.0.rows.iter().map(|row| RowResult(row.clone()).__repr__()))
            .end()
    }
}
