//! A grid of measured steps.

use serde::{Deserialize, Serialize};

use super::{StepShape, not_negative};
use crate::error::{Error, Result};

/// Milliseconds of steps over a grid of three axes, as `lightllm-rs profile` measures them.
///
/// Between points it interpolates linearly along each axis. Beyond the last point it goes on as between the last two
/// (never downwards); below the first one it stays at the first.
///
/// ```json
/// {"version": 1, "kind": "table", "prefill_tokens": [0, 512, 2048], "decode_rows": [0, 64], "context": [64, 4096],
///  "ms": [[[null, null], [8.0, 9.0]], [[20.0, 20.0], [24.0, 25.0]], [[70.0, 70.0], [75.0, 77.0]]]}
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Prefill tokens of the step, ascending.
    pub prefill_tokens: Vec<f64>,
    /// Decode rows of the step, ascending.
    pub decode_rows: Vec<f64>,
    /// Positions that each decode row attends to (the mean over them), ascending.
    pub context: Vec<f64>,
    /// `ms[i][j][k]` is of `prefill_tokens[i]`, `decode_rows[j]` and `context[k]`. A point that was not measured is
    /// null: it is guessed from the two that are closest along one axis, first the context, then the prefill tokens,
    /// then the rows; where no line has two, from one.
    pub ms: Vec<Vec<Vec<Option<f64>>>>,
    /// Of each pair of a prefill token and a position before its row: the table is of prefills from position 0.
    #[serde(default)]
    pub prefill_context_ms: f64,
}

impl Table {
    pub(super) fn validate(&self) -> Result<()> {
        axis("cost.prefill_tokens", &self.prefill_tokens)?;
        axis("cost.decode_rows", &self.decode_rows)?;
        axis("cost.context", &self.context)?;
        let (prefills, rows, contexts) = (self.prefill_tokens.len(), self.decode_rows.len(), self.context.len());
        let fits = self.ms.len() == prefills
            && self.ms.iter().all(|plane| plane.len() == rows && plane.iter().all(|line| line.len() == contexts));
        if !fits {
            let reason = format!("must have {prefills} lists of {rows} lists of {contexts} numbers, as the axes have");
            return Err(Error::setting("cost.ms", reason));
        }
        let mut measured = self.ms.iter().flatten().flatten().flatten().peekable();
        if measured.peek().is_none() {
            return Err(Error::setting("cost.ms", "has no number: measure one point at least"));
        }
        measured.try_for_each(|ms| not_negative("cost.ms", *ms))?;
        not_negative("cost.prefill_context_ms", self.prefill_context_ms)
    }

    /// The table without gaps.
    pub(super) fn filled(&self) -> Filled {
        let axes = [self.prefill_tokens.clone(), self.decode_rows.clone(), self.context.clone()];
        let mut ms: Vec<Option<f64>> = self.ms.iter().flatten().flatten().copied().collect();
        let strides = [axes[1].len() * axes[2].len(), axes[2].len(), 1];
        for least in [2, 1] {
            for along in [2, 0, 1] {
                fill(&mut ms, &axes[along], strides[along], least);
            }
        }
        let ms = ms.into_iter().map(|ms| ms.expect("one point was measured, and each axis was filled")).collect();
        Filled { axes, strides, ms, prefill_context_ms: self.prefill_context_ms }
    }
}

/// Fills the gaps of each line along one axis that has so many points.
fn fill(ms: &mut [Option<f64>], axis: &[f64], stride: usize, least: usize) {
    for first in (0..ms.len()).filter(|index| (index / stride).is_multiple_of(axis.len())) {
        let known: Vec<(f64, f64)> =
            axis.iter().enumerate().filter_map(|(i, at)| Some((*at, ms[first + i * stride]?))).collect();
        if known.len() < least {
            continue;
        }
        let (known_at, known_ms): (Vec<f64>, Vec<f64>) = known.into_iter().unzip();
        for (i, at) in axis.iter().enumerate() {
            let gap = &mut ms[first + i * stride];
            if gap.is_none() {
                let (low, part) = place(&known_at, *at);
                let high = known_ms[(low + 1).min(known_ms.len() - 1)];
                *gap = Some(between(known_ms[low], high, part).max(0.0));
            }
        }
    }
}

/// See [`Table`].
#[derive(Debug)]
pub(crate) struct Filled {
    axes: [Vec<f64>; 3],
    strides: [usize; 3],
    ms: Vec<f64>,
    prefill_context_ms: f64,
}

impl Filled {
    pub fn ms(&self, shape: &StepShape) -> f64 {
        let context = if shape.decode_rows == 0 { 0.0 } else { shape.decode_context as f64 / shape.decode_rows as f64 };
        let at = [shape.prefill_tokens as f64, shape.decode_rows as f64, context];
        let places: [(usize, f64); 3] = std::array::from_fn(|along| {
            let (low, part) = place(&self.axes[along], at[along]);
            (low, part.max(0.0))
        });
        let table = self.corner(0, 0, &places);
        table + self.prefill_context_ms * shape.prefill_context as f64
    }

    fn corner(&self, along: usize, offset: usize, places: &[(usize, f64); 3]) -> f64 {
        let Some((low, part)) = places.get(along) else { return self.ms[offset] };
        let offset = offset + low * self.strides[along];
        let at_low = self.corner(along + 1, offset, places);
        if *part <= 0.0 || low + 1 == self.axes[along].len() {
            return at_low;
        }
        between(at_low, self.corner(along + 1, offset + self.strides[along], places), *part)
    }
}

/// The point below (or the last but one), and how far towards the next one, in parts of the way: below 0
/// before the first point, above 1 behind the last.
fn place(axis: &[f64], at: f64) -> (usize, f64) {
    let above = axis.partition_point(|point| *point <= at);
    let low = above.saturating_sub(1).min(axis.len().saturating_sub(2));
    match axis.get(low + 1) {
        Some(next) => (low, (at - axis[low]) / (next - axis[low])),
        None => (low, 0.0),
    }
}

/// Linear between two values; beyond the second one never downwards.
fn between(low: f64, high: f64, part: f64) -> f64 {
    if part > 1.0 { high + (high - low).max(0.0) * (part - 1.0) } else { low + (high - low) * part }
}

fn axis(setting: &str, points: &[f64]) -> Result<()> {
    points.iter().try_for_each(|point| not_negative(setting, *point))?;
    if points.is_empty() || !points.is_sorted_by(|a, b| a < b) {
        return Err(Error::setting(setting, "must have one point at least, in ascending order"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(prefill_tokens: u64, decode_rows: u64, context: u64) -> StepShape {
        StepShape { prefill_tokens, decode_rows, decode_context: decode_rows * context, ..StepShape::default() }
    }

    fn table(ms: Vec<Vec<Vec<Option<f64>>>>) -> Table {
        let (prefill_tokens, decode_rows) = (vec![0.0, 100.0], vec![0.0, 10.0, 20.0]);
        Table { prefill_tokens, decode_rows, context: vec![50.0, 150.0], ms, prefill_context_ms: 0.0 }
    }

    /// Base 2, a prefill token 0.1, a row 0.5, a row and a position 0.01; what can't be measured is null.
    fn linear() -> Table {
        let ms = |prefill: f64, rows: f64, context: f64| 2.0 + 0.1 * prefill + 0.5 * rows + 0.01 * rows * context;
        let grid = table(Vec::new());
        let line = |p: f64, r: f64| grid.context.iter().map(|c| (p + r > 0.0).then(|| ms(p, r, *c))).collect();
        let plane = |p: f64| grid.decode_rows.iter().map(|r| line(p, *r)).collect();
        table(grid.prefill_tokens.iter().map(|p| plane(*p)).collect())
    }

    fn assert_ms(table: &Table, shape: StepShape, expected: f64) {
        table.validate().expect("the table is good");
        let ms = table.filled().ms(&shape);
        assert!((ms - expected).abs() < 1e-9, "{shape:?}: {ms} is not {expected}");
    }

    #[test]
    fn a_function_that_is_linear_along_each_axis_is_met_everywhere() {
        let table = linear();
        for (prefill, rows, context) in [(100, 10, 50), (50, 15, 100), (37, 3, 60), (100, 0, 0), (0, 20, 150)] {
            let (p, r, c) = (prefill as f64, rows as f64, (context as f64).max(50.0));
            assert_ms(&table, shape(prefill, rows, context), 2.0 + 0.1 * p + 0.5 * r + 0.01 * r * c);
        }
        // Beyond the last points it goes on as before them, below the first ones it stays.
        assert_ms(&table, shape(300, 40, 350), 2.0 + 30.0 + 20.0 + 140.0);
        assert_ms(&table, shape(0, 10, 20), 2.0 + 5.0 + 5.0);
    }

    #[test]
    fn gaps_are_guessed_from_their_neighbours() {
        let mut table = linear();
        table.ms[0][1][0] = None;
        table.ms[1][2] = vec![None, None];
        table.ms[1][0][1] = None;
        assert_ms(&table, shape(100, 20, 50), 2.0 + 10.0 + 10.0 + 10.0);
        assert_ms(&table, shape(100, 5, 50), 2.0 + 10.0 + 2.5 + 2.5);
        // One point along each axis is left, and stands for its neighbour.
        table.ms = vec![vec![vec![None, None], vec![None, None], vec![None, Some(7.0)]], vec![vec![None, None]; 3]];
        assert_ms(&table, shape(50, 3, 70), 7.0);
    }

    #[test]
    fn a_table_that_falls_does_not_fall_for_ever() {
        let falling = Table {
            prefill_tokens: vec![0.0],
            decode_rows: vec![1.0, 2.0],
            context: vec![1.0],
            ms: vec![vec![vec![Some(5.0)], vec![Some(4.0)]]],
            prefill_context_ms: 0.25,
        };
        assert_ms(&falling, shape(0, 100, 1), 4.0);
        assert_ms(&falling, StepShape { prefill_context: 8, ..shape(0, 1, 1) }, 7.0);
    }

    #[test]
    fn a_table_of_another_size_than_its_axes_is_refused() {
        let wrong = |change: fn(&mut Table)| {
            let mut table = linear();
            change(&mut table);
            table.validate().expect_err("the table is wrong").to_string()
        };
        assert!(wrong(|table| table.ms[1].truncate(1)).starts_with("cost.ms: must have 2 lists of 3 lists of 2"));
        assert!(wrong(|table| table.ms[1][1][1] = Some(-1.0)).starts_with("cost.ms: is -1"));
        assert!(wrong(|table| table.context = vec![5.0, 5.0]).starts_with("cost.context: must have"));
        let nothing = |table: &mut Table| table.ms.iter_mut().flatten().flatten().for_each(|ms| *ms = None);
        assert!(wrong(nothing).starts_with("cost.ms: has no number"));
    }
}
