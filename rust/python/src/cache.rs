//! The client of the cache manager, and the manager itself.

#![allow(clippy::needless_pass_by_value)] // arguments of Python come by value

use std::collections::HashMap;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lightllm_cache_server::client::{self, Bounds, Call, Client, Error, Key, Outcome, State};
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::errors::cache_error;
use crate::guard;
use crate::view::CacheView;

create_exception!(lightllm_rs._core, CacheManagerError, PyException, "The cache manager ended with an error.");

/// Runs the cache manager until the supervisor says stop.
///
/// The GIL is released for good: signal handlers of Python do not run meanwhile.
#[pyfunction]
pub fn run_cache_manager(py: Python<'_>, start: &[u8]) -> PyResult<()> {
    let run = py.detach(|| guard::caught(|| lightllm_cache_server::run(start)));
    let run = run.map_err(|panic| CacheManagerError::new_err(format!("an invariant does not hold: {}", panic.0)))?;
    run.map_err(|error| CacheManagerError::new_err(error.to_string()))
}

/// An item that somebody needs.
#[pyclass(module = "lightllm_rs._core", frozen)]
pub struct Want(client::Want);

#[pymethods]
impl Want {
    #[new]
    #[pyo3(signature = (key, data_len, feature_len, pixels=0, recipe=None, original_pixels=0))]
    fn new(
        key: &[u8],
        data_len: u64,
        feature_len: u64,
        pixels: u64,
        recipe: Option<&[u8]>,
        original_pixels: u64,
    ) -> PyResult<Self> {
        let recipe = recipe.unwrap_or_default().to_vec();
        Ok(Self(client::Want { key: key_of(key)?, data_len, feature_len, pixels, original_pixels, recipe }))
    }

    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.key.0)
    }

    #[getter]
    fn data_len(&self) -> u64 {
        self.0.data_len
    }

    #[getter]
    fn feature_len(&self) -> u64 {
        self.0.feature_len
    }

    #[getter]
    fn pixels(&self) -> u64 {
        self.0.pixels
    }

    #[getter]
    fn original_pixels(&self) -> u64 {
        self.0.original_pixels
    }

    #[getter]
    fn recipe<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.recipe)
    }
}

/// The right to use an item.
#[pyclass(module = "lightllm_rs._core", frozen)]
pub struct Lease(Arc<client::Lease>);

impl Lease {
    fn array<'py>(
        &self,
        py: Python<'py>,
        view: client::Result<client::View>,
        readonly: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let view = view.map_err(|error| cache_error(py, &error))?;
        CacheView::array(py, view, Arc::clone(&self.0), readonly)
    }

    fn write<'py>(
        &self,
        py: Python<'py>,
        view: client::Result<client::View>,
        allowed: bool,
        bytes: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let refuse = |message: &str| cache_error(py, &Error::Refused(message.to_owned()));
        if !allowed {
            return Err(refuse("this lease may not write there"));
        }
        let view = view.map_err(|error| cache_error(py, &error))?;
        if let Ok(bytes) = bytes.cast::<PyBytes>() {
            let bytes = bytes.as_bytes();
            return py.detach(|| view.write(bytes)).map_err(|error| cache_error(py, &error.into()));
        }
        let numpy = py.import("numpy")?;
        let bytes = numpy.call_method1("frombuffer", (bytes, numpy.getattr("uint8")?))?;
        let (len, target) = (bytes.len()?, view.len());
        if len != target {
            return Err(refuse(&format!("{target} bytes were reserved, and these are {len}")));
        }
        numpy.call_method1("copyto", (CacheView::array(py, view, Arc::clone(&self.0), false)?, bytes))?;
        Ok(())
    }
}

#[pymethods]
impl Lease {
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.key().0)
    }

    #[getter]
    fn state(&self) -> &'static str {
        name(self.0.state())
    }

    #[getter]
    fn error(&self) -> String {
        self.0.failure()
    }

    #[getter]
    fn data_len(&self) -> u64 {
        self.0.data_len()
    }

    #[getter]
    fn feature_len(&self) -> u64 {
        self.0.feature_len()
    }

    #[getter]
    fn pixels(&self) -> u64 {
        self.0.pixels()
    }

    #[getter]
    fn recipe<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.recipe())
    }

    #[getter]
    fn ended(&self) -> bool {
        self.0.has_ended()
    }

    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.array(py, self.0.data(), !self.0.writes_data())
    }

    #[getter]
    fn features<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.array(py, self.0.features(), !self.0.writes_features())
    }

    #[getter]
    fn features_unguarded<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.array(py, self.0.features(), false)
    }

    fn write_data(&self, py: Python<'_>, bytes: &Bound<'_, PyAny>) -> PyResult<()> {
        self.write(py, self.0.data(), self.0.writes_data(), bytes)
    }

    fn write_features(&self, py: Python<'_>, bytes: &Bound<'_, PyAny>) -> PyResult<()> {
        self.write(py, self.0.features(), self.0.writes_features(), bytes)
    }

    fn release(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.release()).map_err(|error| cache_error(py, &error))
    }
}

/// A connection to the cache manager.
#[pyclass(module = "lightllm_rs._core", frozen)]
pub struct CacheClient {
    client: Client,
    /// Calls that were begun and are not finished.
    begun: Mutex<HashMap<u64, Call>>,
}

impl CacheClient {
    /// Does a call without the GIL. Signal handlers of Python run meanwhile, and may end it with an exception.
    fn call(&self, py: Python<'_>, call: &Call, timeout: Option<f64>) -> PyResult<Outcome> {
        let patience = timeout.map(patience).transpose()?;
        let mut raised = None;
        let outcome = py.detach(|| {
            let mut interrupt = || {
                #[allow(clippy::redundant_closure_for_method_calls)] // the method alone is of one lifetime
                let signals = Python::attach(|py| py.check_signals());
                raised = signals.err();
                raised.is_some()
            };
            self.client.call(call, patience, &mut interrupt)
        });
        match raised {
            Some(exception) => Err(exception),
            None => outcome.map_err(|error| cache_error(py, &error)),
        }
    }

    fn leased(&self, py: Python<'_>, call: &Call, timeout: Option<f64>) -> PyResult<Vec<Lease>> {
        match self.call(py, call, timeout)? {
            Outcome::Leased(leases) => Ok(leases.into_iter().map(Lease).collect()),
            _ => unreachable!("such a call brings leases"),
        }
    }

    fn begin(&self, py: Python<'_>, call: Call) -> PyResult<u64> {
        let number = py.detach(|| self.client.begin(&call)).map_err(|error| cache_error(py, &error))?;
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).insert(number, call);
        Ok(number)
    }

    fn end(&self, number: u64) -> Option<Call> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).remove(&number)
    }
}

#[pymethods]
impl CacheClient {
    #[new]
    #[pyo3(signature = (endpoint, name, *, timeout=10.0))]
    fn new(py: Python<'_>, endpoint: &str, name: &str, timeout: f64) -> PyResult<Self> {
        let patience = patience(timeout)?;
        let client = py.detach(|| Client::connect(endpoint, name, patience));
        Ok(Self { client: client.map_err(|error| cache_error(py, &error))?, begun: Mutex::default() })
    }

    #[getter]
    fn server_pid(&self) -> u32 {
        self.client.server_pid()
    }

    #[getter]
    fn total_bytes(&self) -> u64 {
        let layout = self.client.layout();
        u64::from(layout.pages()) * layout.page_bytes()
    }

    #[getter]
    fn page_bytes(&self) -> u64 {
        self.client.layout().page_bytes()
    }

    #[pyo3(signature = (wants, timeout=None))]
    fn acquire(&self, py: Python<'_>, wants: Vec<PyRef<'_, Want>>, timeout: Option<f64>) -> PyResult<Vec<Lease>> {
        self.leased(py, &Call::Acquire(cloned(&wants)), timeout)
    }

    #[pyo3(signature = (leases, timeout=None))]
    fn publish_data(&self, py: Python<'_>, leases: Vec<PyRef<'_, Lease>>, timeout: Option<f64>) -> PyResult<()> {
        self.call(py, &Call::Publish(shared(&leases)), timeout).map(drop)
    }

    #[pyo3(signature = (leases, timeout=None))]
    fn wait(&self, py: Python<'_>, leases: Vec<PyRef<'_, Lease>>, timeout: Option<f64>) -> PyResult<Vec<&'static str>> {
        match self.call(py, &Call::Wait(shared(&leases)), timeout)? {
            Outcome::Decided(states) => Ok(states.into_iter().map(name).collect()),
            _ => unreachable!("waiting brings states"),
        }
    }

    #[pyo3(signature = (max_items, max_pixels=0, max_original_pixels=0, timeout=None))]
    fn take(
        &self,
        py: Python<'_>,
        max_items: u32,
        max_pixels: u64,
        max_original_pixels: u64,
        timeout: Option<f64>,
    ) -> PyResult<Vec<Lease>> {
        self.leased(py, &taking(max_items, max_pixels, max_original_pixels), timeout)
    }

    /// Without a timeout: who did not hear the answer would not know which memory is another's by now.
    fn keep(&self, py: Python<'_>, leases: Vec<PyRef<'_, Lease>>) -> PyResult<Vec<bool>> {
        match self.call(py, &Call::Keep(shared(&leases)), None)? {
            Outcome::Kept(kept) => Ok(kept),
            _ => unreachable!("such a call brings what is kept"),
        }
    }

    #[pyo3(signature = (leases, timeout=None))]
    fn publish_features(&self, py: Python<'_>, leases: Vec<PyRef<'_, Lease>>, timeout: Option<f64>) -> PyResult<()> {
        self.call(py, &Call::PublishFeatures(shared(&leases)), timeout).map(drop)
    }

    #[pyo3(signature = (lease, message, timeout=None))]
    fn fail(&self, py: Python<'_>, lease: &Lease, message: String, timeout: Option<f64>) -> PyResult<()> {
        self.call(py, &Call::Fail(Arc::clone(&lease.0), message), timeout).map(drop)
    }

    #[pyo3(signature = (keys, timeout=None))]
    fn lease(
        &self,
        py: Python<'_>,
        keys: Vec<Bound<'_, PyBytes>>,
        timeout: Option<f64>,
    ) -> PyResult<Vec<Option<Lease>>> {
        match self.call(py, &Call::LeaseReady(keys_of(&keys)?), timeout)? {
            Outcome::Found(leases) => Ok(leases.into_iter().map(|lease| lease.map(Lease)).collect()),
            _ => unreachable!("leasing brings leases"),
        }
    }

    fn release(&self, py: Python<'_>, leases: Vec<PyRef<'_, Lease>>) -> PyResult<()> {
        let leases = shared(&leases);
        py.detach(|| self.client.release(&leases)).map_err(|error| cache_error(py, &error))
    }

    #[pyo3(signature = (timeout=None))]
    fn stats(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<HashMap<String, u64>> {
        match self.call(py, &Call::Stats, timeout)? {
            Outcome::Stats(values) => Ok(values.into_iter().collect()),
            _ => unreachable!("asking for figures brings figures"),
        }
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.client.close());
    }

    fn fileno(&self) -> RawFd {
        self.client.descriptor().as_raw_fd()
    }

    fn begin_acquire(&self, py: Python<'_>, wants: Vec<PyRef<'_, Want>>) -> PyResult<u64> {
        self.begin(py, Call::Acquire(cloned(&wants)))
    }

    fn begin_publish_data(&self, py: Python<'_>, leases: Vec<PyRef<'_, Lease>>) -> PyResult<u64> {
        self.begin(py, Call::Publish(shared(&leases)))
    }

    fn begin_wait(&self, py: Python<'_>, leases: Vec<PyRef<'_, Lease>>) -> PyResult<u64> {
        self.begin(py, Call::Wait(shared(&leases)))
    }

    fn begin_take(&self, py: Python<'_>, max_items: u32, max_pixels: u64, max_original_pixels: u64) -> PyResult<u64> {
        self.begin(py, taking(max_items, max_pixels, max_original_pixels))
    }

    fn begin_publish_features(&self, py: Python<'_>, leases: Vec<PyRef<'_, Lease>>) -> PyResult<u64> {
        self.begin(py, Call::PublishFeatures(shared(&leases)))
    }

    fn begin_fail(&self, py: Python<'_>, lease: &Lease, message: String) -> PyResult<u64> {
        self.begin(py, Call::Fail(Arc::clone(&lease.0), message))
    }

    fn begin_lease(&self, py: Python<'_>, keys: Vec<Bound<'_, PyBytes>>) -> PyResult<u64> {
        self.begin(py, Call::LeaseReady(keys_of(&keys)?))
    }

    fn begin_stats(&self, py: Python<'_>) -> PyResult<u64> {
        self.begin(py, Call::Stats)
    }

    fn finished<'py>(&self, py: Python<'py>) -> PyResult<Vec<(u64, Bound<'py, PyAny>)>> {
        let finished = py.detach(|| self.client.finished(|number| self.end(number)));
        let finished = finished.map_err(|error| cache_error(py, &error))?;
        let result = |(number, outcome): (u64, client::Result<Outcome>)| {
            let result = match outcome {
                Ok(outcome) => python(py, outcome)?,
                Err(error) => cache_error(py, &error).into_value(py).into_bound(py).into_any(),
            };
            Ok((number, result))
        };
        finished.into_iter().map(result).collect()
    }

    fn withdraw(&self, py: Python<'_>, number: u64) -> PyResult<()> {
        let call = self.end(number);
        let outcome = py.detach(|| self.client.withdraw(number));
        drop(call); // after the withdrawal: its leases may end with it
        outcome.map_err(|error| cache_error(py, &error))
    }
}

/// What a call has come to, as Python sees it.
fn python(py: Python<'_>, outcome: Outcome) -> PyResult<Bound<'_, PyAny>> {
    match outcome {
        Outcome::Done => Ok(py.None().into_bound(py)),
        Outcome::Leased(leases) => Ok(PyList::new(py, made(py, leases.into_iter().map(Some))?)?.into_any()),
        Outcome::Found(leases) => Ok(PyList::new(py, made(py, leases.into_iter())?)?.into_any()),
        Outcome::Decided(states) => Ok(PyList::new(py, states.into_iter().map(name))?.into_any()),
        Outcome::Kept(_) => unreachable!("that call is not begun"),
        Outcome::Stats(values) => {
            let figures = PyDict::new(py);
            for (name, value) in values {
                figures.set_item(name, value)?;
            }
            Ok(figures.into_any())
        }
    }
}

fn taking(items: u32, pixels: u64, original_pixels: u64) -> Call {
    Call::Take(Bounds { items, pixels, original_pixels })
}

fn made(
    py: Python<'_>,
    leases: impl Iterator<Item = Option<Arc<client::Lease>>>,
) -> PyResult<Vec<Option<Bound<'_, Lease>>>> {
    leases.map(|lease| lease.map(|lease| Bound::new(py, Lease(lease))).transpose()).collect()
}

fn name(state: State) -> &'static str {
    match state {
        State::Write => "write",
        State::Pending => "pending",
        State::Ready => "ready",
        State::Failed => "failed",
    }
}

fn shared(leases: &[PyRef<'_, Lease>]) -> Vec<Arc<client::Lease>> {
    leases.iter().map(|lease| Arc::clone(&lease.0)).collect()
}

fn cloned(wants: &[PyRef<'_, Want>]) -> Vec<client::Want> {
    wants.iter().map(|want| want.0.clone()).collect()
}

fn key_of(key: &[u8]) -> PyResult<Key> {
    let wrong = |_| PyValueError::new_err(format!("a key has 16 bytes, and this one has {}", key.len()));
    key.try_into().map(Key).map_err(wrong)
}

fn keys_of(keys: &[Bound<'_, PyBytes>]) -> PyResult<Vec<Key>> {
    keys.iter().map(|key| key_of(key.as_bytes())).collect()
}

fn patience(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| PyValueError::new_err(format!("a timeout of {seconds} seconds: it must be a number from 0 on")))
}
