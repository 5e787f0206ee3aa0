use lightllm_router::{self as scheduler, RowResult};
use lightllm_wire::{self as wire, RankMessage, decode};

use crate::router::{Router, Unanswered, seconds};
use crate::telemetry;
use crate::{Error, Result};

impl Router<'_> {
    /// A frame of a rank.
    pub fn hear_rank(&mut self, identity: &[u8], frame: &[u8]) -> Result<()> {
        let Some(rank) = self.ranks.rank_of(identity) else {
            self.telemetry.bad_frame();
            return Ok(());
        };
        match decode(frame) {
            Ok(RankMessage::StepResult(result)) if rank == 0 => self.step_result(result),
            Ok(RankMessage::StepFailed(failed)) if self.ranks.identities().count() == 1 => self.step_failed(&failed),
            Ok(RankMessage::StepFailed(failed)) => {
                // The other ranks may have carried the step out: their states no longer agree.
                Err(Error::Rank { rank, what: format!("failed at step {}: {}", failed.step, failed.message) })
            }
            Ok(RankMessage::StepResult(_)) => Err(Error::Rank { rank, what: "answered for rank 0".to_owned() }),
            Ok(RankMessage::RankHello(_)) => Err(Error::Rank { rank, what: "said hello twice".to_owned() }),
            // Without its result the step never ends, so this is not a frame to drop.
            Err(error) => Err(Error::Rank { rank, what: error.to_string() }),
        }
    }

    fn step_result(&mut self, result: wire::StepResult) -> Result<()> {
        let begin = self.clock.now();
        let unanswered = self.oldest(result.step)?;
        let rows = row_results(&result)?;
        let outputs = self.scheduler.update(scheduler::StepResult { step: result.step, rows }, begin)?;
        let updated = self.clock.now();
        self.journal.record(|recorder| recorder.update(result.step, begin, result.busy_us, &outputs));
        self.telemetry.observe(telemetry::UPDATE, seconds(updated - begin));
        self.telemetry.observe(telemetry::STEP, result.busy_us as f64 * 1e-6);
        for output in &outputs {
            let Some(admission) = output.admission else { continue };
            self.telemetry.observe(telemetry::QUEUE, seconds(admission.queue_ns));
            if self.clients.get(output.request).is_some_and(|live| !live.shared.images.is_empty()) {
                self.telemetry.observe(telemetry::IMAGE_STALL, seconds(admission.image_wait_ns));
            }
        }
        let Self { output_writer, clients, outbox, .. } = self;
        output_writer.write(outputs, result.extras, &unanswered.requests, clients, outbox);
        Ok(())
    }

    fn step_failed(&mut self, failed: &wire::StepFailed) -> Result<()> {
        self.oldest(failed.step)?;
        let now = self.clock.now();
        let ended = self.scheduler.fail_step(failed.step);
        self.journal.record(|recorder| recorder.fail_step(failed.step, now, &ended));
        for request in ended {
            let Some(live) = self.clients.end(request) else { continue };
            self.tell_failed(live.client, live.id, "backend", &failed.message, 0);
        }
        Ok(())
    }

    /// Takes the oldest unanswered plan, which must be `step`.
    fn oldest(&mut self, step: u64) -> Result<Unanswered> {
        match self.unanswered.pop_front() {
            Some(unanswered) if unanswered.step == step => {
                self.answered += 1;
                Ok(unanswered)
            }
            _ => Err(Error::Rank { rank: 0, what: format!("answered step {step} out of order") }),
        }
    }
}

/// The rows of a result. The extras' errors fail their rows.
fn row_results(result: &wire::StepResult) -> Result<Vec<RowResult>> {
    let wrong = |what: &str| Error::Rank { rank: 0, what: format!("answered step {}: {what}", result.step) };
    if result.rows.0.len() != result.counts.0.len() {
        return Err(wrong("as many rows as counts are needed"));
    }
    let mut rest = result.tokens.0.as_slice();
    let mut rows = Vec::with_capacity(result.rows.0.len());
    for (row, count) in result.rows.0.iter().zip(&result.counts.0) {
        let (tokens, after) = rest.split_at_checked(*count as usize).ok_or_else(|| wrong("tokens are missing"))?;
        rest = after;
        rows.push(RowResult { row: *row, tokens: tokens.into(), failed: None });
    }
    if !rest.is_empty() {
        return Err(wrong("there are more tokens than the counts say"));
    }
    for extra in &result.extras {
        let Some(error) = &extra.error else { continue };
        match rows.iter_mut().find(|row| row.row == extra.row) {
            Some(row) => *row = RowResult { row: extra.row, tokens: [][..].into(), failed: Some(error.clone()) },
            None => rows.push(RowResult { row: extra.row, tokens: [][..].into(), failed: Some(error.clone()) }),
        }
    }
    Ok(rows)
}
