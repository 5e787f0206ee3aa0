//! The exceptions that Python sees: one table, and who raises what.

use lightllm_cache_server::client::Error as CacheClientError;
use lightllm_journal::Error as JournalError;
use lightllm_router::Error;
use lightllm_simulator::Error as SimulationError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyModule, PyTuple, PyType};

macro_rules! tree {
    ($($name:ident ($($base:ident),+) $doc:literal)+) => {
        /// Names of the exceptions.
        #[derive(Clone, Copy, Debug)]
        pub enum Class {
            $(#[doc = $doc] $name,)+
        }

        /// Name, bases (rows above, or builtins), docstring.
        const ROWS: &[(&str, &[&str], &str)] = &[$((stringify!($name), &[$(stringify!($base)),+], $doc),)+];
    };
}

tree! {
    SchedulerError (Exception) "A call that the scheduler refuses. Its state is as before the call."
    InvalidArgument (SchedulerError, ValueError) "An argument is out of its range."
    InvalidConfig (SchedulerError, ValueError) "A setting is out of its range, or two contradict each other."
    ClockRanBackwards (SchedulerError, ValueError) "`now` is earlier than in a call before."
    QueueFull (SchedulerError) "The queue is at its bound; nothing was queued."
    DeadlineMissed (SchedulerError) "The first token can't be there by the deadline, and late ones are refused."
    PromptTooLong (SchedulerError) "The prompt alone is longer than the context."
    ContextExceeded (SchedulerError) "Prompt and output together are longer than the context."
    TooLargeForPool (SchedulerError) "The request would not fit into the KV cache if it ran alone."
    TooManySiblings (SchedulerError) "More outputs of one prompt than requests can run at once."
    BadImage (SchedulerError) "The images of a prompt are not in order, not apart, or not within it."
    NoSuchImage (SchedulerError) "A request has no image of this index."
    EmptyPrompt (SchedulerError) "A prompt has one token at least."
    DuplicateId (SchedulerError) "A request with this id has not ended yet."
    NothingToDo (SchedulerError) "No token was asked for, and no log-probabilities of the prompt either."
    UnexpectedStep (SchedulerError) "A result for a step that is not the oldest unanswered one."
    BadResult (SchedulerError) "A result that contradicts its plan."
    SchedulerBroken (SchedulerError, RuntimeError) "An invariant of the scheduler does not hold; it is of no use any more."
    CacheError (Exception) "A call that the cache did not do."
    CacheGone (CacheError, ConnectionError) "The cache manager has ended; its successor is another one."
    CacheTimeout (CacheError, TimeoutError) "No answer came in time, and the call is withdrawn."
    CacheTooLarge (CacheError) "Items that never fit into the cache's memory together."
    CacheRefused (CacheError, ValueError) "A call that breaks the contract; it changed nothing."
    CacheCorrupt (CacheError, RuntimeError) "What is in the shared memory is not what the cache manager says."
    InputError (ValueError) "A trace, a journal, a cost model or a setting of a simulation that can't be used."
}

static CLASSES: PyOnceLock<Vec<Py<PyType>>> = PyOnceLock::new();

/// Makes the classes, once a process, and adds them to the module.
pub fn add_classes(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let classes = CLASSES.get_or_try_init(module.py(), || create(module.py()))?;
    for ((name, ..), class) in ROWS.iter().zip(classes) {
        module.add(*name, class)?;
    }
    Ok(())
}

fn create(py: Python<'_>) -> PyResult<Vec<Py<PyType>>> {
    let builtins = py.import("builtins")?;
    let made = PyDict::new(py);
    let mut classes = Vec::with_capacity(ROWS.len());
    for (name, bases, doc) in ROWS {
        let bases = bases.iter().map(|base| match made.get_item(base)? {
            Some(class) => Ok(class),
            None => builtins.getattr(*base),
        });
        let bases = PyTuple::new(py, bases.collect::<PyResult<Vec<_>>>()?)?;
        let body = PyDict::new(py);
        body.set_item("__module__", "lightllm_rs._core")?;
        body.set_item("__doc__", doc)?;
        let class = py.get_type::<PyType>().call1((*name, bases, body))?.cast_into::<PyType>()?;
        made.set_item(name, &class)?;
        classes.push(class.unbind());
    }
    Ok(classes)
}

impl Class {
    /// An exception with attributes, or what went wrong when it was made.
    pub fn error<'py>(self, py: Python<'py>, message: String, attributes: &[(&str, Bound<'py, PyAny>)]) -> PyErr {
        let classes = CLASSES.get(py).expect("the classes are made when the module is");
        let make = || {
            let error = classes[self as usize].bind(py).call1((message,))?;
            for (name, value) in attributes {
                error.setattr(*name, value)?;
            }
            PyResult::Ok(PyErr::from_value(error))
        };
        make().unwrap_or_else(|failure| failure)
    }
}

macro_rules! attributes {
    ($py:expr, $($name:literal: $value:expr),*) => {
        &[$(($name, $value.into_pyobject($py).map_err(PyErr::from)?.into_any())),*]
    };
}

/// An argument out of its range: `requirement` goes on from "`parameter` ".
pub fn invalid_argument(py: Python<'_>, parameter: &str, requirement: &str) -> PyErr {
    let make = || -> PyResult<PyErr> {
        let attributes = attributes!(py, "parameter": parameter, "reason": requirement);
        Ok(Class::InvalidArgument.error(py, format!("{parameter} {requirement}"), attributes))
    };
    make().unwrap_or_else(|failure| failure)
}

/// `now` went backwards.
pub fn clock_ran_backwards(py: Python<'_>, now: u64, latest: u64) -> PyErr {
    let make = || -> PyResult<PyErr> {
        let message = format!("now is {now}, but an earlier call said {latest}: time must not run backwards");
        Ok(Class::ClockRanBackwards.error(py, message, attributes!(py, "now": now, "latest": latest)))
    };
    make().unwrap_or_else(|failure| failure)
}

/// The scheduler is of no use any more; `reason` is the text of its panic.
pub fn scheduler_broken(py: Python<'_>, reason: &str) -> PyErr {
    let make = || -> PyResult<PyErr> {
        let message = format!("an invariant of the scheduler does not hold: {reason}; make a new scheduler");
        Ok(Class::SchedulerBroken.error(py, message, attributes!(py, "reason": reason)))
    };
    make().unwrap_or_else(|failure| failure)
}

/// An invariant does not hold in a call that leaves nothing behind; `reason` is the text of its panic.
pub fn broken(py: Python<'_>, reason: &str) -> PyErr {
    let make = || -> PyResult<PyErr> {
        let message = format!("an invariant does not hold: {reason}; this is a fault of lightllm-rs, please report it");
        Ok(Class::SchedulerBroken.error(py, message, attributes!(py, "reason": reason)))
    };
    make().unwrap_or_else(|failure| failure)
}

/// The exception for an error of the scheduler.
pub fn scheduler_error(py: Python<'_>, error: &Error) -> PyErr {
    typed(py, error).unwrap_or_else(|failure| failure)
}

/// The exception for a journal that can't be read.
pub fn journal_error(py: Python<'_>, error: &JournalError) -> PyErr {
    let (path, line, parameter) = match error {
        JournalError::Io { name, .. } | JournalError::NoHeader { name, .. } => (Some(name), None, None),
        JournalError::BadLine { name, line, field, .. } => (Some(name), Some(*line), field.as_ref()),
        _ => (None, None, None),
    };
    input_error(py, error.to_string(), path.map(String::as_str), line, parameter.map(String::as_str))
}

/// The exception for a simulation that can't be done.
pub fn simulation_error(py: Python<'_>, error: &SimulationError) -> PyErr {
    let (path, line, parameter) = match error {
        SimulationError::Setting { setting, .. } => (None, None, Some(setting.as_str())),
        SimulationError::Line { path, line, .. } => (Some(path.as_str()), Some(*line), None),
        SimulationError::File { path, .. } => (Some(path.as_str()), None, None),
        _ => (None, None, None),
    };
    input_error(py, error.to_string(), path, line, parameter)
}

/// The exception for a call of the cache's client.
pub fn cache_error(py: Python<'_>, error: &CacheClientError) -> PyErr {
    let class = match error {
        CacheClientError::Gone => Class::CacheGone,
        CacheClientError::Timeout => Class::CacheTimeout,
        CacheClientError::TooLarge { .. } => Class::CacheTooLarge,
        CacheClientError::Refused(_) => Class::CacheRefused,
        CacheClientError::Corrupt(_) => Class::CacheCorrupt,
        _ => Class::CacheError,
    };
    let make = || -> PyResult<PyErr> {
        let CacheClientError::TooLarge { needed, total, .. } = error else {
            return Ok(class.error(py, error.to_string(), &[]));
        };
        Ok(class.error(py, error.to_string(), attributes!(py, "needed": needed, "total": total)))
    };
    make().unwrap_or_else(|failure| failure)
}

/// The exception for a text that is not JSON.
pub fn bad_json(py: Python<'_>, error: &serde_json::Error) -> PyErr {
    input_error(py, format!("the setups: {error}"), None, None, None)
}

fn input_error(
    py: Python<'_>,
    message: String,
    path: Option<&str>,
    line: Option<u64>,
    parameter: Option<&str>,
) -> PyErr {
    let make = || -> PyResult<PyErr> {
        let attributes = attributes!(py, "path": path, "line": line, "parameter": parameter);
        Ok(Class::InputError.error(py, message, attributes))
    };
    make().unwrap_or_else(|failure| failure)
}

fn typed(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let raise = |class: Class, attributes: &[_]| Ok(class.error(py, error.to_string(), attributes));
    match error {
        Error::InvalidConfig { setting, reason } => {
            raise(Class::InvalidConfig, attributes!(py, "setting": setting, "reason": reason))
        }
        Error::QueueFull { requests, tokens, retry_after_s } => raise(
            Class::QueueFull,
            attributes!(py, "requests": requests, "tokens": tokens, "retry_after_s": retry_after_s),
        ),
        Error::DeadlineMissed { retry_after_s } => {
            raise(Class::DeadlineMissed, attributes!(py, "retry_after_s": retry_after_s))
        }
        Error::PromptTooLong { prompt, context } => {
            raise(Class::PromptTooLong, attributes!(py, "prompt": prompt, "context": context))
        }
        Error::ContextExceeded { prompt, max_tokens, context } => raise(
            Class::ContextExceeded,
            attributes!(py, "prompt": prompt, "max_tokens": max_tokens, "context": context),
        ),
        Error::TooLargeForPool { needed, pages } => {
            raise(Class::TooLargeForPool, attributes!(py, "needed": needed, "pages": pages))
        }
        Error::TooManySiblings { requests, slots } => {
            raise(Class::TooManySiblings, attributes!(py, "requests": requests, "slots": slots))
        }
        Error::BadImage { image, reason } => raise(Class::BadImage, attributes!(py, "image": image, "reason": reason)),
        Error::NoSuchImage { request, image, images } => {
            raise(Class::NoSuchImage, attributes!(py, "request": request.0, "image": image, "images": images))
        }
        Error::EmptyPrompt => raise(Class::EmptyPrompt, &[]),
        Error::DuplicateId(request) => raise(Class::DuplicateId, attributes!(py, "request": request.0)),
        // A request of Python's has been checked for it already.
        Error::PriorityOutOfRange { .. } => {
            raise(Class::InvalidArgument, attributes!(py, "parameter": "priority", "reason": error.to_string()))
        }
        Error::NothingToDo => raise(Class::NothingToDo, &[]),
        Error::UnexpectedStep { got, expected } => {
            raise(Class::UnexpectedStep, attributes!(py, "got": got, "expected": expected))
        }
        Error::BadResult { step, row, reason } => {
            raise(Class::BadResult, attributes!(py, "step": step, "row": row, "reason": reason))
        }
        // The enum may grow: then the base class tells it until it has a row of its own.
        _ => raise(Class::SchedulerError, &[]),
    }
}
