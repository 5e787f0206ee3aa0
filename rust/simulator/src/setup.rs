//! What is to be simulated.

use std::path::PathBuf;

use lightllm_router::SchedulerConfig;
use serde::{Deserialize, Serialize};

use crate::cost::CostModel;
use crate::error::{Error, Result};
use crate::scheduler::{default_config, read_config};
use crate::workload::Workload;

/// One simulation. Everything but `workload` and `cost` has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// What the report is called; free text.
    #[serde(default)]
    pub name: String,
    /// Who asks for what, and when.
    pub workload: Workload,
    /// What the server has served by then, one workload after the other. Nothing of it is reported, but the scheduler has
    /// learned from it and the prefix cache is full of it. Prompts of a trace are the same as in another run of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Before>,
    /// How long a step takes.
    pub cost: CostModel,
    /// The scheduler's settings. Those that are left out have the scheduler's defaults, but for `pages` (28,672) and
    /// `context` (131,072), which a server learns from its GPU and its model. `policy` may be a name alone. The seed
    /// is the setup's.
    #[serde(default = "default_config", deserialize_with = "read_config")]
    pub scheduler: SchedulerConfig,
    /// What a good request is.
    #[serde(default)]
    pub slo: Slo,
    /// When to stop asking. What was asked by then is served to the end.
    #[serde(default)]
    pub limits: Limits,
    /// A request that is too large ever to run is an error that names its place, and not one of the refused.
    #[serde(default)]
    pub strict: bool,
    /// Of everything that draws, the scheduler's policy included.
    #[serde(default)]
    pub seed: u64,
    /// Where to write a journal, as `serve --journal` does.
    #[serde(default)]
    pub journal: Option<PathBuf>,
    /// Where to write one line for each request, in the order in which they end.
    #[serde(default)]
    pub csv: Option<PathBuf>,
}

/// A workload that is served to its end before the one that is looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Before {
    /// Who asks for what, and when, counted from the end of the one before.
    pub workload: Workload,
    /// When to stop asking.
    #[serde(default)]
    pub limits: Limits,
}

/// Service level objectives: bounds that a good request keeps. A bound that is left out is always kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Slo {
    /// Milliseconds from arrival to the first token.
    pub ttft_ms: Option<f64>,
    /// Milliseconds between the tokens of a request, as the mean over the request.
    pub itl_ms: Option<f64>,
    /// Milliseconds from arrival to the last token.
    pub e2e_ms: Option<f64>,
}

/// Where a workload is cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests at most.
    pub requests: Option<u64>,
    /// Seconds of arrivals at most, after the rate was scaled.
    pub seconds: Option<f64>,
}

impl Setup {
    /// Reads a setup out of JSON. [`Error::Setting`] names the field that is wrong by its path, as far as that is known:
    /// within a cost model or a source of requests the message alone does.
    pub fn read(value: serde_json::Value) -> Result<Self> {
        serde_path_to_error::deserialize(value).map_err(|error| {
            let path = error.path().to_string();
            let reason = error.into_inner().to_string();
            match reason.split_once(": ") {
                // The settings of the scheduler are read in two steps, of which the second knows the rest of the path.
                Some((inner, rest)) if path == "scheduler" && inner.starts_with("scheduler") => {
                    Error::setting(inner, rest)
                }
                _ if path == "." => Error::setting("setup", reason),
                _ => Error::setting(path, reason),
            }
        })
    }

    /// The scheduler's settings with the seed.
    pub(crate) fn config(&self) -> SchedulerConfig {
        SchedulerConfig { seed: self.seed, ..self.scheduler }
    }
}

impl Slo {
    pub(crate) fn validate(&self) -> Result<()> {
        for (name, bound) in [("ttft_ms", self.ttft_ms), ("itl_ms", self.itl_ms), ("e2e_ms", self.e2e_ms)] {
            if bound.is_some_and(|bound| !(bound.is_finite() && bound > 0.0)) {
                return Err(Error::setting(format!("slo.{name}"), "must be above 0 milliseconds"));
            }
        }
        Ok(())
    }
}

impl Limits {
    pub(crate) fn validate(&self) -> Result<()> {
        if self.requests == Some(0) {
            return Err(Error::setting("limits.requests", "is 0: it must be at least 1"));
        }
        if self.seconds.is_some_and(|seconds| !(seconds.is_finite() && seconds > 0.0)) {
            return Err(Error::setting("limits.seconds", "must be above 0"));
        }
        Ok(())
    }
}
