//! Settings of the order of requests, as Python sees them.

use lightllm_router as core;
use pyo3::prelude::*;

use crate::arguments::{Given, boolean_or, integer_or};
use crate::text::Repr;

/// Who goes before whom. Times are in nanoseconds.
#[pyclass(module = "lightllm_rs._core", frozen, eq)]
#[derive(Clone, PartialEq)]
pub struct OrderConfig(pub core::OrderConfig);

#[pymethods]
impl OrderConfig {
    #[new]
    #[pyo3(
        signature = (*, priority_age_ns=None, tenant_quantum=None, ttft_target_ns=None, refuse_late=None,
            bypass_limit=None, group_tokens=None),
        text_signature = "(*, priority_age_ns=5000000000, tenant_quantum=256, ttft_target_ns=0, refuse_late=False, \
            bypass_limit=64, group_tokens=256)"
    )]
    fn new(
        priority_age_ns: Given<'_, '_>,
        tenant_quantum: Given<'_, '_>,
        ttft_target_ns: Given<'_, '_>,
        refuse_late: Given<'_, '_>,
        bypass_limit: Given<'_, '_>,
        group_tokens: Given<'_, '_>,
    ) -> PyResult<Self> {
        let default = core::OrderConfig::default();
        Ok(Self(core::OrderConfig {
            priority_age_ns: integer_or(priority_age_ns, "priority_age_ns", default.priority_age_ns)?,
            tenant_quantum: integer_or(tenant_quantum, "tenant_quantum", default.tenant_quantum)?,
            ttft_target_ns: integer_or(ttft_target_ns, "ttft_target_ns", default.ttft_target_ns)?,
            refuse_late: boolean_or(refuse_late, "refuse_late", default.refuse_late)?,
            bypass_limit: integer_or(bypass_limit, "bypass_limit", default.bypass_limit)?,
            group_tokens: integer_or(group_tokens, "group_tokens", default.group_tokens)?,
        }))
    }

    #[getter]
    fn priority_age_ns(&self) -> u64 {
        self.0.priority_age_ns
    }

    #[getter]
    fn tenant_quantum(&self) -> u32 {
        self.0.tenant_quantum
    }

    #[getter]
    fn ttft_target_ns(&self) -> u64 {
        self.0.ttft_target_ns
    }

    #[getter]
    fn refuse_late(&self) -> bool {
        self.0.refuse_late
    }

    #[getter]
    fn bypass_limit(&self) -> u32 {
        self.0.bypass_limit
    }

    #[getter]
    fn group_tokens(&self) -> u32 {
        self.0.group_tokens
    }

    pub fn __repr__(&self) -> String {
        let order = &self.0;
        Repr::new("OrderConfig")
            .field("priority_age_ns", order.priority_age_ns)
            .field("tenant_quantum", order.tenant_quantum)
            .field("ttft_target_ns", order.ttft_target_ns)
            .boolean("refuse_late", order.refuse_late)
            .field("bypass_limit", order.bypass_limit)
            .field("group_tokens", order.group_tokens)
            .end()
    }
}
