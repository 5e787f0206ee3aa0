//! What goes on, over time.

use lightllm_router::Stats;

use crate::report::Timeline;

/// Points of a time line at most; it has half as many at least, once it is longer than that.
const POINTS: usize = 1_000;
/// Width of the first points.
const FIRST_NS: u64 = 1_000_000;

/// What is so between two events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Requests that run.
    pub running: u64,
    /// Requests that wait.
    pub queued: u64,
    /// Pages that are neither free nor can be evicted.
    pub held_pages: u64,
    /// Pages in the prefix cache.
    pub cached_pages: u64,
}

impl State {
    pub fn of(stats: &Stats) -> Self {
        Self {
            running: stats.running as u64,
            queued: stats.queued as u64,
            held_pages: (stats.total_pages - stats.free_pages - stats.evictable_pages) as u64,
            cached_pages: stats.cached_pages as u64,
        }
    }
}

/// Sums of a state times nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Area {
    ns: u64,
    running: u128,
    queued: u128,
    held: u128,
    cached: u128,
}

/// Means over equal pieces of time. When there are too many pieces, each two become one.
#[derive(Debug)]
pub(crate) struct TimelineMeter {
    pieces: Vec<Area>,
    width_ns: u64,
    all: Area,
    most_held: u64,
    total_pages: f64,
}

impl Area {
    fn add(&mut self, state: &State, ns: u64) {
        let times = |value: u64| u128::from(value) * u128::from(ns);
        self.ns += ns;
        self.running += times(state.running);
        self.queued += times(state.queued);
        self.held += times(state.held_pages);
        self.cached += times(state.cached_pages);
    }

    fn merge(mut self, other: &Self) -> Self {
        self.ns += other.ns;
        self.running += other.running;
        self.queued += other.queued;
        self.held += other.held;
        self.cached += other.cached;
        self
    }

    fn mean(&self, sum: u128) -> f64 {
        if self.ns == 0 { 0.0 } else { sum as f64 / self.ns as f64 }
    }
}

impl TimelineMeter {
    pub fn new(total_pages: u32) -> Self {
        Self {
            pieces: Vec::with_capacity(POINTS),
            width_ns: FIRST_NS,
            all: Area::default(),
            most_held: 0,
            total_pages: f64::from(total_pages),
        }
    }

    /// It was so from `from` to `to`, and before that all was told.
    pub fn note(&mut self, state: &State, mut from: u64, to: u64) {
        self.most_held = self.most_held.max(state.held_pages);
        self.all.add(state, to - from);
        while from < to {
            let mut index = (from / self.width_ns) as usize;
            while index >= POINTS {
                self.halve();
                index = (from / self.width_ns) as usize;
            }
            if index >= self.pieces.len() {
                self.pieces.resize(index + 1, Area::default());
            }
            let end = to.min((index as u64 + 1) * self.width_ns);
            self.pieces[index].add(state, end - from);
            from = end;
        }
    }

    fn halve(&mut self) {
        let merged = |pair: &[Area]| pair.iter().skip(1).fold(pair[0], Area::merge);
        self.pieces = self.pieces.chunks(2).map(merged).collect();
        self.width_ns *= 2;
    }

    pub fn timeline(&self) -> Timeline {
        let column = |of: fn(&Area) -> u128| self.pieces.iter().map(|piece| piece.mean(of(piece))).collect();
        let parts =
            |of: fn(&Area) -> u128| self.pieces.iter().map(|piece| piece.mean(of(piece)) / self.total_pages).collect();
        let width_s = self.width_ns as f64 / 1e9;
        Timeline {
            seconds: (0..self.pieces.len()).map(|index| index as f64 * width_s).collect(),
            running: column(|area| area.running),
            queued: column(|area| area.queued),
            kv: parts(|area| area.held),
            kv_cached: parts(|area| area.cached),
        }
    }

    pub fn mean_running(&self) -> f64 {
        self.all.mean(self.all.running)
    }

    pub fn mean_queued(&self) -> f64 {
        self.all.mean(self.all.queued)
    }

    pub fn mean_kv(&self) -> f64 {
        self.all.mean(self.all.held) / self.total_pages
    }

    pub fn most_kv(&self) -> f64 {
        self.most_held as f64 / self.total_pages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_over_time_whatever_the_width() {
        let mut meter = TimelineMeter::new(100);
        let mut now = 0;
        // Half of each second with ten that run, half with none.
        for half in 0..20_000_u64 {
            let on = half % 2;
            let state = State { running: 10 * on, queued: on, held_pages: 50 * on, cached_pages: 100 };
            meter.note(&state, now, now + 500_000_000);
            now += 500_000_000;
        }
        let timeline = meter.timeline();
        assert!((POINTS / 2..=POINTS).contains(&timeline.seconds.len()), "{}", timeline.seconds.len());
        assert!((meter.mean_running() - 5.0).abs() < 1e-9 && (meter.mean_queued() - 0.5).abs() < 1e-9);
        assert!((meter.mean_kv() - 0.25).abs() < 1e-9 && (meter.most_kv() - 0.5).abs() < 1e-9);
        // A piece is about 16 s: up to half a second of it may be on one side.
        assert!(timeline.running.iter().all(|running| (running - 5.0).abs() < 0.35), "{:?}", timeline.running);
        assert!(timeline.kv_cached.iter().all(|cached| (cached - 1.0).abs() < 1e-9));
    }
}
