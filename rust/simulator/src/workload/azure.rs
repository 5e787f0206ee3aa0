use std::path::Path;

use super::columns::Columns;
use super::datetime;
use super::lines::Lines;
use super::request::TraceRequest;
use super::source::{Requests, Times};
use crate::error::{Error, Result};

/// See [`Source::Azure`](super::Source::Azure).
#[derive(Debug)]
pub(crate) struct Azure {
    columns: Columns,
    times: Times,
}

impl Azure {
    pub fn open(path: &Path) -> Result<Self> {
        let columns = Columns::open(Lines::open(path)?, &["TIMESTAMP", "ContextTokens", "GeneratedTokens"])?;
        Ok(Self { columns, times: Times::default() })
    }
}

impl Requests for Azure {
    fn next(&mut self) -> Result<Option<TraceRequest>> {
        let columns = &mut self.columns;
        if !columns.advance()? {
            return self.times.end(&columns.lines);
        }
        let text = columns.text(0)?;
        let Some(at) = datetime::parse(text) else {
            return Err(columns.wrong(0, &format!("{text:?} must be a time like 2023-11-16 18:15:46.68")));
        };
        let mut request = TraceRequest {
            at_ns: Some(self.times.since_first(at, &columns.lines)?),
            prompt_tokens: columns.tokens(1, 1)?,
            output_tokens: columns.tokens(2, 1)?,
            ..TraceRequest::default()
        };
        columns.decorate(&mut request)?;
        Ok(Some(request))
    }

    fn progress(&self) -> f64 {
        self.columns.lines.progress()
    }

    fn wrong(&self, reason: String) -> Error {
        self.columns.lines.wrong(reason)
    }
}
