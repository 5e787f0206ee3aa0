//! Images of a prompt as Python sees them: tuples.

use std::ops::Range;

use lightllm_router::ImageSpan;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::arguments::{Given, boolean_or, integer, integers, items};
use crate::errors::invalid_argument;

/// Start, number of positions, and whether it is ready.
pub type Triple = (u32, u32, bool);

/// Images of a request, each a [`Triple`].
pub fn images(given: Given<'_, '_>) -> PyResult<Vec<ImageSpan>> {
    let Some(given) = given else { return Ok(Vec::new()) };
    items(given, "images", |item, name| {
        let parts: Vec<Bound<'_, PyAny>> = items(item, name, |part, _| Ok(part.clone()))?;
        let [start, tokens, ready] = parts.as_slice() else {
            return Err(invalid_argument(
                item.py(),
                name,
                "must be a start, a number of tokens and whether it is ready",
            ));
        };
        Ok(ImageSpan {
            start: integer(start, &format!("{name}[0]"))?,
            tokens: integer(tokens, &format!("{name}[1]"))?,
            ready: boolean_or(Some(ready), &format!("{name}[2]"), false)?,
        })
    })
}

/// As a [`Triple`].
pub fn triple(image: &ImageSpan) -> Triple {
    (image.start, image.tokens, image.ready)
}

/// As it is written in Python.
pub fn written(image: &ImageSpan) -> String {
    let ready = if image.ready { "True" } else { "False" };
    format!("({}, {}, {ready})", image.start, image.tokens)
}

/// Images that rows read: the first, and the one after the last.
pub fn range(given: Given<'_, '_>) -> PyResult<Range<u32>> {
    let Some(given) = given else { return Ok(0..0) };
    match integers(given, "images")?.as_slice() {
        [first, after] => Ok(*first..*after),
        _ => Err(invalid_argument(given.py(), "images", "must be the first image and the one after the last")),
    }
}

/// The same as a tuple.
pub fn range_tuple<'py>(py: Python<'py>, range: &Range<u32>) -> PyResult<Bound<'py, PyTuple>> {
    PyTuple::new(py, [range.start, range.end])
}
