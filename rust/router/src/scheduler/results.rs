//! Taking results.

use super::{Place, Scheduler, UnansweredRow, UnansweredStep};
use crate::admission::Demand;
use crate::error::{Error, Result};
use crate::ids::RequestId;
use crate::plan::{StepResult, Tokens};
use crate::request::{Finish, Output};
use crate::running::Part;
use crate::sequence::Sequence;

/// What became of one row.
enum Outcome {
    /// Nothing was said of it: all is well, if it did not emit.
    Missing,
    /// It did not emit.
    Silent,
    /// One.
    Tokens(Tokens),
    Failed(String),
}

/// Tokens of one tenant that were not charged yet.
#[derive(Default)]
struct Bill {
    tenant: u64,
    tokens: u64,
}

impl Scheduler {
    /// Takes the result of the oldest plan without one, and says what it means for the requests.
    ///
    /// Pages that the step filled enter the prefix cache here. Rows of requests that ended or were aborted meanwhile
    /// are dropped. A result that contradicts the plan is an error and changes nothing; the backend can't be relied
    /// on after that.
    pub fn update(&mut self, result: StepResult, now: u64) -> Result<Vec<Output>> {
        let step = match self.unanswered.front() {
            Some(oldest) if oldest.step == result.step => oldest,
            oldest => {
                let expected = oldest.map(|oldest| oldest.step);
                return Err(Error::UnexpectedStep { got: result.step, expected });
            }
        };
        let outcomes = read(step, result)?;
        let mut step = self.unanswered.pop_front().expect("just looked at");
        self.now = now;
        self.pace.note(step.planned_ns, now, step.tokens, step.prefilled);
        self.cost.note(step.planned_ns, now, &step.load);
        self.queue.set_pace(self.pace.ns_per_token());
        let mut outputs = Vec::with_capacity(outcomes.len());
        let mut bill = Bill::default();
        for (row, outcome) in step.rows.iter().zip(outcomes) {
            let Some(output) = self.take_row(row, outcome, &mut bill) else { continue };
            if output.finish.is_some() {
                self.end(output.request);
                self.queue.note_finish(now);
            }
            outputs.push(output);
        }
        self.queue.charge(bill.tenant, bill.tokens);
        step.rows.clear();
        self.spare_rows.push(step.rows);
        self.check();
        Ok(outputs)
    }

    /// A whole step failed: all its requests end and nothing of it is published. Returns those that had not ended
    /// yet. The backend is taken to have carried out the plan's `detach`, `attach` and `copies` nevertheless.
    pub fn fail_step(&mut self, step: u64) -> Vec<RequestId> {
        let Some(index) = self.unanswered.iter().position(|unanswered| unanswered.step == step) else {
            return Vec::new();
        };
        let step = self.unanswered.remove(index).expect("the index was just found");
        let rows = step.rows.into_iter().filter(|row| self.is_live(row));
        let ended: Vec<RequestId> = rows.map(|row| row.request).collect();
        for request in &ended {
            self.end(*request);
        }
        self.totals.finished_failed += ended.len() as u64;
        self.check();
        ended
    }

    fn is_live(&self, row: &UnansweredRow) -> bool {
        match self.places.get(&row.request) {
            Some(Place::Queued(arrival)) => *arrival == row.arrival,
            Some(Place::Running(slot)) => {
                self.running.get(*slot).is_some_and(|running| running.sequence.arrival == row.arrival)
            }
            None => false,
        }
    }

    /// Applies one row. None if there is nothing to tell.
    fn take_row(&mut self, row: &UnansweredRow, outcome: Outcome, bill: &mut Bill) -> Option<Output> {
        let mut running = self.running.get_mut(row.slot).filter(|running| running.sequence.arrival == row.arrival);
        let sequence = match &mut running {
            Some(running) => &mut running.sequence,
            // Preempted, unless it ended.
            None => self.queue.get_mut(row.arrival)?,
        };
        sequence.unanswered -= 1;
        let request = sequence.id;
        let (tokens, finish) = match outcome {
            Outcome::Failed(reason) => (Tokens::new(), Some(Finish::Failed(reason))),
            Outcome::Missing | Outcome::Silent => (Tokens::new(), sequence.advance(row.end, None)),
            Outcome::Tokens(tokens) => {
                let finish = sequence.advance(row.end, tokens.first().copied());
                (tokens, finish)
            }
        };
        let tells = finish.is_some() || !tokens.is_empty();
        let admission = if tells { sequence.tell_admission() } else { None };
        let tenant = sequence.tenant;
        let failed = matches!(finish, Some(Finish::Failed(_)));
        if finish.is_some() && !failed {
            self.policy.finished(&length_of(sequence));
            let cached = sequence.admission.map_or(0, |admission| u64::from(admission.cached_tokens));
            self.balance.note(sequence.prompt_len as u64 - cached, sequence.outputs().into());
        }
        if let Some(running) = running
            && !failed
        {
            self.memory.publish(&mut running.holding, &running.sequence.tokens, row.end);
            let (ends_prefill, running_ahead) = (row.end == running.prefill_len, running.ahead);
            if row.end >= running.sequence.prompt_len && matches!(running.part, Part::Leads(_)) {
                self.fork(row.slot);
            }
            if ends_prefill && running_ahead {
                self.end_ahead(row.slot);
            } else if ends_prefill {
                self.running.end_prefill(row.slot);
            }
        }
        if bill.tenant != tenant {
            self.queue.charge(bill.tenant, bill.tokens);
            *bill = Bill { tenant, tokens: 0 };
        }
        bill.tokens += tokens.len() as u64;
        match &finish {
            None => {}
            Some(Finish::Stop) => self.totals.finished_stop += 1,
            Some(Finish::Length) => self.totals.finished_length += 1,
            Some(Finish::Failed(_)) => self.totals.finished_failed += 1,
        }
        self.totals.generated_tokens += tokens.len() as u64;
        tells.then_some(Output { request, tokens, finish, admission })
    }
}

/// What a policy learns from a request that ended by itself.
fn length_of(sequence: &Sequence) -> Demand {
    Demand {
        id: sequence.arrival,
        held: 0,
        prompt: sequence.prompt_len as u32,
        generated: sequence.outputs(),
        max_tokens: sequence.max_tokens,
        tenant: sequence.tenant,
        class: sequence.class,
        expected: sequence.expected_tokens,
    }
}

/// Checks a result against its plan and puts it in order of the rows.
fn read(step: &UnansweredStep, result: StepResult) -> Result<Vec<Outcome>> {
    let bad = |row: usize, reason| Err(Error::BadResult { step: step.step, row: row as u32, reason });
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(step.rows.len());
    outcomes.resize_with(step.rows.len(), || Outcome::Missing);
    for row in result.rows {
        let index = row.row as usize;
        let Some(planned) = step.rows.get(index) else { return bad(index, "the plan has no such row") };
        let outcome = match (row.failed, row.tokens.len(), planned.emits) {
            (Some(reason), _, _) => Outcome::Failed(reason),
            (None, 1, true) => Outcome::Tokens(row.tokens),
            (None, 0, false) => Outcome::Silent,
            (None, _, true) => return bad(index, "a row that emits has exactly one token"),
            (None, _, false) => return bad(index, "a row that does not emit has no token"),
        };
        if !matches!(std::mem::replace(&mut outcomes[index], outcome), Outcome::Missing) {
            return bad(index, "it is there twice");
        }
    }
    let missing = |(outcome, row): (&Outcome, &UnansweredRow)| matches!(outcome, Outcome::Missing) && row.emits;
    match outcomes.iter().zip(&step.rows).position(missing) {
        Some(index) => bad(index, "a row that emits is missing"),
        None => Ok(outcomes),
    }
}
