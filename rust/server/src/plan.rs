use lightllm_router::StepPlan;
use lightllm_wire::{self as wire, FLAG_EMITS, FLAG_FROM_LAST, ROW_WORDS};

use crate::clients::Clients;

/// The plan as the ranks read it.
pub fn plan_message(plan: &StepPlan, clients: &Clients) -> wire::StepPlan {
    let mut rows = Vec::with_capacity(plan.rows.len() * ROW_WORDS);
    let mut new_pages = Vec::new();
    for row in &plan.rows {
        let flags = if row.emits { FLAG_EMITS } else { 0 } | if row.from_last { FLAG_FROM_LAST } else { 0 };
        rows.extend([row.slot.0, row.start, row.tokens, row.new_pages.len() as u32, flags]);
        new_pages.extend(row.new_pages.iter().map(|page| page.0));
    }
    let attach = plan.attach.iter().map(|attach| {
        let live = clients.get(attach.request).expect("a request that is planned is live: an abort reaches both books");
        wire::Attach {
            slot: attach.slot.0,
            prompt_len: attach.prompt_len,
            sampling: live.sampling(),
            history: attach.history.clone().map(Into::into),
            position_offset: 0,
            images: Vec::new(),
        }
    });
    wire::StepPlan {
        step: plan.step,
        detach: plan.detach.iter().map(|slot| slot.0).collect::<Vec<_>>().into(),
        attach: attach.collect(),
        copies: plan.copies.iter().flat_map(|(from, to)| [from.0, to.0]).collect::<Vec<_>>().into(),
        rows: rows.into(),
        new_pages: new_pages.into(),
        token_ids: plan.token_ids.clone().into(),
        groups: Vec::new().into(),
    }
}
