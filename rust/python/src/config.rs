//! Settings of the scheduler, as Python sees them.

use lightllm_router as core;
use pyo3::prelude::*;

use crate::arguments::{Given, boolean_or, instance, integer_or, name_of, named_or};
use crate::errors::{invalid_argument, scheduler_error};
use crate::order::OrderConfig;
use crate::policy::PolicyConfig;
use crate::text::Repr;

/// More would ask for more memory than there is, and that can't be caught.
const MOST_PAGES: u32 = 1 << 26;
const MOST_SLOTS: u32 = 1 << 20;

/// Sizes, bounds and policies of a `Scheduler`. Lengths are in tokens, unless they say otherwise.
#[pyclass(module = "lightllm_rs._core", frozen, eq)]
#[derive(Clone, PartialEq)]
pub struct SchedulerConfig(pub core::SchedulerConfig);

#[pymethods]
impl SchedulerConfig {
    #[new]
    #[pyo3(
        signature = (*, pages=None, page_size=None, slots=None, context=None, step_tokens=None, step_ns=None,
            plan_lead_ns=None, balance_tokens=None, prefill_chunk=None,
            queue_requests=None, queue_tokens=None, shared_rows=None,
            shared_tokens=None, prefix_cache=None, mode=None, max_wait_tokens=None, policy=None,
            order=None, eviction=None, seed=None,
            debug_checks=None),
        text_signature = "(*, pages=4096, page_size=16, slots=256, context=8192, step_tokens=2048, \
            step_ns=0, plan_lead_ns=0, balance_tokens=0, prefill_chunk=2048, queue_requests=4096, queue_tokens=8388608, shared_rows=4, \
            shared_tokens=256, prefix_cache=True, mode='chunked', \
            max_wait_tokens=8, policy=None, order=None, eviction='lru', seed=0, \
            debug_checks=False)"
    )]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments, one a setting")]
    fn new(
        py: Python<'_>,
        pages: Given<'_, '_>,
        page_size: Given<'_, '_>,
        slots: Given<'_, '_>,
        context: Given<'_, '_>,
        step_tokens: Given<'_, '_>,
        step_ns: Given<'_, '_>,
        plan_lead_ns: Given<'_, '_>,
        balance_tokens: Given<'_, '_>,
        prefill_chunk: Given<'_, '_>,
        queue_requests: Given<'_, '_>,
        queue_tokens: Given<'_, '_>,
        shared_rows: Given<'_, '_>,
        shared_tokens: Given<'_, '_>,
        prefix_cache: Given<'_, '_>,
        mode: Given<'_, '_>,
        max_wait_tokens: Given<'_, '_>,
        policy: Given<'_, '_>,
        order: Given<'_, '_>,
        eviction: Given<'_, '_>,
        seed: Given<'_, '_>,
        debug_checks: Given<'_, '_>,
    ) -> PyResult<Self> {
        let default = core::SchedulerConfig::default();
        let config = core::SchedulerConfig {
            pages: integer_or(pages, "pages", default.pages)?,
            page_size: integer_or(page_size, "page_size", default.page_size)?,
            slots: integer_or(slots, "slots", default.slots)?,
            context: integer_or(context, "context", default.context)?,
            step_tokens: integer_or(step_tokens, "step_tokens", default.step_tokens)?,
            step_ns: integer_or(step_ns, "step_ns", default.step_ns)?,
            plan_lead_ns: integer_or(plan_lead_ns, "plan_lead_ns", default.plan_lead_ns)?,
            balance_tokens: integer_or(balance_tokens, "balance_tokens", default.balance_tokens)?,
            prefill_chunk: integer_or(prefill_chunk, "prefill_chunk", default.prefill_chunk)?,
            queue_requests: integer_or(queue_requests, "queue_requests", default.queue_requests)?,
            queue_tokens: integer_or(queue_tokens, "queue_tokens", default.queue_tokens)?,
            shared_rows: integer_or(shared_rows, "shared_rows", default.shared_rows)?,
            shared_tokens: integer_or(shared_tokens, "shared_tokens", default.shared_tokens)?,
            prefix_cache: boolean_or(prefix_cache, "prefix_cache", default.prefix_cache)?,
            mode: named_or(mode, "mode", default.mode)?,
            max_wait_tokens: integer_or(max_wait_tokens, "max_wait_tokens", default.max_wait_tokens)?,
            policy: policy.map_or(Ok(default.policy), |policy| PolicyConfig::given(policy, "policy"))?,
            order: match order {
                Some(order) => instance::<OrderConfig>(order, "order")?.get().0,
                None => default.order,
            },
            eviction: named_or(eviction, "eviction", default.eviction)?,
            seed: integer_or(seed, "seed", default.seed)?,
            debug_checks: boolean_or(debug_checks, "debug_checks", default.debug_checks)?,
        };
        config.validate().map_err(|error| scheduler_error(py, &error))?;
        for (setting, value, most) in [("pages", config.pages, MOST_PAGES), ("slots", config.slots, MOST_SLOTS)] {
            if value > most {
                return Err(invalid_argument(py, setting, &format!("is {value}: it must be at most {most}")));
            }
        }
        Ok(Self(config))
    }

    #[getter]
    fn pages(&self) -> u32 {
        self.0.pages
    }

    #[getter]
    fn page_size(&self) -> u32 {
        self.0.page_size
    }

    #[getter]
    fn slots(&self) -> u32 {
        self.0.slots
    }

    #[getter]
    fn context(&self) -> u32 {
        self.0.context
    }

    #[getter]
    fn step_tokens(&self) -> u32 {
        self.0.step_tokens
    }

    #[getter]
    fn step_ns(&self) -> u64 {
        self.0.step_ns
    }

    #[getter]
    fn plan_lead_ns(&self) -> u64 {
        self.0.plan_lead_ns
    }

    #[getter]
    fn balance_tokens(&self) -> u32 {
        self.0.balance_tokens
    }

    #[getter]
    fn prefill_chunk(&self) -> u32 {
        self.0.prefill_chunk
    }

    #[getter]
    fn queue_requests(&self) -> usize {
        self.0.queue_requests
    }

    #[getter]
    fn queue_tokens(&self) -> u64 {
        self.0.queue_tokens
    }

    #[getter]
    fn shared_rows(&self) -> u32 {
        self.0.shared_rows
    }

    #[getter]
    fn shared_tokens(&self) -> u32 {
        self.0.shared_tokens
    }

    #[getter]
    fn prefix_cache(&self) -> bool {
        self.0.prefix_cache
    }

    #[getter]
    fn mode(&self) -> String {
        name_of(&self.0.mode)
    }

    #[getter]
    fn max_wait_tokens(&self) -> u32 {
        self.0.max_wait_tokens
    }

    #[getter]
    fn policy(&self) -> PolicyConfig {
        PolicyConfig(self.0.policy)
    }

    #[getter]
    fn order(&self) -> OrderConfig {
        OrderConfig(self.0.order)
    }

    #[getter]
    fn eviction(&self) -> String {
        name_of(&self.0.eviction)
    }

    #[getter]
    fn seed(&self) -> u64 {
        self.0.seed
    }

    #[getter]
    fn debug_checks(&self) -> bool {
        self.0.debug_checks
    }

    fn __repr__(&self) -> String {
        let config = &self.0;
        Repr::new("SchedulerConfig")
            .field("pages", config.pages)
            .field("page_size", config.page_size)
            .field("slots", config.slots)
            .field("context", config.context)
            .field("step_tokens", config.step_tokens)
            .field("step_ns", config.step_ns)
            .field("plan_lead_ns", config.plan_lead_ns)
            .field("balance_tokens", config.balance_tokens)
            .field("prefill_chunk", config.prefill_chunk)
            .field("queue_requests", config.queue_requests)
            .field("queue_tokens", config.queue_tokens)
            .field("shared_rows", config.shared_rows)
            .field("shared_tokens", config.shared_tokens)
            .boolean("prefix_cache", config.prefix_cache)
            .field("mode", self.mode())
            .field("max_wait_tokens", config.max_wait_tokens)
            .verbatim("policy", &self.policy().__repr__())
            .verbatim("order", &self.order().__repr__())
            .field("eviction", self.eviction())
            .field("seed", config.seed)
            .boolean("debug_checks", config.debug_checks)
            .end()
    }
}
