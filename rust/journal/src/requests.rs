//! What became of each request, and when, as the router saw it.

use std::collections::{BTreeMap, VecDeque};
use std::io::BufRead;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::reader::Reader;
use crate::record::{Abort, Add, FailStep, Record, Refusal, Schedule, Update};

/// One request of a journal. Times are in nanoseconds of the router's clock.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedRequest {
    /// Its own id; of a sibling it is not the one in `add`.
    pub id: u64,
    /// What was asked. Siblings share it.
    pub add: Arc<Add>,
    /// Place in the order of arrival, from 0; siblings come after the first of them.
    pub arrival: u64,
    /// First plan that it had a slot in.
    pub admitted: Option<u64>,
    /// Prompt tokens that were cached then.
    pub cached_tokens: u32,
    /// Results that brought its tokens, one for each.
    pub tokens: Vec<u64>,
    /// How it ended.
    pub ending: Ending,
    /// When.
    pub ended: u64,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With an end id.
    Stop,
    /// At `max_tokens`.
    Length,
    /// With a row or a step that the backend could not compute.
    Failed,
    /// The client did not want it any more.
    Aborted,
    /// It was not queued, or given up while it waited.
    Refused(Refusal),
    /// The journal ends before it.
    Unfinished,
}

impl RecordedRequest {
    /// Nanoseconds from its arrival to its first plan.
    pub fn queue_ns(&self) -> Option<u64> {
        Some(self.admitted? - self.add.now)
    }

    /// Nanoseconds from its arrival to its first token.
    pub fn ttft_ns(&self) -> Option<u64> {
        Some(self.tokens.first()? - self.add.now)
    }

    /// Nanoseconds from each of its tokens to the next.
    pub fn itl_ns(&self) -> impl Iterator<Item = u64> {
        self.tokens.windows(2).map(|pair| pair[1] - pair[0])
    }

    /// Nanoseconds from its arrival to its end, if it got all it asked for.
    pub fn e2e_ns(&self) -> Option<u64> {
        matches!(self.ending, Ending::Stop | Ending::Length).then(|| self.ended - self.add.now)
    }
}

/// The requests of a journal in order of their ends. Only those that have not ended are in memory.
pub fn requests<R: BufRead>(reader: Reader<R>) -> Requests<R> {
    Requests {
        reader,
        live: BTreeMap::new(),
        slots: Vec::new(),
        unanswered: VecDeque::new(),
        ended: VecDeque::new(),
        arrivals: 0,
    }
}

/// See [`requests`].
#[derive(Debug)]
pub struct Requests<R> {
    reader: Reader<R>,
    live: BTreeMap<u64, RecordedRequest>,
    /// Requests by slot, as the plan that is answered next has them.
    slots: Vec<Option<u64>>,
    /// Plans without a result: the step and who gets which slot.
    unanswered: VecDeque<(u64, Vec<(u32, u64)>)>,
    /// To be told of.
    ended: VecDeque<RecordedRequest>,
    arrivals: u64,
}

impl<R: BufRead> Requests<R> {
    /// The journal, for its header, and for its cut once the end is reached.
    pub fn reader(&self) -> &Reader<R> {
        &self.reader
    }

    /// The same in order of arrival. Whoever came after one that is still running waits for it in memory.
    pub fn in_order_of_arrival(self) -> ByArrival<R> {
        ByArrival { requests: self, waiting: BTreeMap::new(), next: 0 }
    }

    /// Takes in the next record. False at the end of the journal.
    fn advance(&mut self) -> Result<bool> {
        let Some(entry) = self.reader.next() else { return Ok(false) };
        match entry?.1 {
            Record::Add(add) => self.add(*add),
            Record::Abort(Abort { id, now, found: true }) => self.end(id, now, Ending::Aborted)?,
            Record::Schedule(schedule) => self.schedule(schedule)?,
            Record::Update(update) => self.update(&update)?,
            Record::FailStep(FailStep { now, step, ended }) => {
                self.answer(step)?;
                for id in ended {
                    self.end(id, now, Ending::Failed)?;
                }
            }
            Record::Abort(_) | Record::ImageReady(_) | Record::ClearCache(_) => {}
        }
        Ok(true)
    }

    fn add(&mut self, add: Add) {
        let add = Arc::new(add);
        for id in std::iter::once(add.id).chain(add.siblings.iter().copied()) {
            let request = RecordedRequest {
                id,
                add: Arc::clone(&add),
                arrival: self.arrivals,
                admitted: None,
                cached_tokens: 0,
                tokens: Vec::new(),
                ending: Ending::Unfinished,
                ended: add.now,
            };
            self.arrivals += 1;
            match add.refused {
                Some(refusal) => self.ended.push_back(RecordedRequest { ending: Ending::Refused(refusal), ..request }),
                None => self.ended.extend(self.live.insert(id, request)),
            }
        }
    }

    fn schedule(&mut self, schedule: Schedule) -> Result<()> {
        for (_, id) in &schedule.attach {
            let admitted = &mut self.live_request(*id)?.admitted;
            admitted.get_or_insert(schedule.now);
        }
        if let Some(step) = schedule.step {
            self.unanswered.push_back((step, schedule.attach));
        }
        for (id, refusal) in schedule.refused {
            self.end(id, schedule.now, Ending::Refused(refusal))?;
        }
        Ok(())
    }

    /// Gives out the slots of a plan that is answered. Not before: an answer is in terms of its own plan.
    fn answer(&mut self, step: u64) -> Result<()> {
        match self.unanswered.pop_front() {
            Some((oldest, attach)) if oldest == step => {
                for (slot, id) in attach {
                    let slot = slot as usize;
                    if slot >= self.slots.len() {
                        self.slots.resize(slot + 1, None);
                    }
                    self.slots[slot] = Some(id);
                }
                Ok(())
            }
            _ => Err(self.reader.bad("step", format!("an answer to step {step}, which is not the oldest plan"))),
        }
    }

    fn update(&mut self, update: &Update) -> Result<()> {
        self.answer(update.step)?;
        for (slot, cached) in &update.cached {
            let id = self.in_slot(*slot)?;
            self.live_request(id)?.cached_tokens = *cached;
        }
        for slot in update.slots.iter() {
            let id = self.in_slot(slot)?;
            self.live_request(id)?.tokens.push(update.now);
        }
        let endings =
            [(&update.stop, Ending::Stop), (&update.length, Ending::Length), (&update.failed, Ending::Failed)];
        for (slots, ending) in endings {
            for slot in slots {
                let id = self.in_slot(*slot)?;
                self.end(id, update.now, ending)?;
            }
        }
        Ok(())
    }

    fn end(&mut self, id: u64, now: u64, ending: Ending) -> Result<()> {
        self.live_request(id)?;
        let request = self.live.remove(&id).expect("it was just found");
        self.ended.push_back(RecordedRequest { ending, ended: now, ..request });
        Ok(())
    }

    fn in_slot(&self, slot: u32) -> Result<u64> {
        let id = self.slots.get(slot as usize).copied().flatten();
        id.ok_or_else(|| self.reader.bad("", format!("slot {slot} has no request")))
    }

    fn live_request(&mut self, id: u64) -> Result<&mut RecordedRequest> {
        match self.live.get_mut(&id) {
            Some(request) => Ok(request),
            None => Err(self.reader.bad("", format!("request {id} was not added, or has ended"))),
        }
    }
}

impl<R: BufRead> Iterator for Requests<R> {
    type Item = Result<RecordedRequest>;

    fn next(&mut self) -> Option<Result<RecordedRequest>> {
        while self.ended.is_empty() {
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return self.live.pop_first().map(|(_, request)| Ok(request)),
                Err(error) => {
                    self.reader.finish();
                    self.live.clear();
                    return Some(Err(error));
                }
            }
        }
        self.ended.pop_front().map(Ok)
    }
}

/// See [`Requests::in_order_of_arrival`].
#[derive(Debug)]
pub struct ByArrival<R> {
    requests: Requests<R>,
    waiting: BTreeMap<u64, RecordedRequest>,
    next: u64,
}

impl<R: BufRead> ByArrival<R> {
    /// The journal, for its header, and for its cut once the end is reached.
    pub fn reader(&self) -> &Reader<R> {
        &self.requests.reader
    }
}

impl<R: BufRead> Iterator for ByArrival<R> {
    type Item = Result<RecordedRequest, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(request) = self.waiting.remove(&self.next) {
                self.next += 1;
                return Some(Ok(request));
            }
            match self.requests.next()? {
                Ok(request) => self.waiting.insert(request.arrival, request),
                Err(error) => {
                    self.waiting.clear();
                    return Some(Err(error));
                }
            };
        }
    }
}
