use std::time::Duration;

use lightllm_process::cpu_time;
use lightllm_router::Stats;
use lightllm_wire::{Heartbeat, Observations, Report, Sample};

/// What the metric server has not been told yet.
pub struct Telemetry {
    process: String,
    observations: Vec<(&'static str, &'static str, Vec<f64>)>,
    rejections: Vec<(&'static str, u64)>,
    bad_frames: u64,
    journal_errors: u64,
    admitted: usize,
    last: Stats,
    last_at: u64,
    /// Beats since the last news.
    quiet: u32,
}

/// Beats without news from one report to the next: the metric server forgets who is silent for more than twice as long,
/// and may have been started again.
const QUIET_BEATS: u32 = 3;

/// Histograms and their label: time of a step in the backend, time in the queue, and the scheduler's own time.
pub const STEP: usize = 0;
pub const QUEUE: usize = 1;
const QUEUE_VLLM: usize = 2;
pub const PLAN: usize = 3;
pub const UPDATE: usize = 4;
pub const ENCODE: usize = 5;
/// Time in which a request with images could only wait for one of them.
pub const IMAGE_STALL: usize = 6;

impl Telemetry {
    pub fn new(process: String) -> Self {
        let histograms = [
            ("batch_inference_duration", ""),
            ("request_queue_duration", ""),
            ("vllm:request_queue_time_seconds", ""),
            ("lightllm_scheduler_seconds", "plan"),
            ("lightllm_scheduler_seconds", "update"),
            ("lightllm_scheduler_seconds", "encode"),
            ("lightllm_image_stall_seconds", ""),
        ];
        Self {
            process,
            observations: histograms.into_iter().map(|(name, label)| (name, label, Vec::new())).collect(),
            rejections: Vec::new(),
            bad_frames: 0,
            journal_errors: 0,
            admitted: 0,
            last: Stats::default(),
            last_at: 0,
            quiet: 0,
        }
    }

    /// A value of one of the histograms above.
    pub fn observe(&mut self, histogram: usize, seconds: f64) {
        self.observations[histogram].2.push(seconds);
        if histogram == QUEUE {
            self.observations[QUEUE_VLLM].2.push(seconds);
        }
    }

    /// Requests that the latest plan with any admitted.
    pub fn admitted(&mut self, requests: usize) {
        if requests > 0 {
            self.admitted = requests;
        }
    }

    pub fn bad_frame(&mut self) {
        self.bad_frames += 1;
    }

    /// The journal ended.
    pub fn journal_failed(&mut self) {
        self.journal_errors += 1;
    }

    pub fn rejected(&mut self, reason: &'static str) {
        match self.rejections.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => self.rejections.push((reason, 1)),
        }
    }

    /// Who waits for an image is no work of the backend: it must not look hung while a picture is encoded.
    /// `unanswered`: plans without a result; they are work also when their requests were aborted, or a backend that
    /// hangs would look idle once its clients are gone. `answered`: results so far.
    pub fn heartbeat(&self, stats: &Stats, unanswered: usize, answered: u64, full: bool) -> Heartbeat {
        let busy = stats.running + stats.queued - stats.awaiting_images + unanswered > 0;
        Heartbeat { process: self.process.clone(), busy, progress: answered, full }
    }

    /// All that is new since the last report; None while an idle server has nothing to tell. Called at
    /// each beat.
    pub fn report(&mut self, stats: Stats, now: u64, page_size: u32) -> Option<Report> {
        let silent = self.observations.iter().all(|(_, _, values)| values.is_empty())
            && self.rejections.is_empty()
            && self.bad_frames + self.journal_errors == 0;
        self.quiet = if silent && stats == self.last { self.quiet + 1 } else { 0 };
        // The first quiet report is not left out: it says that the throughput is 0 now.
        if self.quiet != 1 && !self.quiet.is_multiple_of(QUIET_BEATS) {
            return None;
        }
        let totals = stats.totals;
        let last = std::mem::replace(&mut self.last, stats).totals;
        let elapsed = Duration::from_nanos(now.saturating_sub(self.last_at)).as_secs_f64().max(1e-9);
        self.last_at = now;
        let held = (stats.total_pages - stats.free_pages - stats.evictable_pages) as f64;
        let total = stats.total_pages.max(1) as f64;
        let hit_rate = totals.prefix_hits as f64 / totals.prefix_queries.max(1) as f64;
        let page_size = f64::from(page_size);
        let cached = stats.cached_pages as f64;
        let generated = (totals.generated_tokens - last.generated_tokens) as f64;
        let prompted = (totals.prompt_tokens - last.prompt_tokens) as f64;
        let queries = (totals.prefix_queries - last.prefix_queries) as f64;
        let hits = (totals.prefix_hits - last.prefix_hits) as f64;
        let mut samples: Vec<Sample> = [
            ("vllm:num_requests_running", stats.running as f64),
            ("vllm:num_requests_waiting", stats.queued as f64),
            ("vllm:kv_cache_usage_perc", held / total),
            ("num_running_reqs", stats.running as f64),
            ("queue_size", stats.queued as f64),
            ("batch_current_size", stats.running as f64),
            ("batch_next_size", self.admitted as f64),
            ("batch_pause_size", stats.paused as f64),
            ("batch_current_max_tokens", held * page_size),
            ("cache_length", cached * page_size),
            ("cache_ratio", cached / total),
            ("cache_hit_rate", hit_rate),
            ("gen_throughput", generated / elapsed),
            ("lightllm_requests_awaiting_images", stats.awaiting_images as f64),
            ("lightllm_pages_free", stats.free_pages as f64),
            ("lightllm_pages_total", stats.total_pages as f64),
            ("lightllm_pages_running", held),
            ("vllm:prefix_cache_queries_total", queries),
            ("vllm:prefix_cache_hits_total", hits),
            ("vllm:prompt_tokens_total", prompted),
            ("prompt_tokens_total", prompted),
            ("vllm:generation_tokens_total", generated),
            ("generation_tokens_total", generated),
            ("batch_inference_count", (totals.steps - last.steps) as f64),
            ("lightllm_preemptions_total", (totals.preemptions - last.preemptions) as f64),
            ("lightllm_bypasses_total", (totals.bypasses - last.bypasses) as f64),
            ("lightllm_deferrals_total", (totals.deferred - last.deferred) as f64),
            ("lightllm_forks_total", (totals.forks - last.forks) as f64),
            ("lightllm_prefills_ahead_total", (totals.ahead - last.ahead) as f64),
            ("lightllm_page_copies_total", (totals.copies - last.copies) as f64),
            ("lightllm_planned_tokens_total", (totals.planned_tokens - last.planned_tokens) as f64),
            ("lightllm_budget_tokens_total", (totals.budget_tokens - last.budget_tokens) as f64),
            ("lightllm_journal_errors_total", std::mem::take(&mut self.journal_errors) as f64),
        ]
        .into_iter()
        .map(|(name, value)| Sample { name: name.to_owned(), value, labels: Vec::new() })
        .collect();
        samples.push(Sample {
            name: "lightllm_bad_frames_total".to_owned(),
            value: std::mem::take(&mut self.bad_frames) as f64,
            labels: vec![self.process.clone()],
        });
        samples.extend(self.rejections.drain(..).map(|(reason, count)| Sample {
            name: "lightllm_rejections_total".to_owned(),
            value: count as f64,
            labels: vec![reason.to_owned()],
        }));
        let observations = self.observations.iter_mut().filter(|(_, _, values)| !values.is_empty());
        let observations = observations.map(|(name, label, values)| Observations {
            name: (*name).to_owned(),
            values: std::mem::take(values),
            labels: if label.is_empty() { Vec::new() } else { vec![(*label).to_owned()] },
        });
        Some(Report {
            process: self.process.clone(),
            cpu_seconds: cpu_time().as_secs_f64(),
            observations: observations.collect(),
            samples,
        })
    }
}
