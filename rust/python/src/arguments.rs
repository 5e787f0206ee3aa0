//! Arguments out of Python, checked: each message names the parameter and says what is allowed.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt, PyList, PyString, PyTuple};
use serde::Serialize;
use serde::de::{DeserializeOwned, IntoDeserializer};

use crate::errors::invalid_argument;

/// A value that may be left out.
pub type Given<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// Integers that arguments may be.
pub trait Integer: Copy {
    /// The range, as messages name it.
    const RANGE: &'static str;

    /// The value of a Python integer, if it is in range.
    fn read(value: &Bound<'_, PyAny>) -> Option<Self>;
}

macro_rules! integers {
    ($($kind:ty: $range:literal),+) => {
        $(impl Integer for $kind {
            const RANGE: &'static str = $range;

            fn read(value: &Bound<'_, PyAny>) -> Option<Self> {
                value.extract().ok()
            }
        })+
    };
}

integers! {
    u32: "from 0 to 4294967295",
    i32: "from -2147483648 to 2147483647",
    u64: "from 0 to 18446744073709551615",
    u128: "from 0 to 2**128 - 1",
    usize: "from 0 to 18446744073709551615"
}

/// A `TypeError` that names the parameter.
pub fn wrong_type(parameter: &str, expected: &str, value: &Bound<'_, PyAny>) -> PyErr {
    let found = value.get_type().qualname().map_or_else(|_| "?".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!("{parameter} must be {expected}, not {found}"))
}

/// An integer. `TypeError` for other types, `InvalidArgument` out of range.
pub fn integer<T: Integer>(value: &Bound<'_, PyAny>, parameter: &str) -> PyResult<T> {
    if let Some(integer) = T::read(value) {
        return Ok(integer);
    }
    // What has `__index__` counts as an integer, as everywhere in Python (NumPy's integers are no `int`).
    if !value.is_instance_of::<PyInt>() && !value.hasattr("__index__")? {
        return Err(wrong_type(parameter, "an integer", value));
    }
    Err(invalid_argument(value.py(), parameter, &format!("must be an integer {}", T::RANGE)))
}

/// An integer, or the default where it is left out or None.
pub fn integer_or<T: Integer>(value: Given<'_, '_>, parameter: &str, default: T) -> PyResult<T> {
    value.map_or(Ok(default), |value| integer(value, parameter))
}

/// A finite or infinite number. `TypeError` for other types.
pub fn number(value: &Bound<'_, PyAny>, parameter: &str) -> PyResult<f64> {
    if !value.is_instance_of::<PyFloat>() && !value.is_instance_of::<PyInt>() && !value.hasattr("__float__")? {
        return Err(wrong_type(parameter, "a number", value));
    }
    value.extract().map_err(|_| invalid_argument(value.py(), parameter, "must be a number that a float can hold"))
}

/// True or False, or the default.
pub fn boolean_or(value: Given<'_, '_>, parameter: &str, default: bool) -> PyResult<bool> {
    let Some(value) = value else { return Ok(default) };
    value.extract().map_err(|_| wrong_type(parameter, "True or False", value))
}

/// A string.
pub fn string(value: &Bound<'_, PyAny>, parameter: &str) -> PyResult<String> {
    if !value.is_instance_of::<PyString>() {
        return Err(wrong_type(parameter, "a string", value));
    }
    value.extract().map_err(|_| invalid_argument(value.py(), parameter, "must be text that UTF-8 can hold"))
}

/// One of the names that an enum has in JSON, or the default.
pub fn named_or<T: DeserializeOwned>(value: Given<'_, '_>, parameter: &str, default: T) -> PyResult<T> {
    let Some(value) = value else { return Ok(default) };
    let given = string(value, parameter)?;
    let read = T::deserialize(given.as_str().into_deserializer());
    read.map_err(|error: serde::de::value::Error| invalid_argument(value.py(), parameter, &format!("is an {error}")))
}

/// The name of an enum's value in JSON.
pub fn name_of<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        other => unreachable!("an enum without fields is a string in JSON, not {other:?}"),
    }
}

/// The items of a list, a tuple or another iterable that is no string.
pub fn items<'py, T>(
    value: &Bound<'py, PyAny>,
    parameter: &str,
    mut read: impl FnMut(&Bound<'py, PyAny>, &str) -> PyResult<T>,
) -> PyResult<Vec<T>> {
    if value.is_instance_of::<PyString>() {
        return Err(wrong_type(parameter, "a sequence", value));
    }
    let Ok(iterator) = value.try_iter() else { return Err(wrong_type(parameter, "a sequence", value)) };
    iterator.enumerate().map(|(index, item)| read(&item?, &format!("{parameter}[{index}]"))).collect()
}

/// Integers in a list, a tuple or another sequence.
pub fn integers<'py, T: Integer>(value: &Bound<'py, PyAny>, parameter: &str) -> PyResult<Vec<T>>
where
    Vec<T>: for<'a> FromPyObject<'a, 'py>,
{
    // The names of the items are made only where one is wrong: prompts are long. Memory is taken at once only for what
    // Python itself counts: another object's `__len__` may say anything.
    if (value.is_exact_instance_of::<PyList>() || value.is_exact_instance_of::<PyTuple>())
        && let Ok(integers) = value.extract()
    {
        return Ok(integers);
    }
    items(value, parameter, |item, name| integer(item, name))
}

/// A frozen object of this module.
pub fn instance<'a, 'py, T: pyo3::PyClass>(
    value: &'a Bound<'py, PyAny>,
    parameter: &str,
) -> PyResult<&'a Bound<'py, T>> {
    value.cast::<T>().map_err(|_| wrong_type(parameter, &format!("a {}", T::NAME), value))
}

/// A tuple of what an iterator gives.
pub fn tuple<'py, T: IntoPyObject<'py>>(
    py: Python<'py>,
    values: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
) -> PyResult<Bound<'py, PyTuple>> {
    PyTuple::new(py, values)
}
