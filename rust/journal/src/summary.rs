//! A whole journal in a few figures.

use std::io::BufRead;

use serde::Serialize;

use crate::distribution::{Distribution, Figures};
use crate::error::Result;
use crate::reader::Reader;
use crate::requests::{Ending, requests};

/// What a journal says of the service, as the router saw it. Times are in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Requests, siblings and refused ones included.
    pub requests: u64,
    /// Those that got all they asked for.
    pub finished: u64,
    /// Those that were aborted.
    pub aborted: u64,
    /// Those that failed in the backend.
    pub failed: u64,
    /// Those that were not queued, or given up while they waited.
    pub refused: u64,
    /// Those that had not ended when the journal did.
    pub unfinished: u64,
    /// Prompt tokens of those that came to run.
    pub prompt_tokens: u64,
    /// Those of them that were cached.
    pub cached_tokens: u64,
    /// Tokens of all outputs.
    pub output_tokens: u64,
    /// From the first arrival to the last end.
    pub seconds: f64,
    /// From arrival to the first plan.
    pub queue: Figures,
    /// From arrival to the first token.
    pub ttft: Figures,
    /// From one token of a request to its next.
    pub itl: Figures,
    /// From arrival to the end, of those that finished.
    pub e2e: Figures,
    /// The last line, if it was cut off in the middle.
    pub cut: Option<u64>,
}

/// Reads a journal to its end. Its memory is that of the requests that live at once.
pub fn summary<R: BufRead>(reader: Reader<R>) -> Result<Summary> {
    let mut summary = Summary::default();
    let [mut queue, mut ttft, mut itl, mut e2e] = std::array::from_fn(|_| Distribution::default());
    let (mut first, mut last) = (u64::MAX, 0);
    let mut all = requests(reader);
    for request in all.by_ref() {
        let request = request?;
        summary.requests += 1;
        *match request.ending {
            Ending::Stop | Ending::Length => &mut summary.finished,
            Ending::Aborted => &mut summary.aborted,
            Ending::Failed => &mut summary.failed,
            Ending::Refused(_) => &mut summary.refused,
            Ending::Unfinished => &mut summary.unfinished,
        } += 1;
        if request.admitted.is_some() {
            summary.prompt_tokens += u64::from(request.add.prompt);
        }
        summary.cached_tokens += u64::from(request.cached_tokens);
        summary.output_tokens += request.tokens.len() as u64;
        first = first.min(request.add.now);
        last = last.max(request.ended).max(request.tokens.last().copied().unwrap_or(0));
        request.queue_ns().into_iter().for_each(|ns| queue.add(ns));
        request.ttft_ns().into_iter().for_each(|ns| ttft.add(ns));
        request.itl_ns().for_each(|ns| itl.add(ns));
        request.e2e_ns().into_iter().for_each(|ns| e2e.add(ns));
    }
    summary.seconds = last.saturating_sub(first) as f64 * 1e-9;
    summary.queue = queue.figures();
    summary.ttft = ttft.figures();
    summary.itl = itl.figures();
    summary.e2e = e2e.figures();
    summary.cut = all.reader().cut();
    Ok(summary)
}
