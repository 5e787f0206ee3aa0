use std::ops::RangeInclusive;
use std::path::Path;

use serde::Deserialize;

use super::columns::label;
use super::lines::Lines;
use super::prompt::Prompt;
use super::request::{DEADLINES_MS, MAX_TOKENS, MOST_TOKENS, PRIORITIES, TraceRequest};
use super::source::{Requests, Times};
use crate::error::{Error, Result, shown};

/// See [`Source::Mooncake`](super::Source::Mooncake).
#[derive(Debug)]
pub(crate) struct Mooncake {
    lines: Lines,
    times: Times,
    block_tokens: u32,
}

#[derive(Deserialize)]
struct Line {
    timestamp: f64,
    input_length: i64,
    output_length: i64,
    hash_ids: Vec<u64>,
    #[serde(default)]
    priority: Option<i64>,
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default)]
    class: Option<String>,
    #[serde(default)]
    deadline_ms: Option<i64>,
    #[serde(default)]
    max_tokens: Option<i64>,
}

impl Mooncake {
    pub fn open(path: &Path, block_tokens: u32) -> Result<Self> {
        if block_tokens == 0 {
            return Err(Error::setting("workload.source.block_tokens", "is 0: it must be at least 1"));
        }
        Ok(Self { lines: Lines::open(path)?, times: Times::default(), block_tokens })
    }

    /// A number that need not be there; the ranges are those of the columns of CSV traces.
    fn optional(&self, name: &str, got: Option<i64>, range: RangeInclusive<i64>) -> Result<Option<i64>> {
        match got {
            Some(got) if !range.contains(&got) => {
                let (low, high) = range.into_inner();
                Err(self.lines.wrong(format!("{name}: {got} must be a whole number from {low} to {high}")))
            }
            fine => Ok(fine),
        }
    }
}

impl Requests for Mooncake {
    fn next(&mut self) -> Result<Option<TraceRequest>> {
        let Some(line) = self.lines.next_line()? else { return self.times.end(&self.lines) };
        let line: Line = serde_json::from_slice(line)
            .map_err(|error| self.lines.wrong(format!("not a request: {}", without_place(&error))))?;
        let tokens = |name: &str, got: i64| match u64::try_from(got) {
            Ok(tokens) if (1..=MOST_TOKENS).contains(&tokens) => Ok(tokens as u32),
            _ => Err(self.lines.wrong(format!("{name}: {got} must be a whole number from 1 to {MOST_TOKENS}"))),
        };
        let prompt_tokens = tokens("input_length", line.input_length)?;
        let output_tokens = tokens("output_length", line.output_length)?;
        let blocks = (prompt_tokens as usize).div_ceil(self.block_tokens as usize);
        if line.hash_ids.len() > blocks {
            let reason = format!(
                "hash_ids: {} ids are more than the {blocks} blocks of {} tokens that a prompt of {prompt_tokens} \
                 tokens has",
                line.hash_ids.len(),
                self.block_tokens
            );
            return Err(self.lines.wrong(reason));
        }
        if !(0.0..1e15).contains(&line.timestamp) {
            let reason =
                format!("timestamp: {} must be a number of milliseconds from 0 to 1e15", shown(line.timestamp));
            return Err(self.lines.wrong(reason));
        }
        let priority = self.optional("priority", line.priority, PRIORITIES)?;
        let deadline_ms = self.optional("deadline_ms", line.deadline_ms, DEADLINES_MS)?;
        let max_tokens = self.optional("max_tokens", line.max_tokens, MAX_TOKENS)?;
        let request = TraceRequest {
            at_ns: None,
            prompt_tokens,
            output_tokens,
            priority: priority.unwrap_or(0) as i32,
            tenant: line.tenant.map_or(0, |tenant| label(tenant.as_bytes())),
            class: line.class.map_or(0, |class| label(class.as_bytes())),
            deadline_ns: deadline_ms.map(|ms| ms as u64 * 1_000_000),
            max_tokens: max_tokens.map(|tokens| tokens as u32),
            prompt: Prompt::Blocks { ids: line.hash_ids, tokens: self.block_tokens },
            ..TraceRequest::default()
        };
        let at = (line.timestamp * 1e6).round() as i128;
        Ok(Some(TraceRequest { at_ns: Some(self.times.since_first(at, &self.lines)?), ..request }))
    }

    fn progress(&self) -> f64 {
        self.lines.progress()
    }

    fn wrong(&self, reason: String) -> Error {
        self.lines.wrong(reason)
    }
}

/// The message of a JSON error, without the line, which is of the piece that was parsed and not of the file.
pub(crate) fn without_place(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match message.rfind(" at line ") {
        Some(at) => format!("{} (column {})", &message[..at], error.column()),
        None => message,
    }
}
