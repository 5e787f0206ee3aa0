use std::path::Path;

use super::columns::{Columns, label};
use super::lines::Lines;
use super::request::TraceRequest;
use super::source::{Requests, Times};
use crate::error::{Error, Result};

/// See [`Source::Burstgpt`](super::Source::Burstgpt).
#[derive(Debug)]
pub(crate) struct BurstGpt {
    columns: Columns,
    times: Times,
    /// A request was given that did not fail.
    any: bool,
}

impl BurstGpt {
    pub fn open(path: &Path) -> Result<Self> {
        let names = &["Timestamp", "Model", "Request tokens", "Response tokens", "Total tokens", "Log Type"];
        Ok(Self { columns: Columns::open(Lines::open(path)?, names)?, times: Times::default(), any: false })
    }
}

impl Requests for BurstGpt {
    fn next(&mut self) -> Result<Option<TraceRequest>> {
        loop {
            let columns = &mut self.columns;
            if !columns.advance()? {
                if !self.any && self.times.began() {
                    let reason = "every request in the file failed (no response token): there is none to simulate";
                    return Err(columns.lines.wrong_file(reason));
                }
                return self.times.end(&columns.lines);
            }
            let text = columns.text(0)?;
            let at = match text.parse::<f64>() {
                Ok(seconds) if (0.0..1e9).contains(&seconds) => (seconds * 1e9).round() as i128,
                _ => return Err(columns.wrong(0, &format!("{text:?} must be a number of seconds from 0 to 1e9"))),
            };
            let output_tokens = columns.tokens(3, 0)?;
            let prompt_tokens = columns.tokens(2, u64::from(output_tokens > 0))?;
            let at_ns = Some(self.times.since_first(at, &columns.lines)?);
            if output_tokens == 0 {
                continue;
            }
            let class = label(format!("{} {}", columns.text(1)?, columns.text(5)?).as_bytes());
            let mut request = TraceRequest { at_ns, prompt_tokens, output_tokens, class, ..TraceRequest::default() };
            columns.decorate(&mut request)?;
            self.any = true;
            return Ok(Some(request));
        }
    }

    fn progress(&self) -> f64 {
        self.columns.lines.progress()
    }

    fn wrong(&self, reason: String) -> Error {
        self.columns.lines.wrong(reason)
    }
}
