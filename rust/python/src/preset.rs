//! The replay of the Past-Future paper's artifact, as Python sees it.

use lightllm_router::PolicyConfig as CorePolicy;
use lightllm_simulator::{PresetSettings, preset_policy, run_preset};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::arguments::{Given, integer_or, integers, items, string};
use crate::errors::{broken, scheduler_error};
use crate::guard::caught;
use crate::policy::PolicyConfig;

/// Replays the artifact of the Past-Future paper, and gives its rows as JSON.
#[pyfunction]
#[pyo3(
    signature = (*, seeds=None, capacity=None, policies=None, policy_seed=None),
    text_signature = "(*, seeds=None, capacity=120000, policies=None, policy_seed=0)"
)]
pub fn past_future_paper(
    py: Python<'_>,
    seeds: Given<'_, '_>,
    capacity: Given<'_, '_>,
    policies: Given<'_, '_>,
    policy_seed: Given<'_, '_>,
) -> PyResult<String> {
    let default = PresetSettings::default();
    let settings = PresetSettings {
        seeds: seeds.map_or(Ok(default.seeds), |seeds| integers(seeds, "seeds"))?,
        capacity: integer_or(capacity, "capacity", default.capacity)?,
        policy_seed: integer_or(policy_seed, "policy_seed", default.policy_seed)?,
        policies: policies.map_or(Ok(default.policies), |policies| items(policies, "policies", policy))?,
    };
    let rows = py.detach(|| caught(|| run_preset(&settings))).map_err(|panic| broken(py, &panic.0))?;
    let rows = rows.map_err(|error| scheduler_error(py, &error))?;
    Ok(serde_json::to_string(&rows).expect("rows are plain data"))
}

/// A name means the settings that the policy has in the paper.
fn policy(value: &Bound<'_, PyAny>, parameter: &str) -> PyResult<CorePolicy> {
    if value.is_instance_of::<PyString>() {
        return preset_policy(&string(value, parameter)?).map_err(|error| scheduler_error(value.py(), &error));
    }
    PolicyConfig::given(value, parameter)
}
