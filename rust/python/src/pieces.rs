//! Bytes of tokens and texts of outputs, as Python sees them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lightllm_text as core;
use lightllm_text::{Decode, Spelling};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::PyBytes;

/// The bytes of all tokens of a vocabulary.
#[pyclass(module = "lightllm_rs._core", frozen)]
pub struct Pieces(Arc<core::Pieces>);

#[pymethods]
impl Pieces {
    #[new]
    #[allow(clippy::needless_pass_by_value)] // it is made for the call
    fn new(spelling: &str, tokens: Vec<(String, u32)>, special: Vec<u32>) -> PyResult<Self> {
        let spelling = match spelling {
            "byte-level" => Spelling::ByteLevel,
            "sentence-piece" => Spelling::SentencePiece,
            other => return Err(PyValueError::new_err(format!("there is no spelling {other}"))),
        };
        let tokens: Vec<(u32, &str)> = tokens.iter().map(|(letters, id)| (*id, letters.as_str())).collect();
        Ok(Self(Arc::new(core::Pieces::new(spelling, &tokens, special))))
    }

    fn bytes_of<'py>(&self, py: Python<'py>, token: u32) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.bytes_of(token))
    }

    fn detokenizer(&self, skip_special: bool) -> Detokenizer {
        Detokenizer(Mutex::new(core::Detokenizer::new(self.0.clone(), skip_special)))
    }
}

/// Turns the tokens of one output into text.
#[pyclass(module = "lightllm_rs._core", frozen)]
pub struct Detokenizer(Mutex<core::Detokenizer>);

impl Detokenizer {
    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, core::Detokenizer> {
        self.0.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Detokenizer {
    fn push(&self, py: Python<'_>, token: u32) -> PyResult<String> {
        let mut text = String::new();
        self.lock(py).push(token, &mut text).map_err(PyRuntimeError::new_err)?;
        Ok(text)
    }

    fn finish(&self, py: Python<'_>) -> PyResult<String> {
        let mut text = String::new();
        self.lock(py).finish(&mut text).map_err(PyRuntimeError::new_err)?;
        Ok(text)
    }
}

/// A Python object that decodes, for vocabularies whose tokens have no bytes of their own.
struct Foreign(Py<PyAny>);

impl Decode for Foreign {
    fn push(&mut self, token: u32, text: &mut String) -> Result<(), String> {
        let pushed = Python::attach(|py| self.0.bind(py).call_method1("push", (token,))?.extract::<String>());
        text.push_str(&pushed.map_err(|error| error.to_string())?);
        Ok(())
    }

    fn finish(&mut self, text: &mut String) -> Result<(), String> {
        let finished = Python::attach(|py| self.0.bind(py).call_method0("finish")?.extract::<String>());
        text.push_str(&finished.map_err(|error| error.to_string())?);
        Ok(())
    }
}

/// What decodes one output: a `Detokenizer` as it is now, or any object with its methods.
pub fn decoder(given: &Bound<'_, PyAny>) -> Box<dyn Decode> {
    match given.cast::<Detokenizer>() {
        Ok(detokenizer) => Box::new(detokenizer.get().lock(given.py()).clone()),
        Err(_) => Box::new(Foreign(given.clone().unbind())),
    }
}
