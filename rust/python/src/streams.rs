//! The text of all outputs of an HTTP process, as Python sees it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lightllm_text as core;
use lightllm_wire::TokenLogprobs;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::PyBytes;

use crate::frames::FrameError;
use crate::guard::{Broken, Guard};
use crate::pieces::decoder;

/// Log-probabilities at one position.
#[pyclass(module = "lightllm_rs._core", frozen)]
pub struct Logprobs(TokenLogprobs);

#[pymethods]
impl Logprobs {
    #[getter]
    fn chosen(&self) -> f64 {
        self.0.chosen
    }

    #[getter]
    fn alternatives(&self) -> PyResult<Vec<(u32, f32)>> {
        let (values, rest) = self.0.values.as_chunks::<4>();
        if !rest.is_empty() || values.len() != self.0.ids.0.len() {
            return Err(PyValueError::new_err("log-probabilities without a token each"));
        }
        let values = values.iter().map(|value| f32::from_le_bytes(*value));
        Ok(self.0.ids.0.iter().copied().zip(values).collect())
    }
}

/// A token of an output.
#[pyclass(module = "lightllm_rs._core", frozen)]
pub struct Record {
    #[pyo3(get)]
    token: u32,
    #[pyo3(get)]
    text: String,
    #[pyo3(get)]
    start: usize,
    #[pyo3(get)]
    kept: bool,
    #[pyo3(get)]
    logprobs: Option<Py<Logprobs>>,
}

/// The automaton of some stop strings.
#[pyclass(module = "lightllm_rs._core", frozen)]
pub struct StopSet(Arc<core::StopSet>);

#[pymethods]
impl StopSet {
    #[new]
    fn new(strings: Vec<String>) -> PyResult<Self> {
        if strings.is_empty() || strings.iter().any(String::is_empty) {
            return Err(PyValueError::new_err("stop strings must be there, and none of them empty"));
        }
        Ok(Self(Arc::new(core::StopSet::new(strings))))
    }
}

/// How an answer writes the events of its choices.
#[pyclass(module = "lightllm_rs._core", frozen)]
pub struct EventTemplate(core::EventTemplate);

#[pymethods]
impl EventTemplate {
    #[new]
    #[pyo3(signature = (*, head, field, before, after, empty, tail, first))]
    fn new(
        head: Vec<u8>,
        field: Vec<u8>,
        before: Vec<u8>,
        after: Vec<u8>,
        empty: Vec<u8>,
        tail: Vec<u8>,
        first: Vec<u8>,
    ) -> Self {
        Self(core::EventTemplate { head, field, before, after, empty, tail, first })
    }

    #[pyo3(signature = (output, index, logprobs=None))]
    fn write<'py>(
        &self,
        py: Python<'py>,
        output: &TextOutput,
        index: u32,
        logprobs: Option<&[u8]>,
    ) -> Bound<'py, PyBytes> {
        let mut events = Vec::new();
        self.0.write(&mut output.lock(py), index, logprobs, &mut events);
        PyBytes::new(py, &events)
    }
}

/// What one request has generated.
#[pyclass(module = "lightllm_rs._core", frozen)]
pub struct TextOutput(Arc<Mutex<core::Output>>);

impl TextOutput {
    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, core::Output> {
        // A panic while it was locked has broken the streams, and nothing goes on there.
        self.0.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl TextOutput {
    #[new]
    #[pyo3(signature = (
        detokenizer, *, stops, include_stop, min_tokens, records, drop, quiet, opening, began
    ))]
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)] // one call, with names
    fn new(
        detokenizer: &Bound<'_, PyAny>,
        stops: Option<&Bound<'_, StopSet>>,
        include_stop: bool,
        min_tokens: u32,
        records: bool,
        drop: bool,
        quiet: bool,
        opening: String,
        began: f64,
    ) -> Self {
        let stops = stops.map(|stops| stops.get().0.clone());
        let settings = core::OutputSettings { stops, include_stop, min_tokens, records, drop, quiet, opening, began };
        Self(Arc::new(Mutex::new(core::Output::new(decoder(detokenizer), settings))))
    }

    #[getter]
    fn tokens(&self, py: Python<'_>) -> u32 {
        self.lock(py).tokens()
    }

    #[getter]
    fn finish(&self, py: Python<'_>) -> Option<&'static str> {
        self.lock(py).finish().map(core::Finish::name)
    }

    #[getter]
    fn cached_tokens(&self, py: Python<'_>) -> u32 {
        self.lock(py).admission().map_or(0, |admission| admission.cached_tokens)
    }

    #[getter]
    fn last_at(&self, py: Python<'_>) -> f64 {
        self.lock(py).last_at()
    }

    #[getter]
    fn unsent(&self, py: Python<'_>) -> u32 {
        self.lock(py).unsent()
    }

    #[getter]
    fn has_text(&self, py: Python<'_>) -> bool {
        !self.lock(py).is_silent()
    }

    #[getter]
    fn prompt_scored(&self, py: Python<'_>) -> usize {
        self.lock(py).prompt_logprobs().len()
    }

    fn prompt_logprobs(&self, py: Python<'_>) -> Vec<Option<Logprobs>> {
        self.lock(py).prompt_logprobs().iter().map(|entry| entry.clone().map(Logprobs)).collect()
    }

    fn look(&self, py: Python<'_>) {
        self.lock(py).look();
    }

    fn text(&self, py: Python<'_>) -> String {
        self.lock(py).text()
    }

    fn records(&self, py: Python<'_>) -> PyResult<Vec<Record>> {
        let records = self.lock(py).records();
        let record = |record: core::Record| {
            let core::Record { token, text, start, kept, logprobs } = record;
            let logprobs = logprobs.map(|logprobs| Py::new(py, Logprobs(logprobs))).transpose()?;
            Ok(Record { token, text, start, kept, logprobs })
        };
        records.into_iter().map(record).collect()
    }
}

/// What a frame was to those who wait.
#[pyclass(module = "lightllm_rs._core", frozen, get_all)]
pub struct News {
    moved: Vec<u64>,
    ended: Vec<u64>,
    stopped: Vec<u64>,
    faults: Vec<(u64, String)>,
}

/// The outputs of all requests under way.
#[pyclass(module = "lightllm_rs._core", frozen)]
pub struct TextStreams(Guard<core::Streams>);

impl TextStreams {
    /// Works on the streams without the GIL: a step has hundreds of rows.
    fn work<R: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut core::Streams) -> R + Send) -> PyResult<R> {
        let broken = |Broken(what)| PyRuntimeError::new_err(format!("an invariant of the text does not hold: {what}"));
        py.detach(|| self.0.with(work)).map_err(broken)
    }
}

#[pymethods]
impl TextStreams {
    #[new]
    fn new() -> Self {
        Self(Guard::new(core::Streams::default()))
    }

    fn open(&self, py: Python<'_>, request: u64, output: &TextOutput) -> PyResult<()> {
        let output = output.0.clone();
        self.work(py, move |streams| streams.open(request, output))
    }

    fn close(&self, py: Python<'_>, request: u64) -> PyResult<bool> {
        self.work(py, |streams| streams.close(request))
    }

    fn feed(&self, py: Python<'_>, frame: &[u8], now: f64) -> PyResult<Option<News>> {
        let news = self.work(py, |streams| streams.feed(frame, now))?;
        let news = news.map_err(|error| FrameError::new_err(error.to_string()))?;
        Ok(news.map(|core::News { moved, ended, stopped, faults }| News { moved, ended, stopped, faults }))
    }

    fn take_latencies(&self, py: Python<'_>) -> PyResult<(Vec<f64>, Vec<f64>)> {
        let latencies = self.work(py, core::Streams::take_latencies)?;
        Ok((latencies.first_token, latencies.inter_token))
    }
}
