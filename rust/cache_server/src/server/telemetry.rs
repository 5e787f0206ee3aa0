use lightllm_cache::Stats;
use lightllm_process::cpu_time;
use lightllm_wire::{Heartbeat, Report, Sample};

/// Beats without news from one report to the next: the metric server forgets who is silent for long, and may have been
/// started again.
const QUIET_BEATS: u32 = 3;

/// What the metric server has not been told yet.
pub struct Telemetry {
    process: String,
    bad_frames: u64,
    deaths: u64,
    last: Stats,
    quiet: u32,
}

impl Telemetry {
    pub fn new(process: String) -> Self {
        Self { process, bad_frames: 0, deaths: 0, last: Stats::default(), quiet: 0 }
    }

    pub fn bad_frame(&mut self) {
        self.bad_frames += 1;
    }

    /// A client's process ended before it said so.
    pub fn client_died(&mut self) {
        self.deaths += 1;
    }

    pub fn heartbeat(&self, stats: &Stats) -> Heartbeat {
        // That images wait says nothing of this process: encoders have a beat of their own.
        Heartbeat { process: self.process.clone(), busy: false, progress: stats.queries + stats.encoded, full: false }
    }

    /// All that is new since the last report; None while there is nothing to tell. Called at each beat.
    pub fn report(&mut self, stats: Stats) -> Option<Report> {
        let silent = stats == self.last && self.bad_frames + self.deaths == 0;
        self.quiet = if silent { self.quiet + 1 } else { 0 };
        if !self.quiet.is_multiple_of(QUIET_BEATS) {
            return None;
        }
        let last = std::mem::replace(&mut self.last, stats);
        let mut samples: Vec<Sample> = [
            ("lightllm_mm_cache_queries_total", stats.queries - last.queries),
            ("lightllm_mm_cache_hits_total", stats.hits - last.hits),
            ("lightllm_mm_cache_joins_total", stats.joins - last.joins),
            ("lightllm_mm_cache_encoded_total", stats.encoded - last.encoded),
            ("lightllm_mm_cache_failures_total", stats.failures - last.failures),
            ("lightllm_mm_cache_abandoned_total", stats.abandoned - last.abandoned),
            ("lightllm_mm_cache_evictions_total", stats.evictions - last.evictions),
            ("lightllm_mm_cache_waits_total", stats.waited - last.waited),
            ("lightllm_mm_cache_client_deaths_total", std::mem::take(&mut self.deaths)),
            ("lightllm_mm_cache_total_bytes", stats.total_bytes),
            ("lightllm_mm_cache_used_bytes", stats.used_bytes),
            ("lightllm_mm_cache_idle_bytes", stats.idle_bytes),
            ("lightllm_mm_cache_items", stats.items),
            ("lightllm_mm_cache_leases", stats.leases),
            ("lightllm_mm_cache_waiters", stats.waiters),
            ("lightllm_mm_cache_queue", stats.queued),
        ]
        .into_iter()
        .map(|(name, value)| Sample { name: name.to_owned(), value: value as f64, labels: Vec::new() })
        .collect();
        samples.push(Sample {
            name: "lightllm_bad_frames_total".to_owned(),
            value: std::mem::take(&mut self.bad_frames) as f64,
            labels: vec![self.process.clone()],
        });
        Some(Report {
            process: self.process.clone(),
            cpu_seconds: cpu_time().as_secs_f64(),
            samples,
            observations: Vec::new(),
        })
    }
}
