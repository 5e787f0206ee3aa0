//! How long a step takes.
//!
//! A cost model is a JSON object, written by hand or by `lightllm-rs profile`, which measures a backend:
//!
//! ```json
//! {"version": 1, "kind": "constant", "source": {"what": "a mock backend"}, "ms": 20.0}
//! ```
//!
//! - `version`: 1.
//! - `source`: anything; where the figures are from. It is kept and not looked at.
//! - `idle_ms`: what a step takes more if the backend has nothing to do when it comes (0 if left out): what the host has
//!   to do for it is hidden by the step before it otherwise.
//! - `kind`: one of `constant`, `fitted`, `table`, `roofline`; the fields of each are those of [`Constant`],
//!   [`Fitted`], [`Table`] and [`Roofline`].
//!
//! All times are in milliseconds. A step without rows (which only tells the backend of slots that are free) takes none.

mod fitted;
mod roofline;
mod shape;
mod table;

use serde::{Deserialize, Serialize};

pub use fitted::Fitted;
pub use roofline::{Gpu, ModelShape, Roofline};
pub use shape::StepShape;
pub use table::Table;

use crate::error::{Error, Result, shown};

/// Longest step that is believed: an hour.
const LONGEST_MS: f64 = 3_600_000.0;

/// The version of the format.
const VERSION: u32 = 1;

/// A cost model with where it is from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostModel {
    /// Version of the format: 1.
    pub version: u32,
    /// Where the figures are from: free for whoever wrote them.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub source: serde_json::Value,
    /// Milliseconds that a step takes more if none is under way when it comes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub idle_ms: f64,
    /// The model itself.
    #[serde(flatten)]
    pub kind: CostKind,
}

/// The kinds of models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CostKind {
    /// Every step takes the same time.
    Constant(Constant),
    /// A linear function of what is in the step.
    Fitted(Fitted),
    /// Measured points, and what is between them.
    Table(Table),
    /// Arithmetic and memory traffic over what a GPU can do.
    Roofline(Roofline),
}

/// Every step takes the same time, as a mock backend's does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Constant {
    /// Milliseconds of a step.
    pub ms: f64,
}

impl CostModel {
    /// Checks every number.
    pub fn validate(&self) -> Result<()> {
        if self.version != VERSION {
            let reason = format!("is {}: this program reads version {VERSION}", self.version);
            return Err(Error::setting("cost.version", reason));
        }
        not_negative("cost.idle_ms", self.idle_ms)?;
        match &self.kind {
            CostKind::Constant(constant) => not_negative("cost.ms", constant.ms),
            CostKind::Fitted(fitted) => fitted.validate(),
            CostKind::Table(table) => table.validate(),
            CostKind::Roofline(roofline) => roofline.validate(),
        }
    }

    /// The model made ready for many calls.
    pub(crate) fn prepare(&self) -> Result<Prepared> {
        self.validate()?;
        let steps = match &self.kind {
            CostKind::Constant(constant) => Steps::Constant(constant.ms),
            CostKind::Fitted(fitted) => Steps::Fitted(*fitted),
            CostKind::Table(table) => Steps::Table(table.filled()),
            CostKind::Roofline(roofline) => Steps::Roofline(roofline.clone()),
        };
        Ok(Prepared { steps, idle_ms: self.idle_ms })
    }
}

/// A model whose numbers were checked.
#[derive(Debug)]
pub(crate) struct Prepared {
    steps: Steps,
    idle_ms: f64,
}

#[derive(Debug)]
enum Steps {
    Constant(f64),
    Fitted(Fitted),
    Table(table::Filled),
    Roofline(Roofline),
}

impl Prepared {
    /// Nanoseconds of a step. `idle`: none is under way when it comes.
    pub fn step_ns(&self, shape: &StepShape, idle: bool) -> u64 {
        if shape.prefill_tokens + shape.decode_rows == 0 {
            return 0;
        }
        let ms = match &self.steps {
            Steps::Constant(ms) => *ms,
            Steps::Fitted(fitted) => fitted.ms(shape),
            Steps::Table(table) => table.ms(shape),
            Steps::Roofline(roofline) => roofline.ms(shape),
        };
        let host_ms = if idle { self.idle_ms } else { 0.0 };
        ((ms + host_ms).clamp(0.0, LONGEST_MS) * 1e6).round() as u64
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(ms: &f64) -> bool {
    *ms == 0.0
}

/// Checks a number that may not be below 0.
fn not_negative(setting: &str, value: f64) -> Result<()> {
    if value.is_finite() && (0.0..=LONGEST_MS).contains(&value) {
        return Ok(());
    }
    Err(Error::setting(setting, format!("is {}: it must be from 0 to {LONGEST_MS}", shown(value))))
}
