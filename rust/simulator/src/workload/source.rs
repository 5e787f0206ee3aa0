//! What all sources have in common.

use super::azure::Azure;
use super::burstgpt::BurstGpt;
use super::journal::Journal;
use super::lines::Lines;
use super::mooncake::Mooncake;
use super::request::TraceRequest;
use super::sharegpt::ShareGpt;
use super::synthetic::Synthetic;
use super::{Source, Workload};
use crate::error::{Error, Result};

/// Nothing arrives later than after 36 years, so that sums of times stay in range.
pub(super) const LATEST_NS: u64 = 1 << 60;

/// Requests, one after the other.
pub(crate) trait Requests {
    /// The next request; None at the end.
    fn next(&mut self) -> Result<Option<TraceRequest>>;

    /// Part of the source that was read, from 0 to 1; 0 where it has no end.
    fn progress(&self) -> f64;

    /// An error about the request that was given last.
    fn wrong(&self, reason: String) -> Error;
}

impl Workload {
    /// Opens the source from its beginning. `page_size`: of the scheduler that is simulated.
    pub(super) fn requests(&self, seed: u64, page_size: u32) -> Result<Box<dyn Requests>> {
        Ok(match &self.source {
            Source::Azure { path } => Box::new(Azure::open(path)?),
            Source::Burstgpt { path } => Box::new(BurstGpt::open(path)?),
            Source::Mooncake { path, block_tokens } => Box::new(Mooncake::open(path, *block_tokens)?),
            Source::Sharegpt { path } => Box::new(ShareGpt::open(path)?),
            Source::Journal { path } => Box::new(Journal::open(path, page_size)?),
            Source::Synthetic { prompt, output } => Box::new(Synthetic::new(*prompt, *output, seed)?),
        })
    }
}

/// Times of a trace, counted from its first and checked to ascend.
#[derive(Debug, Default)]
pub(crate) struct Times {
    first: Option<i128>,
    last: Option<i128>,
}

impl Times {
    /// Nanoseconds from the first time to this one.
    pub fn since_first(&mut self, at: i128, lines: &Lines) -> Result<u64> {
        let first = *self.first.get_or_insert(at);
        let last = self.last.replace(at).unwrap_or(at);
        if at < last {
            let behind = (last - at) as f64 / 1e9;
            return Err(lines.wrong(format!("the time is {behind} s before that of the line above: sort the file")));
        }
        match u64::try_from(at - first) {
            Ok(ns) if ns <= LATEST_NS => Ok(ns),
            _ => Err(lines.wrong("the time is more than 36 years after that of the first request: which is wrong?")),
        }
    }

    /// There was a time.
    pub fn began(&self) -> bool {
        self.first.is_some()
    }

    /// The end of the file, which must have had a request.
    pub fn end<T>(&self, lines: &Lines) -> Result<Option<T>> {
        if self.first.is_none() {
            return Err(lines.wrong_file("there is no request in the file"));
        }
        Ok(None)
    }
}
