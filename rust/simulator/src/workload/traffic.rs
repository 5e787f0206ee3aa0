//! Requests at their times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::decorate::Decorator;
use super::request::TraceRequest;
use super::source::{LATEST_NS, Requests};
use super::{Arrivals, Source, Workload};
use crate::error::{Error, Result};
use crate::random::Random;
use crate::setup::Limits;

const SECOND: f64 = 1e9;

/// What arrives, in order of time.
pub(crate) struct Traffic {
    requests: Box<dyn Requests>,
    decorator: Decorator,
    /// When it began: the times of `clock` are counted from there.
    start: u64,
    clock: Clock,
    limits: Limits,
    /// Requests given out.
    number: u64,
    /// The next request. None until it was read, and at the end.
    pending: Option<TraceRequest>,
    ended: bool,
}

/// Says when the next request arrives.
enum Clock {
    /// Times of the trace, times a factor.
    Trace { factor: f64 },
    /// Nanoseconds between arrivals, on average, and the time of the next one.
    Gaps { arrivals: Arrivals, mean_ns: f64, next_ns: f64, random: Random },
    /// All at once.
    AtOnce,
    /// Times at which clients are ready.
    Closed { ready: BinaryHeap<Reverse<u64>>, think_ns: u64 },
}

/// Opens a workload. `page_size`: of the scheduler that is simulated.
pub(crate) fn open(workload: &Workload, limits: Limits, seed: u64, page_size: u32) -> Result<Traffic> {
    limits.validate()?;
    workload.arrivals.validate()?;
    for (name, rate) in [("rate", workload.rate), ("rate_scale", workload.rate_scale)] {
        if rate.is_some_and(|rate| !(1e-6..=1e9).contains(&rate)) {
            return Err(Error::setting(format!("workload.{name}"), "must be from 1e-6 to 1e9"));
        }
    }
    let endless = matches!(workload.source, Source::Synthetic { .. });
    if endless && limits.requests.is_none() && limits.seconds.is_none() {
        return Err(Error::setting("limits", "a synthetic workload has no end: give requests or seconds"));
    }
    Ok(Traffic {
        requests: workload.requests(seed, page_size)?,
        decorator: Decorator::new(workload, seed)?,
        start: 0,
        clock: clock(workload, limits, seed, page_size)?,
        limits,
        number: 0,
        pending: None,
        ended: false,
    })
}

fn clock(workload: &Workload, limits: Limits, seed: u64, page_size: u32) -> Result<Clock> {
    let scale = workload.rate_scale.unwrap_or(1.0);
    let arrivals = workload.arrivals;
    if let Arrivals::Closed { clients, think_ms, ramp_ms } = arrivals {
        if workload.rate.is_some() || workload.rate_scale.is_some() {
            return Err(Error::setting("workload.rate", "clients in a closed loop make their own rate: leave it out"));
        }
        let nanoseconds = |ms: f64| libm::round(ms * 1e6) as u64;
        let first = |client: u32| nanoseconds(ramp_ms * f64::from(client) / f64::from(clients));
        let ready = (0..clients).map(|client| Reverse(first(client))).collect();
        return Ok(Clock::Closed { ready, think_ns: nanoseconds(think_ms) });
    }
    if matches!(arrivals, Arrivals::AtOnce) {
        if limits.requests.is_none() && matches!(workload.source, Source::Synthetic { .. }) {
            return Err(Error::setting("limits.requests", "a synthetic workload has no end: give requests"));
        }
        return Ok(Clock::AtOnce);
    }
    if arrivals.has_gaps() {
        let Some(rate) = workload.rate else {
            return Err(Error::setting("workload.rate", "random arrivals need a rate in requests a second"));
        };
        let random = Random::new(seed, 3);
        return Ok(Clock::Gaps { arrivals, mean_ns: SECOND / (rate * scale), next_ns: 0.0, random });
    }
    if matches!(workload.source, Source::Synthetic { .. } | Source::Sharegpt { .. }) {
        let reason = "the source has no times: take poisson, gamma, constant, closed or at_once";
        return Err(Error::setting("workload.arrivals", reason));
    }
    let factor = match workload.rate {
        Some(rate) => trace_rate(workload.requests(seed, page_size)?, limits)? / (rate * scale),
        None => 1.0 / scale,
    };
    Ok(Clock::Trace { factor })
}

/// Requests a second of a trace, as far as it will be used.
fn trace_rate(mut requests: Box<dyn Requests>, limits: Limits) -> Result<f64> {
    let (mut count, mut last) = (0_u64, 0);
    while limits.requests.is_none_or(|limit| count < limit) {
        let Some(request) = requests.next()? else { break };
        last = request.at_ns.unwrap_or(0);
        count += 1;
    }
    if last == 0 {
        let reason = "the trace has one time only, and so no rate: use rate_scale, or another process of arrivals";
        return Err(Error::setting("workload.rate", reason));
    }
    Ok((count - 1) as f64 * SECOND / last as f64)
}

impl Traffic {
    /// It begins at `now`.
    pub fn begin(&mut self, now: u64) {
        self.start = now;
    }

    /// When the next request arrives, in nanoseconds. None: none does, unless a client of a closed loop gets its
    /// answer.
    pub fn next_at(&mut self) -> Result<Option<u64>> {
        if self.pending.is_none() && !self.ended {
            self.pending = self.read()?;
            self.ended = self.pending.is_none();
        }
        let Some(pending) = &self.pending else { return Ok(None) };
        let at = match &mut self.clock {
            Clock::Trace { factor } => {
                let at = pending.at_ns.expect("sources without times have another clock");
                Some(libm::round(at as f64 * *factor) as u64)
            }
            Clock::Gaps { next_ns, .. } => Some(libm::round(*next_ns) as u64),
            Clock::AtOnce => Some(0),
            Clock::Closed { ready, .. } => ready.peek().map(|Reverse(at)| *at),
        };
        if at.is_some_and(|at| at > LATEST_NS.saturating_sub(self.start)) {
            return Err(Error::setting("workload.rate", "requests arrive after more than 36 years: raise the rate"));
        }
        let over = |at: &u64| self.limits.seconds.is_some_and(|limit| *at as f64 > limit * SECOND);
        if at.as_ref().is_some_and(over) {
            self.pending = None;
            self.ended = true;
            return Ok(None);
        }
        Ok(at.map(|at| self.start + at))
    }

    fn read(&mut self) -> Result<Option<TraceRequest>> {
        if self.limits.requests == Some(self.number) {
            return Ok(None);
        }
        Ok(self.requests.next()?.map(|mut request| {
            self.decorator.decorate(&mut request);
            request
        }))
    }

    /// Takes the request that [`next_at`](Self::next_at) told of, and its number.
    pub fn take(&mut self) -> (u64, TraceRequest) {
        match &mut self.clock {
            Clock::Gaps { arrivals, mean_ns, next_ns, random } => *next_ns += *mean_ns * arrivals.gap(random),
            Clock::Closed { ready, .. } => {
                ready.pop().expect("a client was ready");
            }
            Clock::Trace { .. } | Clock::AtOnce => {}
        }
        let number = self.number;
        self.number += 1;
        (number, self.pending.take().expect("a request was announced"))
    }

    /// An error about the request that was taken last.
    pub fn wrong(&self, reason: String) -> Error {
        self.requests.wrong(reason)
    }

    /// A request has ended, or was refused and is not worth asking again before `now`.
    pub fn note_end(&mut self, now: u64) {
        if let Clock::Closed { ready, think_ns } = &mut self.clock {
            ready.push(Reverse(now - self.start + *think_ns));
        }
    }

    /// Part of the work that has arrived, from 0 to 1.
    pub fn progress(&self, now: u64) -> f64 {
        let requests = self.limits.requests.map_or(0.0, |limit| self.number as f64 / limit as f64);
        let passed = (now - self.start) as f64;
        let seconds = self.limits.seconds.map_or(0.0, |limit| passed / (limit * SECOND));
        let done = self.requests.progress().max(requests).max(seconds);
        if self.ended { 1.0 } else { done.min(1.0) }
    }
}
