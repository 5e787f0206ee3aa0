//! The queue: requests that wait for a slot and pages.

mod drain;
mod group;
mod parked;

use std::collections::BTreeMap;

use self::drain::DrainRate;
use self::group::Grouping;
use self::parked::Parked;
use crate::config::SchedulerConfig;
use crate::error::{Error, Result};
use crate::order::Order;
use crate::sequence::Sequence;

const IN_ORDER: &str = "what is in the order waits";

/// The requests that wait, in their [`Order`], with bounds on what may wait.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: BTreeMap<u64, Sequence>,
    /// Siblings included, also those of a request that runs ahead.
    requests: usize,
    /// Those of them that ran before.
    paused: usize,
    /// Those of them whose group is not here, since a part of the prompt is computed ahead.
    away: usize,
    order: Order,
    parked: Parked,
    grouping: Grouping,
    prompt_tokens: u64,
    max_requests: usize,
    max_tokens: u64,
    drain: DrainRate,
}

impl Queue {
    pub fn new(config: &SchedulerConfig) -> Self {
        Self {
            waiting: BTreeMap::new(),
            requests: 0,
            paused: 0,
            away: 0,
            order: Order::new(&config.order),
            parked: Parked::new(&config.order),
            grouping: Grouping::new(config.page_size, config.order.group_tokens),
            prompt_tokens: 0,
            max_requests: config.queue_requests,
            max_tokens: config.queue_tokens,
            drain: DrainRate::default(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether a round would offer anybody.
    pub fn has_candidates(&self) -> bool {
        self.waiting.len() > self.parked.len()
    }

    /// Requests that wait. Those that wait together, as siblings, count one each.
    pub fn requests(&self) -> usize {
        self.requests
    }

    /// Those of them that ran before.
    pub fn paused(&self) -> usize {
        self.paused
    }

    pub fn prompt_tokens(&self) -> u64 {
        self.prompt_tokens
    }

    /// Whether a new request with a prompt of this length, or a group of so many members, may wait. Those for which a
    /// slot is free do not count: they are here only until the next plan. An empty queue takes any group.
    pub fn check_room(&self, prompt_len: usize, members: usize, free_slots: usize, now: u64) -> Result<()> {
        let most = (self.max_requests + free_slots).max(members);
        if self.requests + members <= most && self.prompt_tokens + prompt_len as u64 <= self.max_tokens {
            return Ok(());
        }
        Err(Error::QueueFull {
            requests: self.requests,
            tokens: self.prompt_tokens,
            retry_after_s: self.retry_after_s(now),
        })
    }

    /// Adds a new request, or one that ran before, which no bound holds back. The caller has brought its reach up to
    /// date: where there is nothing to compute of it, it is parked.
    pub fn push(&mut self, mut sequence: Sequence, now: u64) {
        self.requests += sequence.members();
        self.paused += if sequence.resumes { sequence.members() } else { 0 };
        self.prompt_tokens += sequence.prompt_len as u64;
        if sequence.reach > self.grouping.cached(&sequence) {
            end_wait(&mut sequence, now);
            self.order.insert(self.grouping.ticket(&sequence));
        } else {
            sequence.waits_since.get_or_insert(now);
            self.parked.insert(&sequence);
        }
        let replaced = self.waiting.insert(sequence.arrival, sequence);
        assert!(replaced.is_none(), "arrivals are counted");
    }

    /// The candidate has nothing to compute any more until an image is ready.
    pub fn park(&mut self, arrival: u64, now: u64) {
        let sequence = self.waiting.get_mut(&arrival).expect("a candidate is in the queue");
        self.order.remove(arrival);
        sequence.waits_since.get_or_insert(now);
        self.parked.insert(sequence);
    }

    /// An image of a request is ready, and its reach is up to date. If it was parked for that, it is not any more.
    pub fn note_ready(&mut self, arrival: u64, now: u64) {
        let sequence = self.waiting.get_mut(&arrival).expect("a request that waits is in the queue");
        if sequence.reach > self.grouping.cached(sequence) && self.parked.remove(sequence) {
            end_wait(sequence, now);
            self.order.insert(self.grouping.ticket(sequence));
        }
    }

    /// So many members of a group wait, but not here: a part of their prompt is computed ahead.
    pub fn add_away(&mut self, members: usize) {
        self.away += members;
        self.requests += members;
    }

    /// They are back, or have left.
    pub fn remove_away(&mut self, members: usize) {
        self.away -= members;
        self.requests -= members;
    }

    /// Requests that wait for an image before anything more of them can be computed, siblings included.
    pub fn awaiting_images(&self) -> usize {
        if self.parked.len() == 0 {
            return 0; // nearly always
        }
        self.iter().filter(|sequence| self.parked.contains(sequence.arrival)).map(Sequence::members).sum()
    }

    pub fn get(&self, arrival: u64) -> Option<&Sequence> {
        self.waiting.get(&arrival)
    }

    pub fn get_mut(&mut self, arrival: u64) -> Option<&mut Sequence> {
        self.waiting.get_mut(&arrival)
    }

    pub fn remove(&mut self, arrival: u64) -> Option<Sequence> {
        let sequence = self.waiting.remove(&arrival)?;
        if !self.parked.remove(&sequence) {
            self.order.remove(arrival);
        }
        self.forget(&sequence);
        Some(sequence)
    }

    fn forget(&mut self, sequence: &Sequence) {
        self.requests -= sequence.members();
        self.paused -= if sequence.resumes { sequence.members() } else { 0 };
        self.prompt_tokens -= sequence.prompt_len as u64;
    }

    /// Starts a round: who goes before whom, as of `now`. `left` says how many prompt tokens a request has to compute
    /// by now; it is asked only where that may decide.
    pub fn begin_round(&mut self, now: u64, mut left: impl FnMut(&mut Sequence) -> usize) {
        let waiting = &mut self.waiting;
        self.order.begin_round(now, |arrival| left(waiting.get_mut(&arrival).expect(IN_ORDER)) as u32);
    }

    /// The next request in order, each at most once a round. None if there is no further one, or if those that
    /// were passed over may not be passed again. One that the caller doesn't take is passed over.
    pub fn next_candidate(&mut self) -> Option<u64> {
        self.order.next()
    }

    /// The candidate waits for something that is about to come, such as the pages of another's prefix. It stays in
    /// the queue, and those behind it do not count as passing it.
    pub fn defer(&mut self, arrival: u64) {
        self.order.defer(arrival);
    }

    /// The candidate is admitted: it leaves the queue. The caller has brought `found` up to date: what is left to
    /// compute is charged to the tenant.
    pub fn take(&mut self, arrival: u64) -> Sequence {
        let sequence = self.waiting.remove(&arrival).expect("a candidate is in the queue");
        self.forget(&sequence);
        let computed = sequence.reach - self.grouping.cached(&sequence);
        self.order.take(arrival, computed as u64);
        sequence
    }

    /// Tokens that a tenant's running requests generated.
    pub fn charge(&mut self, tenant: u64, tokens: u64) {
        self.order.charge(tenant, tokens);
    }

    /// A prompt token takes so long to compute; 0 if that isn't known yet.
    pub fn set_pace(&mut self, ns_per_prompt_token: u64) {
        self.order.set_pace(ns_per_prompt_token);
    }

    /// Takes out those that can no longer make their deadline, if the operator asked for that; to be called before a
    /// round. `left` as in [`begin_round`](Self::begin_round).
    pub fn take_late(&mut self, now: u64, mut left: impl FnMut(&mut Sequence) -> usize) -> Vec<Sequence> {
        let mut late = Vec::new();
        while late.len() < Order::MAX_LOOKS {
            let waiting = &mut self.waiting;
            let left = |arrival| left(waiting.get_mut(&arrival).expect(IN_ORDER)) as u32;
            let Some(arrival) = self.order.take_late(now, left).or_else(|| self.parked.late(now)) else { break };
            let sequence = self.waiting.remove(&arrival).expect(IN_ORDER);
            self.parked.remove(&sequence);
            self.forget(&sequence);
            late.push(sequence);
        }
        late
    }

    /// Whether the deadline of a parked one has passed, if such are refused.
    pub fn has_late(&self, now: u64) -> bool {
        self.parked.late(now).is_some()
    }

    /// Estimate of when a request that is refused now should be sent again, in seconds.
    pub fn retry_after_s(&self, now: u64) -> u64 {
        self.drain.seconds_for(self.requests, now)
    }

    /// A request ended: the queue drains.
    pub fn note_finish(&mut self, now: u64) {
        self.drain.note(now);
    }

    pub fn iter(&self) -> impl Iterator<Item = &Sequence> {
        self.waiting.values()
    }

    pub fn check_invariants(&self) {
        let tokens: u64 = self.iter().map(|sequence| sequence.prompt_len as u64).sum();
        assert_eq!(self.prompt_tokens, tokens, "prompt tokens of the queue");
        let here: usize = self.iter().map(Sequence::members).sum();
        assert_eq!(self.requests, here + self.away, "requests of the queue");
        let paused = self.iter().filter(|sequence| sequence.resumes);
        assert_eq!(self.paused, paused.map(Sequence::members).sum(), "requests of the queue that ran");
        self.order.check_invariants();
        self.parked.check_invariants(self.iter());
        let in_order = self.waiting.keys().copied().filter(|arrival| !self.parked.contains(*arrival));
        assert!(self.order.arrivals().eq(in_order), "what waits is in the order, or parked");
        assert!(self.waiting.iter().all(|(arrival, sequence)| *arrival == sequence.arrival), "keys of the queue");
    }
}

/// There is something to compute.
fn end_wait(sequence: &mut Sequence, now: u64) {
    if let Some(since) = sequence.waits_since.take() {
        sequence.image_wait_ns += now.saturating_sub(since);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RequestId;
    use crate::request::Request;

    fn queue(queue_requests: usize, queue_tokens: u64) -> Queue {
        Queue::new(&SchedulerConfig { queue_requests, queue_tokens, ..SchedulerConfig::default() })
    }

    fn sequence(arrival: u64, prompt_len: usize) -> Sequence {
        let request = Request::new(RequestId(arrival), vec![0; prompt_len], 1);
        let mut sequence = Sequence::new(request, arrival, 0);
        sequence.reach = prompt_len;
        sequence
    }

    #[test]
    fn bounds_hold_for_new_requests_only() {
        let mut queue = queue(2, 10);
        assert_eq!(queue.check_room(10, 1, 0, 0), Ok(()));
        assert_eq!(queue.check_room(10, 9, 0, 0), Ok(()), "a group that could never wait otherwise");
        queue.push(sequence(5, 6), 0);
        assert_eq!(queue.check_room(4, 1, 0, 0), Ok(()));
        assert!(queue.check_room(4, 2, 0, 0).is_err(), "each member of a group counts");
        assert_eq!(queue.check_room(4, 2, 1, 0), Ok(()));
        let full = Err(Error::QueueFull { requests: 1, tokens: 6, retry_after_s: 1 });
        assert_eq!(queue.check_room(5, 1, 0, 0), full);
        queue.push(sequence(6, 1), 0);
        assert!(queue.check_room(1, 1, 0, 0).is_err(), "two requests are the bound");
        assert_eq!(queue.check_room(1, 1, 1, 0), Ok(()), "and one for a free slot");
        let mut preempted = sequence(2, 100);
        preempted.resumes = true;
        queue.push(preempted, 0);
        queue.check_invariants();
        queue.begin_round(0, |sequence| sequence.prompt_len);
        let head = queue.next_candidate().expect("three wait");
        assert_eq!(head, 2, "a preempted request is the head");
        queue.take(head);
        assert_eq!(queue.prompt_tokens(), 7);
    }
}
