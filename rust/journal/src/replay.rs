//! Driving a scheduler with a journal: does it decide the same?

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::BufRead;

use lightllm_router::{Finish, Output, RequestId, RowResult, Scheduler, SchedulerConfig, StepPlan, StepResult};

use crate::digest::digest;
use crate::error::Result;
use crate::hash::END_ID;
use crate::reader::Reader;
use crate::record::{Abort, Add, ClearCache, FailStep, ImageReady, Record, Refusal, Schedule, Update};

/// What to do at a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDifference {
    /// End the replay: what comes after a different plan is hardly ever the same.
    #[default]
    Stop,
    /// Go on as well as may be, and count the differences.
    Count,
}

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Records that were replayed.
    pub records: u64,
    /// Plans that were compared.
    pub steps: u64,
    /// Differences seen.
    pub differences: u64,
    /// The first of them.
    pub first: Option<Difference>,
    /// The last line, if it was cut off in the middle: all before it was replayed.
    pub cut: Option<u64>,
}

impl ReplayReport {
    /// Whether all of it came out as it is in the journal.
    pub fn identical(&self) -> bool {
        self.differences == 0
    }
}

/// Where the scheduler did something else than the journal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Line of the journal.
    pub line: u64,
    /// The step that it is about, or the last one that was planned before.
    pub step: u64,
    /// What differs.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, step {}: {}", self.line, self.step, self.what)
    }
}

/// Runs a journal through a scheduler of the same settings, and compares each plan (by its digest) and everything
/// else that the calls returned. Memory is that of the scheduler; the journal is read as a stream.
pub fn replay<R: BufRead>(mut reader: Reader<R>, on_difference: OnDifference) -> Result<ReplayReport> {
    let header = *reader.header();
    let mut replay =
        Replay::new(header.config, header.tokens).map_err(|error| reader.bad("config", error.to_string()))?;
    let mut report = ReplayReport::default();
    for entry in reader.by_ref() {
        let (line, record) = entry?;
        report.records += 1;
        report.steps += u64::from(matches!(&record, Record::Schedule(schedule) if schedule.step.is_some()));
        if let Err(what) = replay.step(record) {
            report.differences += 1;
            report.first.get_or_insert(Difference { line, step: replay.step, what });
            if on_difference == OnDifference::Stop {
                return Ok(report);
            }
        }
    }
    report.cut = reader.cut();
    Ok(report)
}

/// Either all is as in the journal, or this is what differs.
type Same = std::result::Result<(), String>;

struct Replay {
    scheduler: Scheduler,
    /// The journal has token ids.
    tokens: bool,
    /// Plans without a result, oldest first.
    unanswered: VecDeque<(u64, Vec<PlannedRow>)>,
    /// The step that the record at hand is about.
    step: u64,
}

struct PlannedRow {
    slot: u32,
    request: RequestId,
    emits: bool,
}

impl Replay {
    fn new(config: SchedulerConfig, tokens: bool) -> lightllm_router::Result<Self> {
        Ok(Self { scheduler: Scheduler::new(config)?, tokens, unanswered: VecDeque::new(), step: 0 })
    }

    fn step(&mut self, record: Record) -> Same {
        match record {
            Record::Add(add) => self.add(&add),
            Record::Abort(Abort { id, found, .. }) => same("found", &found, &self.scheduler.abort(RequestId(id))),
            Record::ImageReady(ready) => self.image_ready(&ready),
            Record::Schedule(schedule) => self.schedule(&schedule),
            Record::Update(update) => self.update(&update),
            Record::FailStep(failed) => self.fail_step(&failed),
            Record::ClearCache(ClearCache { freed, .. }) => {
                same("freed pages", &freed, &(self.scheduler.clear_cache() as u64))
            }
        }
    }

    fn add(&mut self, add: &Add) -> Same {
        let page_size = self.scheduler.config().page_size;
        let result = self.scheduler.add(add.request(page_size), add.now);
        let refusal = result.err().map(|error| Refusal::of(&error));
        let recorded = add.refused.map(|refusal| (refusal, add.retry_after));
        same(&format!("refusal of request {}", add.id), &Shown(recorded), &Shown(refusal))
    }

    fn image_ready(&mut self, ready: &ImageReady) -> Same {
        match self.scheduler.image_ready(RequestId(ready.id), ready.image, ready.now) {
            Ok(found) => same("found", &ready.found, &found),
            Err(error) => Err(error.to_string()),
        }
    }

    fn schedule(&mut self, schedule: &Schedule) -> Same {
        let plan = self.scheduler.schedule(schedule.now);
        let refused = self.scheduler.take_refused();
        self.step = schedule.step.or(plan.as_ref().map(|plan| plan.step)).unwrap_or(self.step);
        let planned = plan.as_ref().map(|plan| (plan.step, digest(plan, self.tokens)));
        if let Some(plan) = &plan {
            self.note(plan);
        }
        let recorded = schedule.step.map(|step| (step, schedule.digest));
        if recorded != planned {
            let text = |plan: Option<(u64, u64)>| match plan {
                Some((step, digest)) => format!("plan {step} with digest {digest:016x}"),
                None => "no plan".to_owned(),
            };
            let shape = plan.map_or_else(String::new, |plan| format!(" ({})", shape(&plan)));
            return Err(format!("the journal has {}, the replay {}{shape}", text(recorded), text(planned)));
        }
        let refused: Vec<(u64, Refusal)> = refused.iter().map(|(id, error)| (id.0, Refusal::of(error).0)).collect();
        same("requests given up", &Shown(&schedule.refused), &Shown(&refused))
    }

    fn note(&mut self, plan: &StepPlan) {
        let row = |row: &lightllm_router::Row| PlannedRow { slot: row.slot.0, request: row.request, emits: row.emits };
        self.unanswered.push_back((plan.step, plan.rows.iter().map(row).collect()));
    }

    fn update(&mut self, update: &Update) -> Same {
        self.step = update.step;
        let rows = self.take_oldest(update.step)?;
        let result = StepResult { step: update.step, rows: results(&rows, update, self.tokens) };
        match self.scheduler.update(result, update.now) {
            Ok(outputs) => compare_outputs(&rows, update, &outputs),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Answers come in order of the plans.
    fn take_oldest(&mut self, step: u64) -> std::result::Result<Vec<PlannedRow>, String> {
        let oldest = self.unanswered.front().map(|(step, _)| *step);
        if oldest != Some(step) {
            let oldest = oldest.map_or("there is no plan".to_owned(), |step| format!("the oldest plan is {step}"));
            return Err(format!("an answer to step {step}, but {oldest}"));
        }
        let (_, rows) = self.unanswered.pop_front().expect("just looked at");
        Ok(rows)
    }

    fn fail_step(&mut self, failed: &FailStep) -> Same {
        self.step = failed.step;
        self.take_oldest(failed.step)?;
        let ended: Vec<u64> = self.scheduler.fail_step(failed.step).into_iter().map(|request| request.0).collect();
        same("requests of the failed step", &Shown(&failed.ended), &Shown(&ended))
    }
}

/// The result of a step: the tokens whose names or ids are known, 0 for the others, whatever it is for rows whose
/// request has ended.
fn results(rows: &[PlannedRow], update: &Update, tokens: bool) -> Vec<RowResult> {
    let mut known: BTreeMap<u32, u32> = BTreeMap::new();
    if tokens {
        known.extend(update.tokens.iter().copied());
    } else {
        known.extend(update.hashes.iter().map(|(slot, name)| (*slot, (*name).min(END_ID - 1))));
        known.extend(update.stop.iter().map(|slot| (*slot, END_ID)));
    }
    let mut results = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        let row_index = index as u32;
        if update.failed.contains(&row.slot) {
            results.push(RowResult { row: row_index, tokens: [][..].into(), failed: Some("failed".to_owned()) });
        } else if row.emits {
            let token = known.get(&row.slot).copied().unwrap_or(0);
            results.push(RowResult { row: row_index, tokens: [token][..].into(), failed: None });
        }
    }
    results
}

fn compare_outputs(rows: &[PlannedRow], update: &Update, outputs: &[Output]) -> Same {
    let mut replayed = Update { now: update.now, step: update.step, busy_us: update.busy_us, ..Update::default() };
    let mut rest = rows.iter();
    for output in outputs {
        let Some(row) = rest.find(|row| row.request == output.request) else {
            return Err(format!("an output of request {} out of order", output.request));
        };
        let slot = row.slot;
        if !output.tokens.is_empty() {
            replayed.slots.insert(slot);
        }
        match output.finish {
            None => {}
            Some(Finish::Stop) => replayed.stop.push(slot),
            Some(Finish::Length) => replayed.length.push(slot),
            Some(Finish::Failed(_)) => replayed.failed.push(slot),
        }
        if let Some(admission) = output.admission.filter(|admission| admission.cached_tokens > 0) {
            replayed.cached.push((slot, admission.cached_tokens));
        }
    }
    same("slots that got a token", &Shown(&update.slots), &Shown(&replayed.slots))?;
    same("slots that ended with an end id", &Shown(&update.stop), &Shown(&replayed.stop))?;
    same("slots that ended at max_tokens", &Shown(&update.length), &Shown(&replayed.length))?;
    same("slots that failed", &Shown(&update.failed), &Shown(&replayed.failed))?;
    same("cached tokens by slot", &Shown(&update.cached), &Shown(&replayed.cached))
}

fn shape(plan: &StepPlan) -> String {
    let tokens: u64 = plan.rows.iter().map(|row| u64::from(row.tokens)).sum();
    let (rows, attach, detach) = (plan.rows.len(), plan.attach.len(), plan.detach.len());
    format!("{rows} rows with {tokens} tokens, {attach} attached, {detach} detached")
}

fn same<T: PartialEq + fmt::Display>(what: &str, journal: &T, replay: &T) -> Same {
    if journal == replay { Ok(()) } else { Err(format!("{what}: {journal} in the journal, {replay} in the replay")) }
}

/// Shown as a short text, since it may have thousands of elements.
#[derive(PartialEq)]
struct Shown<T>(T);

impl<T: fmt::Debug> fmt::Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 200;
        let text = format!("{:?}", self.0);
        match text.char_indices().nth(MOST) {
            Some((end, _)) => write!(f, "{}...", &text[..end]),
            None => f.write_str(&text),
        }
    }
}
