use super::lengths::Lengths;
use super::request::TraceRequest;
use super::source::Requests;
use crate::error::{Error, Result};
use crate::random::Random;

/// See [`Source::Synthetic`](super::Source::Synthetic).
#[derive(Debug)]
pub(crate) struct Synthetic {
    prompt: Lengths,
    output: Lengths,
    random: Random,
}

impl Synthetic {
    pub fn new(prompt: Lengths, output: Lengths, seed: u64) -> Result<Self> {
        prompt.validate("workload.source.prompt")?;
        output.validate("workload.source.output")?;
        Ok(Self { prompt, output, random: Random::new(seed, 1) })
    }
}

impl Requests for Synthetic {
    fn next(&mut self) -> Result<Option<TraceRequest>> {
        Ok(Some(TraceRequest {
            prompt_tokens: self.prompt.draw(&mut self.random),
            output_tokens: self.output.draw(&mut self.random),
            ..TraceRequest::default()
        }))
    }

    fn progress(&self) -> f64 {
        0.0
    }

    fn wrong(&self, reason: String) -> Error {
        Error::setting("workload.source", reason)
    }
}
