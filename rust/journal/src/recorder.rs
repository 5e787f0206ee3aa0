//! Writing a journal beside a live scheduler.

use std::collections::VecDeque;
use std::io::{self, BufWriter, Write};

use lightllm_router::{self as router, Finish, Output, Request, RequestId, SchedulerConfig, SlotId, StepPlan};

use crate::digest::digest;
use crate::error::{Error, Result};
use crate::hash::{Key, PrefixHash};
use crate::header::{Header, VERSION};
use crate::line::{Line, hex};
use crate::live::{Live, LiveTable, Place};
use crate::record::{Load, Refusal};
use crate::slots::SlotSet;

/// Writes a journal. Each method records one call of the scheduler, after it was made and in the same order.
///
/// It keeps a rolling hash of each request that has not ended, and no text. Lines are buffered: [`flush`](Self::flush)
/// once a second, say. After an error of the disk the last line may be cut; [`Reader`](crate::Reader) reads up to it.
pub struct Recorder {
    out: BufWriter<Box<dyn Write + Send>>,
    line: Line,
    /// None: token ids are written.
    key: Option<Key>,
    page_size: u32,
    context: u32,
    live: LiveTable,
    /// Plans without a result, oldest first.
    unanswered: VecDeque<Planned>,
    /// An answered one, whose memory is used again.
    spare: Vec<PlannedRow>,
    news: News,
}

/// What is needed of a plan when its result comes.
struct Planned {
    step: u64,
    rows: Vec<PlannedRow>,
}

struct PlannedRow {
    slot: SlotId,
    place: Place,
}

/// What an update said, by slot; used again for each.
#[derive(Default)]
struct News {
    slots: SlotSet,
    stop: Vec<u32>,
    length: Vec<u32>,
    failed: Vec<u32>,
    cached: Vec<(u32, u32)>,
    hashes: Vec<(u32, u32)>,
    tokens: Vec<(u32, u32)>,
}

/// A request that the scheduler is about to be given.
#[must_use = "the record is written once the scheduler has answered"]
pub struct AddInProgress<'a> {
    recorder: &'a mut Recorder,
    id: RequestId,
    siblings: Vec<RequestId>,
    hash: Option<PrefixHash>,
}

impl Recorder {
    /// Begins a journal of a scheduler with these settings. The key is drawn at random for it by the caller; with
    /// `tokens`, the journal has the token ids of all prompts and outputs, and the key is not used.
    pub fn new(out: Box<dyn Write + Send>, config: &SchedulerConfig, key: Key, tokens: bool) -> Result<Self> {
        let header = Header { journal: VERSION, tokens, config: *config };
        let mut out = BufWriter::with_capacity(1 << 16, out);
        serde_json::to_writer(&mut out, &header).map_err(|error| io_error(error.into()))?;
        out.write_all(b"\n").map_err(io_error)?;
        Ok(Self {
            out,
            line: Line::default(),
            key: (!tokens).then_some(key),
            page_size: config.page_size,
            context: config.context,
            live: LiveTable::default(),
            unanswered: VecDeque::new(),
            spare: Vec::new(),
            news: News::default(),
        })
    }

    /// Requests that have not ended, as far as the journal knows.
    pub fn live_requests(&self) -> usize {
        self.live.len()
    }

    /// A request that [`Scheduler::add`](router::Scheduler::add) is about to be given: `recorder.add(&request,
    /// now).done(&scheduler.add(request, now))?`.
    pub fn add(&mut self, request: &Request, now: u64) -> AddInProgress<'_> {
        let line = &mut self.line;
        line.begin("add");
        line.number("now", now);
        line.number("id", request.id.0);
        line.number("prompt", request.prompt.len());
        line.number("max_tokens", request.max_tokens);
        if request.min_tokens != 0 {
            line.number("min_tokens", request.min_tokens);
        }
        if request.cache_salt != 0 {
            let salt = self.key.as_ref().map_or(request.cache_salt, |key| key.salt(request.cache_salt));
            line.text("salt", |out| hex(out, salt, 32));
        }
        if request.wants_history {
            line.flag("history", true);
        }
        if request.prompt_logprobs {
            line.flag("prompt_logprobs", true);
        }
        if request.priority != 0 {
            line.number("priority", request.priority);
        }
        if let Some(deadline) = request.deadline {
            line.number("deadline", deadline);
        }
        if request.tenant != 0 {
            line.number("tenant", request.tenant);
        }
        if request.class != 0 {
            line.number("class", request.class);
        }
        if !request.siblings.is_empty() {
            line.numbers("siblings", request.siblings.iter().map(|sibling| sibling.0));
        }
        if !request.images.is_empty() && request.prompt.len() as u64 <= u64::from(self.context) {
            // More than the prompt has tokens are refused for one of the first of them.
            let images = request.images.iter().take(request.prompt.len() + 1);
            line.images("images", images.map(|image| (image.start, image.tokens, image.ready)));
        }
        if let Some(expected) = request.expected_tokens {
            line.number("expected", expected);
        }
        let hash = self.write_prompt(request);
        AddInProgress { recorder: self, id: request.id, siblings: request.siblings.clone(), hash }
    }

    /// A prompt that is longer than the context is refused for its length alone: no more of it is written, else one
    /// such request could make a line that is too long to be read.
    fn write_prompt(&mut self, request: &Request) -> Option<PrefixHash> {
        if request.prompt.len() as u64 > u64::from(self.context) {
            return None;
        }
        let Some(key) = &self.key else {
            self.line.numbers("tokens", request.prompt.iter().copied());
            if !request.end_ids.is_empty() {
                self.line.numbers("end_ids", request.end_ids.iter().copied());
            }
            return None;
        };
        let mut hash = PrefixHash::new(key, request.cache_salt, self.page_size);
        self.line.text("hashes", |out| {
            let names = request.prompt.iter().filter_map(|token| hash.push(*token));
            names.for_each(|name| hex(out, name.into(), 8));
        });
        Some(hash)
    }

    /// [`Scheduler::abort`](router::Scheduler::abort), and what it returned.
    pub fn abort(&mut self, request: RequestId, now: u64, found: bool) -> Result<()> {
        self.line.begin("abort");
        self.line.number("now", now);
        self.line.number("id", request.0);
        self.line.flag("found", found);
        if found {
            self.live.remove(request);
        }
        self.write()
    }

    /// [`Scheduler::image_ready`](router::Scheduler::image_ready), where it was no error, and what it returned.
    pub fn image_ready(&mut self, request: RequestId, image: u32, now: u64, found: bool) -> Result<()> {
        self.line.begin("image_ready");
        self.line.number("now", now);
        self.line.number("id", request.0);
        self.line.number("image", image);
        self.line.flag("found", found);
        self.write()
    }

    /// [`Scheduler::schedule`](router::Scheduler::schedule), also without a plan, and what
    /// [`take_refused`](router::Scheduler::take_refused) said right after it.
    pub fn schedule(
        &mut self,
        now: u64,
        plan: Option<&StepPlan>,
        refused: &[(RequestId, router::Error)],
    ) -> Result<()> {
        self.line.begin("schedule");
        self.line.number("now", now);
        if let Some(plan) = plan {
            self.plan(plan)?;
        }
        if !refused.is_empty() {
            let reasons = refused.iter().map(|(request, error)| (request.0, Refusal::of(error).0.name()));
            self.line.words("refused", reasons);
            for (request, _) in refused {
                self.live.remove(*request);
            }
        }
        self.write()
    }

    fn plan(&mut self, plan: &StepPlan) -> Result<()> {
        let mut rows = std::mem::take(&mut self.spare);
        rows.clear();
        for attach in &plan.attach {
            if !self.live.attach(attach.slot, attach.request) {
                return Err(Error::Unrecorded(format!("request {}", attach.request)));
            }
        }
        let mut load = Load::default();
        for row in &plan.rows {
            if row.from_last {
                load.decode_rows += 1;
                load.context_tokens += u64::from(row.start) + 1;
            } else {
                load.prefill_tokens += row.tokens;
            }
            let place = self.live.in_slot(row.slot);
            rows.push(PlannedRow {
                slot: row.slot,
                place: place.ok_or_else(|| Error::Unrecorded(format!("slot {}", row.slot)))?,
            });
        }
        self.unanswered.push_back(Planned { step: plan.step, rows });
        let line = &mut self.line;
        line.number("step", plan.step);
        line.text("digest", |out| hex(out, digest(plan, self.key.is_none()).into(), 16));
        let Load { prefill_tokens, decode_rows, context_tokens } = load;
        line.numbers("load", [u64::from(prefill_tokens), u64::from(decode_rows), context_tokens]);
        if !plan.attach.is_empty() {
            line.pairs("attach", plan.attach.iter().map(|attach| (attach.slot.0, attach.request.0)));
        }
        Ok(())
    }

    /// [`Scheduler::update`](router::Scheduler::update), where it was no error: the step of the result, what the call
    /// returned, and how long the backend was busy with the step.
    pub fn update(&mut self, step: u64, now: u64, busy_us: u64, outputs: &[Output]) -> Result<()> {
        let planned = self.take_planned(step)?;
        self.news.clear();
        let mut row = 0;
        for output in outputs {
            row = self.row_of(&planned, row, output.request)?;
            self.output(&planned.rows[row], output);
        }
        self.spare = planned.rows;
        let (line, news) = (&mut self.line, &self.news);
        line.begin("update");
        line.number("now", now);
        line.number("step", step);
        line.number("busy_us", busy_us);
        if !news.slots.is_empty() {
            line.text("slots", |out| news.slots.write(out));
        }
        for (name, slots) in [("stop", &news.stop), ("length", &news.length), ("failed", &news.failed)] {
            if !slots.is_empty() {
                line.numbers(name, slots.iter().copied());
            }
        }
        for (name, pairs) in [("cached", &news.cached), ("hashes", &news.hashes), ("tokens", &news.tokens)] {
            if !pairs.is_empty() {
                line.pairs(name, pairs.iter().copied());
            }
        }
        self.write()
    }

    /// Answers come in order of the plans.
    fn take_planned(&mut self, step: u64) -> Result<Planned> {
        match self.unanswered.pop_front() {
            Some(planned) if planned.step == step => Ok(planned),
            _ => Err(Error::Unrecorded(format!("an answer to step {step}"))),
        }
    }

    /// The row of a request. Outputs are in order of the rows, so it is at or after `from`, usually right there.
    fn row_of(&mut self, planned: &Planned, from: usize, request: RequestId) -> Result<usize> {
        let mut rows = (from..planned.rows.len()).chain(0..from);
        rows.find(|row| self.live.get_mut(planned.rows[*row].place, request).is_some())
            .ok_or_else(|| Error::Unrecorded(format!("an output of request {request}")))
    }

    fn output(&mut self, row: &PlannedRow, output: &Output) {
        let slot = row.slot.0;
        let news = &mut self.news;
        if let Some(admission) = output.admission
            && admission.cached_tokens > 0
        {
            news.cached.push((slot, admission.cached_tokens));
        }
        if !output.tokens.is_empty() {
            news.slots.insert(slot);
        }
        let live = self.live.get_mut(row.place, output.request).expect("its row was just found");
        for token in &output.tokens {
            match &mut live.hash {
                None => news.tokens.push((slot, *token)),
                Some(hash) => news.hashes.extend(hash.push(*token).map(|name| (slot, name))),
            }
        }
        match output.finish {
            None => return,
            Some(Finish::Stop) => news.stop.push(slot),
            Some(Finish::Length) => news.length.push(slot),
            Some(Finish::Failed(_)) => news.failed.push(slot),
        }
        self.live.remove(output.request);
    }

    /// [`Scheduler::fail_step`](router::Scheduler::fail_step), and what it returned.
    pub fn fail_step(&mut self, step: u64, now: u64, ended: &[RequestId]) -> Result<()> {
        self.spare = self.take_planned(step)?.rows;
        self.line.begin("fail_step");
        self.line.number("now", now);
        self.line.number("step", step);
        self.line.numbers("ended", ended.iter().map(|request| request.0));
        for request in ended {
            self.live.remove(*request);
        }
        self.write()
    }

    /// [`Scheduler::clear_cache`](router::Scheduler::clear_cache), and what it returned.
    pub fn clear_cache(&mut self, now: u64, freed: usize) -> Result<()> {
        self.line.begin("clear_cache");
        self.line.number("now", now);
        self.line.number("freed", freed);
        self.write()
    }

    /// Hands all lines so far to the system.
    pub fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(io_error)
    }

    fn write(&mut self) -> Result<()> {
        self.out.write_all(self.line.end()).map_err(io_error)
    }
}

impl AddInProgress<'_> {
    /// What the scheduler answered.
    pub fn done(self, result: &router::Result<()>) -> Result<()> {
        let Self { recorder, id, siblings, hash } = self;
        match result {
            Ok(()) => {
                for sibling in siblings {
                    recorder.live.insert(Live { request: sibling, hash: hash.clone() });
                }
                recorder.live.insert(Live { request: id, hash });
            }
            Err(error) => {
                let (refusal, retry_after) = Refusal::of(error);
                recorder.line.word("refused", refusal.name());
                if let Some(seconds) = retry_after {
                    recorder.line.number("retry_after", seconds);
                }
            }
        }
        recorder.write()
    }
}

impl News {
    fn clear(&mut self) {
        self.slots.clear();
        [&mut self.stop, &mut self.length, &mut self.failed].into_iter().for_each(Vec::clear);
        [&mut self.cached, &mut self.hashes, &mut self.tokens].into_iter().for_each(Vec::clear);
    }
}

fn io_error(source: io::Error) -> Error {
    Error::Io { name: "journal".to_owned(), source }
}
