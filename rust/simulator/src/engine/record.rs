//! A journal of a simulation, as a router writes one.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use lightllm_journal::{Error as JournalError, Key, Recorder};
use lightllm_router::{Error as Refusal, Output, Request, RequestId, SchedulerConfig, StepPlan};

use crate::error::{Error, Result};

/// Writes down each call of the scheduler; does nothing where no journal was asked for.
#[derive(Default)]
pub(super) struct Journal {
    recorder: Option<(String, Recorder)>,
}

impl Journal {
    pub fn create(path: Option<&Path>, config: &SchedulerConfig) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let name = path.display().to_string();
        let file = File::create(path).map_err(|error| Error::file(&name, error))?;
        // Simulated prompts are no secret, and the same setup is to give the same file.
        let recorder = Recorder::new(Box::new(BufWriter::new(file)), config, Key::new([0; 16]), false);
        let recorder = recorder.map_err(|error| Error::file(&name, error))?;
        Ok(Self { recorder: Some((name, recorder)) })
    }

    /// A request and what became of it in `add`.
    pub fn add(
        &mut self,
        request: Request,
        now: u64,
        add: impl FnOnce(Request) -> Result<(), Refusal>,
    ) -> Result<Result<(), Refusal>> {
        let Some((name, recorder)) = &mut self.recorder else { return Ok(add(request)) };
        let in_progress = recorder.add(&request, now);
        let added = add(request);
        told(name, in_progress.done(&added))?;
        Ok(added)
    }

    pub fn image_ready(&mut self, request: RequestId, now: u64, found: bool) -> Result<()> {
        let Some((name, recorder)) = &mut self.recorder else { return Ok(()) };
        told(name, recorder.image_ready(request, 0, now, found))
    }

    pub fn schedule(&mut self, now: u64, plan: Option<&StepPlan>, refused: &[(RequestId, Refusal)]) -> Result<()> {
        let Some((name, recorder)) = &mut self.recorder else { return Ok(()) };
        told(name, recorder.schedule(now, plan, refused))
    }

    pub fn update(&mut self, step: u64, now: u64, busy_ns: u64, outputs: &[Output]) -> Result<()> {
        let Some((name, recorder)) = &mut self.recorder else { return Ok(()) };
        told(name, recorder.update(step, now, busy_ns / 1_000, outputs))
    }

    pub fn finish(&mut self) -> Result<()> {
        let Some((name, recorder)) = &mut self.recorder else { return Ok(()) };
        told(name, recorder.flush())
    }
}

fn told(name: &str, result: Result<(), JournalError>) -> Result<()> {
    result.map_err(|error| Error::file(name, error))
}
