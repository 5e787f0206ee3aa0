use serde::{Deserialize, Serialize};

use super::{StepShape, not_negative};
use crate::error::Result;

/// A linear function. Coefficients are in milliseconds; those that are left out are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fitted {
    /// Of any step.
    pub base_ms: f64,
    /// Of each prefill token.
    pub prefill_token_ms: f64,
    /// Of each decode row.
    pub decode_row_ms: f64,
    /// Of each position that a decode row attends to.
    pub decode_context_ms: f64,
    /// Of each pair of a prefill token and a position that it attends to.
    pub prefill_context_ms: f64,
}

impl Fitted {
    pub(super) fn validate(&self) -> Result<()> {
        not_negative("cost.base_ms", self.base_ms)?;
        not_negative("cost.prefill_token_ms", self.prefill_token_ms)?;
        not_negative("cost.decode_row_ms", self.decode_row_ms)?;
        not_negative("cost.decode_context_ms", self.decode_context_ms)?;
        not_negative("cost.prefill_context_ms", self.prefill_context_ms)
    }

    pub(super) fn ms(&self, shape: &StepShape) -> f64 {
        self.base_ms
            + self.prefill_token_ms * shape.prefill_tokens as f64
            + self.decode_row_ms * shape.decode_rows as f64
            + self.decode_context_ms * shape.decode_context as f64
            + self.prefill_context_ms * (shape.prefill_context + shape.prefill_own) as f64
    }
}
