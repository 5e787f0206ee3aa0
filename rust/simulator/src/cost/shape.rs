use lightllm_router::StepPlan;

/// What of a plan its time depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepShape {
    /// Tokens of all prefill rows.
    pub prefill_tokens: u64,
    /// Rows that compute one token after the last one.
    pub decode_rows: u64,
    /// Positions that all decode rows attend to, their own included; those that rows of a group have in common count
    /// once, since they are read once.
    pub decode_context: u64,
    /// For each prefill token, positions before its row's first one: what chunks and cached prefixes add to the work
    /// of attention.
    pub prefill_context: u64,
    /// For each prefill token, positions of its own row up to it.
    pub prefill_own: u64,
    /// Positions before the first one, over all prefill rows: what they read from the KV cache.
    pub prefill_start: u64,
    /// Rows that sample a token.
    pub emitting_rows: u64,
}

impl StepShape {
    /// The shape of a plan for a cache with pages of so many positions.
    pub fn of(plan: &StepPlan, page_size: u32) -> Self {
        let mut shape = Self::default();
        for row in &plan.rows {
            let (start, tokens) = (u64::from(row.start), u64::from(row.tokens));
            if row.from_last {
                shape.decode_rows += 1;
                shape.decode_context += start + 1;
            } else {
                shape.prefill_tokens += tokens;
                shape.prefill_start += start;
                shape.prefill_context += tokens * start;
                shape.prefill_own += tokens * (tokens + 1) / 2;
            }
            shape.emitting_rows += u64::from(row.emits);
        }
        for group in &plan.groups {
            let pages = (u64::from(group.rows) - 1) * u64::from(group.pages);
            shape.decode_context -= pages * u64::from(page_size);
        }
        shape
    }
}
