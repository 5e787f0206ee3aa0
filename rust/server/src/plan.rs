use lightllm_router::StepPlan;
use lightllm_wire::{self as wire, FLAG_EMITS, FLAG_FROM_LAST, GROUP_WORDS, PackedPlan, ROW_WORDS, encode_into, pack};

use crate::clients::Clients;
use crate::images::attached;

/// Writes plans as the ranks read them. It keeps its memory: a plan is written at each step.
#[derive(Default)]
pub struct PlanWriter {
    packed: PackedPlan,
    frame: Vec<u8>,
}

impl PlanWriter {
    /// The frame of a plan.
    pub fn frame(&mut self, plan: &StepPlan, clients: &Clients) -> &[u8] {
        let packed = &mut self.packed;
        let PackedPlan { detach, copies, rows, new_pages, token_ids, groups, .. } = packed;
        for words in [detach, copies, rows, new_pages, token_ids, groups] {
            words.clear();
        }
        packed.step = plan.step;
        pack(&mut packed.detach, plan.detach.iter().map(|slot| slot.0));
        pack(&mut packed.copies, plan.copies.iter().flat_map(|(from, to)| [from.0, to.0]));
        pack(&mut packed.token_ids, plan.token_ids.iter().copied());
        for row in &plan.rows {
            let flags = if row.emits { FLAG_EMITS } else { 0 } | if row.from_last { FLAG_FROM_LAST } else { 0 };
            let words: [u32; ROW_WORDS] = [row.slot.0, row.start, row.tokens, row.new_pages.len() as u32, flags];
            pack(&mut packed.rows, words);
            pack(&mut packed.new_pages, row.new_pages.iter().map(|page| page.0));
        }
        for group in &plan.groups {
            let words: [u32; GROUP_WORDS] = [group.first_row, group.rows, group.pages];
            pack(&mut packed.groups, words);
        }
        packed.attach.clear();
        packed.attach.extend(plan.attach.iter().map(|attach| {
            let live =
                clients.get(attach.request).expect("a request that is planned is live: an abort reaches both books");
            wire::Attach {
                slot: attach.slot.0,
                prompt_len: attach.prompt_len,
                sampling: live.sampling(),
                history: attach.history.clone().map(Into::into),
                position_offset: live.shared.position_offset,
                images: attached(&live.shared.images, &attach.images),
            }
        }));
        self.frame.clear();
        encode_into(&mut self.frame, packed);
        &self.frame
    }
}
