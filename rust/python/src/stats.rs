//! Figures of the scheduler, as Python sees them.

use lightllm_router as core;
use pyo3::prelude::*;

use crate::text::Repr;

/// What is so now, and what has happened since the start.
#[pyclass(module = "lightllm_rs._core", frozen, eq)]
#[derive(Clone, PartialEq)]
pub struct Stats(pub core::Stats);

#[pymethods]
impl Stats {
    #[getter]
    fn running(&self) -> usize {
        self.0.running
    }

    #[getter]
    fn forking(&self) -> usize {
        self.0.forking
    }

    #[getter]
    fn queued(&self) -> usize {
        self.0.queued
    }

    #[getter]
    fn paused(&self) -> usize {
        self.0.paused
    }

    #[getter]
    fn awaiting_images(&self) -> usize {
        self.0.awaiting_images
    }

    #[getter]
    fn queued_tokens(&self) -> u64 {
        self.0.queued_tokens
    }

    #[getter]
    fn total_pages(&self) -> usize {
        self.0.total_pages
    }

    #[getter]
    fn free_pages(&self) -> usize {
        self.0.free_pages
    }

    #[getter]
    fn cached_pages(&self) -> usize {
        self.0.cached_pages
    }

    #[getter]
    fn evictable_pages(&self) -> usize {
        self.0.evictable_pages
    }

    #[getter]
    fn private_pages(&self) -> usize {
        self.0.private_pages
    }

    #[getter]
    fn steps(&self) -> u64 {
        self.0.totals.steps
    }

    #[getter]
    fn prompt_tokens(&self) -> u64 {
        self.0.totals.prompt_tokens
    }

    #[getter]
    fn generated_tokens(&self) -> u64 {
        self.0.totals.generated_tokens
    }

    #[getter]
    fn prefix_queries(&self) -> u64 {
        self.0.totals.prefix_queries
    }

    #[getter]
    fn prefix_hits(&self) -> u64 {
        self.0.totals.prefix_hits
    }

    #[getter]
    fn prefill_tokens(&self) -> u64 {
        self.0.totals.prefill_tokens
    }

    #[getter]
    fn preemptions(&self) -> u64 {
        self.0.totals.preemptions
    }

    #[getter]
    fn refused_queue_full(&self) -> u64 {
        self.0.totals.refused_queue_full
    }

    #[getter]
    fn refused_late(&self) -> u64 {
        self.0.totals.refused_late
    }

    #[getter]
    fn bypasses(&self) -> u64 {
        self.0.totals.bypasses
    }

    #[getter]
    fn deferred(&self) -> u64 {
        self.0.totals.deferred
    }

    #[getter]
    fn ahead(&self) -> u64 {
        self.0.totals.ahead
    }

    #[getter]
    fn forks(&self) -> u64 {
        self.0.totals.forks
    }

    #[getter]
    fn copies(&self) -> u64 {
        self.0.totals.copies
    }

    #[getter]
    fn planned_tokens(&self) -> u64 {
        self.0.totals.planned_tokens
    }

    #[getter]
    fn budget_tokens(&self) -> u64 {
        self.0.totals.budget_tokens
    }

    #[getter]
    fn finished_stop(&self) -> u64 {
        self.0.totals.finished_stop
    }

    #[getter]
    fn finished_length(&self) -> u64 {
        self.0.totals.finished_length
    }

    #[getter]
    fn finished_failed(&self) -> u64 {
        self.0.totals.finished_failed
    }

    #[getter]
    fn aborted(&self) -> u64 {
        self.0.totals.aborted
    }

    fn __repr__(&self) -> String {
        let (now, totals) = (&self.0, &self.0.totals);
        Repr::new("Stats")
            .field("running", now.running)
            .field("forking", now.forking)
            .field("queued", now.queued)
            .field("paused", now.paused)
            .field("awaiting_images", now.awaiting_images)
            .field("queued_tokens", now.queued_tokens)
            .field("total_pages", now.total_pages)
            .field("free_pages", now.free_pages)
            .field("cached_pages", now.cached_pages)
            .field("evictable_pages", now.evictable_pages)
            .field("private_pages", now.private_pages)
            .field("steps", totals.steps)
            .field("prompt_tokens", totals.prompt_tokens)
            .field("generated_tokens", totals.generated_tokens)
            .field("prefix_queries", totals.prefix_queries)
            .field("prefix_hits", totals.prefix_hits)
            .field("prefill_tokens", totals.prefill_tokens)
            .field("preemptions", totals.preemptions)
            .field("refused_queue_full", totals.refused_queue_full)
            .field("refused_late", totals.refused_late)
            .field("bypasses", totals.bypasses)
            .field("deferred", totals.deferred)
            .field("ahead", totals.ahead)
            .field("forks", totals.forks)
            .field("copies", totals.copies)
            .field("planned_tokens", totals.planned_tokens)
            .field("budget_tokens", totals.budget_tokens)
            .field("finished_stop", totals.finished_stop)
            .field("finished_length", totals.finished_length)
            .field("finished_failed", totals.finished_failed)
            .field("aborted", totals.aborted)
            .end()
    }
}
