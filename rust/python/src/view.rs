//! Memory of the arena as `NumPy` arrays.

use std::sync::Arc;

use lightllm_cache_server::client::{Lease, View};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

/// Bytes of an item. The base of the array that is made of it, so that mapping and lease live as long as the array.
///
/// By `NumPy`'s array interface and not by the buffer protocol, which the stable ABI has from Python 3.11 on.
#[pyclass(module = "lightllm_rs._core", frozen)]
pub struct CacheView {
    view: View,
    _lease: Arc<Lease>,
    readonly: bool,
}

impl CacheView {
    /// A uint8 array of all bytes, without a copy.
    pub fn array(py: Python<'_>, view: View, lease: Arc<Lease>, readonly: bool) -> PyResult<Bound<'_, PyAny>> {
        static AS_ARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        AS_ARRAY.import(py, "numpy", "asarray")?.call1((Self { view, _lease: lease, readonly },))
    }
}

#[pymethods]
impl CacheView {
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let interface = PyDict::new(py);
        interface.set_item("version", 3)?;
        interface.set_item("typestr", "|u1")?;
        interface.set_item("shape", (self.view.len(),))?;
        interface.set_item("data", (self.view.as_ptr() as usize, self.readonly))?;
        Ok(interface)
    }
}
