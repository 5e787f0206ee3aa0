//! Admission policies by name, as Python sees them.

use lightllm_router as core;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::arguments::{number, string, wrong_type};
use crate::errors::scheduler_error;
use crate::text::Repr;

/// An admission policy and its parameters.
#[pyclass(module = "lightllm_rs._core", frozen, eq)]
#[derive(Clone, PartialEq)]
pub struct PolicyConfig(pub core::PolicyConfig);

impl PolicyConfig {
    /// The policy that a setting gives: complete, or by its name.
    pub fn given(value: &Bound<'_, PyAny>, parameter: &str) -> PyResult<core::PolicyConfig> {
        if let Ok(policy) = value.cast::<Self>() {
            return Ok(policy.get().0);
        }
        if !value.is_instance_of::<PyString>() {
            return Err(wrong_type(parameter, "a name or a PolicyConfig", value));
        }
        let name = string(value, parameter)?;
        core::PolicyConfig::from_name(&name).map_err(|error| scheduler_error(value.py(), &error))
    }
}

#[pymethods]
impl PolicyConfig {
    #[classattr]
    #[pyo3(name = "NAMES")]
    const NAMES: [&'static str; core::PolicyConfig::NAMES.len()] = core::PolicyConfig::NAMES;

    #[new]
    #[pyo3(signature = (name, **parameters))]
    fn new(py: Python<'_>, name: &Bound<'_, PyAny>, parameters: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let refused = |error| scheduler_error(py, &error);
        let mut policy = core::PolicyConfig::from_name(&string(name, "name")?).map_err(refused)?;
        for (parameter, value) in parameters.into_iter().flatten() {
            let parameter = string(&parameter, "parameter")?;
            policy = policy.with(&parameter, number(&value, &parameter)?).map_err(refused)?;
        }
        policy.validate().map_err(refused)?;
        Ok(Self(policy))
    }

    #[getter]
    fn name(&self) -> &'static str {
        self.0.name()
    }

    #[getter]
    fn parameters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let parameters = PyDict::new(py);
        for (name, value) in self.0.parameters() {
            parameters.set_item(name, value)?;
        }
        Ok(parameters)
    }

    pub fn __repr__(&self) -> String {
        let mut text = Repr::new("PolicyConfig").positional(self.name());
        for (name, value) in self.0.parameters() {
            text = text.field(name, value);
        }
        text.end()
    }
}
