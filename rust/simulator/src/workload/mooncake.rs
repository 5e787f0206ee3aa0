use std::path::Path;

use serde::Deserialize;

use super::columns::label;
use super::lines::Lines;
use super::prompt::Prompt;
use super::request::{MOST_TOKENS, TraceRequest};
use super::source::{Requests, Times};
use crate::error::{Error, Result};

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
    priority: i32,
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default)]
    class: Option<String>,
    #[serde(default)]
    deadline_ms: Option<u32>,
    #[serde(default)]
    max_tokens: Option<u32>,
}

impl Mooncake {
    pub fn open(path: &Path, block_tokens: u32) -> Result<Self> {
        if block_tokens == 0 {
            return Err(Error::setting("workload.source.block_tokens", "is 0: it must be at least 1"));
        }
        Ok(Self { lines: Lines::open(path)?, times: Times::default(), block_tokens })
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
            let reason = format!("timestamp: {} must be a number of milliseconds from 0 to 1e15", line.timestamp);
            return Err(self.lines.wrong(reason));
        }
        let request = TraceRequest {
            at_ns: None,
            prompt_tokens,
            output_tokens,
            priority: line.priority,
            tenant: line.tenant.map_or(0, |tenant| label(tenant.as_bytes())),
            class: line.class.map_or(0, |class| label(class.as_bytes())),
            deadline_ns: line.deadline_ms.map(|ms| u64::from(ms) * 1_000_000),
            max_tokens: line.max_tokens,
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
