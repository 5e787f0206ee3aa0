//! The queue: requests that wait for a slot and pages.

use std::collections::{BTreeMap, VecDeque};

use crate::config::SchedulerConfig;
use crate::error::{Error, Result};
use crate::sequence::Sequence;

/// First come, first served, with bounds on what may wait.
///
/// Ordered by arrival. A preempted request therefore goes before all that came after it, to the head, without any
/// bookkeeping, and is found there by its arrival.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: BTreeMap<u64, Sequence>,
    prompt_tokens: u64,
    max_requests: usize,
    max_tokens: u64,
    drain: DrainRate,
}

impl Queue {
    pub fn new(config: &SchedulerConfig) -> Self {
        Self {
            waiting: BTreeMap::new(),
            prompt_tokens: 0,
            max_requests: config.queue_requests,
            max_tokens: config.queue_tokens,
            drain: DrainRate::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn prompt_tokens(&self) -> u64 {
        self.prompt_tokens
    }

    /// Whether a new request with a prompt of this length may wait. Those for which a slot is free do not count: they
    /// are here only until the next plan.
    pub fn check_room(&self, prompt_len: usize, free_slots: usize, now: u64) -> Result<()> {
        if self.len() < self.max_requests + free_slots && self.prompt_tokens + prompt_len as u64 <= self.max_tokens {
            return Ok(());
        }
        Err(Error::QueueFull {
            requests: self.len(),
            tokens: self.prompt_tokens,
            retry_after_s: self.drain.seconds_for(self.len(), now),
        })
    }

    /// Adds a new request, or one that was preempted, which no bound holds back.
    pub fn push(&mut self, sequence: Sequence) {
        self.prompt_tokens += sequence.prompt_len as u64;
        let replaced = self.waiting.insert(sequence.arrival, sequence);
        assert!(replaced.is_none(), "arrivals are counted");
    }

    pub fn head_mut(&mut self) -> Option<&mut Sequence> {
        self.waiting.first_entry().map(std::collections::btree_map::OccupiedEntry::into_mut)
    }

    pub fn pop(&mut self) -> Option<Sequence> {
        let arrival = *self.waiting.first_key_value()?.0;
        self.remove(arrival)
    }

    pub fn get_mut(&mut self, arrival: u64) -> Option<&mut Sequence> {
        self.waiting.get_mut(&arrival)
    }

    pub fn remove(&mut self, arrival: u64) -> Option<Sequence> {
        let sequence = self.waiting.remove(&arrival)?;
        self.prompt_tokens -= sequence.prompt_len as u64;
        Some(sequence)
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
        assert!(self.waiting.iter().all(|(arrival, sequence)| *arrival == sequence.arrival), "keys of the queue");
    }
}

/// How fast requests end, from the recent ends.
#[derive(Debug, Default)]
struct DrainRate {
    /// Times of the last ends, in nanoseconds, oldest first.
    ends: VecDeque<u64>,
}

impl DrainRate {
    /// Ends remembered: enough to be steady, few enough to follow a change of load.
    const WINDOW: usize = 64;
    /// A client should ask again within this time whatever the estimate is: it is only an estimate.
    const LONGEST_S: u64 = 60;

    fn note(&mut self, now: u64) {
        if self.ends.len() == Self::WINDOW {
            self.ends.pop_front();
        }
        self.ends.push_back(now);
    }

    /// Seconds in which `requests` end at the recent rate, rounded up. In whole numbers, so that a replay agrees.
    fn seconds_for(&self, requests: usize, now: u64) -> u64 {
        let Some(&oldest) = self.ends.front() else { return 1 };
        let window_ns = u128::from(now.saturating_sub(oldest));
        let seconds = (requests as u128 * window_ns).div_ceil(self.ends.len() as u128 * 1_000_000_000);
        (seconds as u64).clamp(1, Self::LONGEST_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RequestId;
    use crate::request::Request;

    const SECOND: u64 = 1_000_000_000;

    fn queue(queue_requests: usize, queue_tokens: u64) -> Queue {
        Queue::new(&SchedulerConfig { queue_requests, queue_tokens, ..SchedulerConfig::default() })
    }

    fn sequence(arrival: u64, prompt_len: usize) -> Sequence {
        Sequence::new(Request::new(RequestId(arrival), vec![0; prompt_len], 1), arrival, 0)
    }

    #[test]
    fn bounds_hold_for_new_requests_only() {
        let mut queue = queue(2, 10);
        assert_eq!(queue.check_room(10, 0, 0), Ok(()));
        queue.push(sequence(5, 6));
        assert_eq!(queue.check_room(4, 0, 0), Ok(()));
        let full = Err(Error::QueueFull { requests: 1, tokens: 6, retry_after_s: 1 });
        assert_eq!(queue.check_room(5, 0, 0), full);
        queue.push(sequence(6, 1));
        assert!(queue.check_room(1, 0, 0).is_err(), "two requests are the bound");
        assert_eq!(queue.check_room(1, 1, 0), Ok(()), "and one for a free slot");
        queue.push(sequence(2, 100));
        queue.check_invariants();
        assert_eq!(queue.pop().map(|sequence| sequence.arrival), Some(2), "a preempted request is the head");
        assert_eq!(queue.prompt_tokens(), 7);
    }

    #[test]
    fn retry_after_follows_the_drain_rate() {
        let mut rate = DrainRate::default();
        assert_eq!(rate.seconds_for(1000, SECOND), 1, "nothing is known yet");
        for second in 0..200 {
            rate.note(second * SECOND / 4);
        }
        // 64 ends in the last 15.75 s and a quarter: four a second.
        assert_eq!(rate.seconds_for(80, 50 * SECOND), 20);
        assert_eq!(rate.seconds_for(1, 50 * SECOND), 1);
        assert_eq!(rate.seconds_for(4000, 50 * SECOND), 60);
    }
}
