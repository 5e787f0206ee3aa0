//! Settings of the order.

/// Who goes before whom. Times are in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OrderConfig {
    /// A request that has waited for so long counts as one priority better, again and again, up to the best priority
    /// that any waiting request was given. 0: it never does.
    pub priority_age_ns: u64,
    /// Tokens that each tenant gets in one round of the deficit round robin, 1 at least.
    pub tenant_quantum: u32,
    /// Time to the first token that requests without a deadline of their own should see. 0: none.
    pub ttft_target_ns: u64,
    /// Refuse a request that can no longer make its deadline, instead of serving it late.
    pub refuse_late: bool,
    /// Requests that may overtake one that does not fit, before all behind it wait.
    pub bypass_limit: u32,
    /// Tokens of an uncached prefix that two requests must share to go one after the other, the second waiting for
    /// the first's pages. 0: prefixes do not count.
    pub group_tokens: u32,
}

impl Default for OrderConfig {
    fn default() -> Self {
        Self {
            priority_age_ns: 5_000_000_000,
            tenant_quantum: 256,
            ttft_target_ns: 0,
            refuse_late: false,
            bypass_limit: 64,
            group_tokens: 256,
        }
    }
}
