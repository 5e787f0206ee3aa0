//! Frames, for the tests that hold the two languages together.

use lightllm_wire as wire;
use pyo3::create_exception;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

create_exception!(lightllm_rs._core, FrameError, PyValueError, "A frame that does not decode.");

/// Decodes a frame of the named union and encodes it again.
#[pyfunction]
pub fn reencode_frame<'py>(py: Python<'py>, union: &str, frame: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    fn again<T: serde::Serialize + serde::de::DeserializeOwned>(frame: &[u8]) -> PyResult<Vec<u8>> {
        let message: T = wire::decode(frame).map_err(|error| FrameError::new_err(error.to_string()))?;
        Ok(wire::encode(&message))
    }
    let frame = match union {
        "ClientMessage" => again::<wire::ClientMessage>(frame)?,
        "RouterMessage" => again::<wire::RouterMessage>(frame)?,
        "RankMessage" => again::<wire::RankMessage>(frame)?,
        "PlanMessage" => again::<wire::PlanMessage>(frame)?,
        "ChildMessage" => again::<wire::ChildMessage>(frame)?,
        "SupervisorMessage" => again::<wire::SupervisorMessage>(frame)?,
        "HealthMessage" => again::<wire::HealthMessage>(frame)?,
        "MetricsMessage" => again::<wire::MetricsMessage>(frame)?,
        "TelemetryAnswer" => again::<wire::TelemetryAnswer>(frame)?,
        "CacheRequest" => again::<wire::cache::CacheRequest>(frame)?,
        "CacheReply" => again::<wire::cache::CacheReply>(frame)?,
        "CacheStart" => again::<wire::cache::CacheStart>(frame)?,
        "RouterStart" => again::<wire::RouterStart>(frame)?,
        other => return Err(PyValueError::new_err(format!("there is no union {other}"))),
    };
    Ok(PyBytes::new(py, &frame))
}
