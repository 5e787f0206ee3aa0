//! One number that stands for a plan.

use lightllm_router::StepPlan;

/// A 64-bit digest of all fields of a plan. Token ids and histories count with their contents if `tokens`, otherwise
/// with their lengths alone: a journal without token ids can't tell them.
///
/// The fields are taken in as 64-bit words, in the order of [`StepPlan`], each list after its length; `h` is the
/// digest so far, 0 at first:
///
/// ```text
/// h = (h ^ word) * 0x9E3779B97F4A7C15 mod 2^64;   h = h ^ (h >> 32)
/// ```
///
/// Both lines can be undone, so two plans that differ in a single word never have the same digest. Words: `step`;
/// a detach is its slot; an attach is `slot << 32 | prompt_len`, `request`, and the length of its history plus one (0
/// without one), which has bit 63 set if its rows read images: then `first << 32 | after the last` of those follows; a copy is `from << 32 | to`; a row is `slot << 32 | start`, `request`, `tokens << 32 | new pages << 2
/// | from_last << 1 | emits`, and each new page; a token id is itself; a group is `first row << 32 | rows` and its pages,
/// and as the last list has no length before it.
pub fn digest(plan: &StepPlan, tokens: bool) -> u64 {
    let mut digest = Digest(0);
    digest.word(plan.step);
    digest.length(plan.detach.len());
    for slot in &plan.detach {
        digest.word(slot.0.into());
    }
    digest.length(plan.attach.len());
    for attach in &plan.attach {
        digest.pair(attach.slot.0, attach.prompt_len);
        digest.word(attach.request.0);
        let images = &attach.images;
        let history = attach.history.as_ref().map_or(0, |history| history.len() as u64 + 1);
        digest.word(history | u64::from(!images.is_empty()) << 63);
        if !images.is_empty() {
            digest.pair(images.start, images.end);
        }
        if tokens {
            attach.history.iter().flatten().for_each(|token| digest.word((*token).into()));
        }
    }
    digest.length(plan.copies.len());
    for (from, to) in &plan.copies {
        digest.pair(from.0, to.0);
    }
    digest.length(plan.rows.len());
    for row in &plan.rows {
        digest.pair(row.slot.0, row.start);
        digest.word(row.request.0);
        let flags = u32::from(row.from_last) << 1 | u32::from(row.emits);
        digest.pair(row.tokens, (row.new_pages.len() as u32) << 2 | flags);
        row.new_pages.iter().for_each(|page| digest.word(page.0.into()));
    }
    digest.length(plan.token_ids.len());
    if tokens {
        plan.token_ids.iter().for_each(|token| digest.word((*token).into()));
    }
    for group in &plan.groups {
        digest.pair(group.first_row, group.rows);
        digest.word(group.pages.into());
    }
    digest.0
}

struct Digest(u64);

impl Digest {
    fn word(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn pair(&mut self, high: u32, low: u32) {
        self.word(u64::from(high) << 32 | u64::from(low));
    }

    fn length(&mut self, length: usize) {
        self.word(length as u64);
    }
}

#[cfg(test)]
mod tests {
    use lightllm_router::{Attach, PageId, PrefixGroup, RequestId, Row, SlotId};

    use super::*;

    fn plan() -> StepPlan {
        StepPlan {
            step: 3,
            detach: vec![SlotId(1)],
            attach: vec![Attach {
                slot: SlotId(2),
                request: RequestId(9),
                prompt_len: 4,
                history: Some(vec![5, 6]),
                images: 0..0,
            }],
            copies: vec![(PageId(7), PageId(8))],
            rows: vec![Row {
                slot: SlotId(2),
                request: RequestId(9),
                start: 1,
                tokens: 3,
                new_pages: vec![PageId(7)],
                emits: true,
                from_last: false,
            }],
            token_ids: vec![10, 11, 12],
            groups: Vec::new(),
        }
    }

    /// The digest is part of the format: journals outlive the program that wrote them.
    #[test]
    fn the_function_stays_what_it_is() {
        assert_eq!(digest(&plan(), false), 0x0D9C_FB2F_3990_37A7);
        assert_eq!(digest(&plan(), true), 0x6E61_0218_5DE4_B1FD);
    }

    #[test]
    fn every_field_counts() {
        const GROUP: PrefixGroup = PrefixGroup { first_row: 0, rows: 4, pages: 16 };
        let changes: [fn(&mut StepPlan); 27] = [
            |plan| plan.step += 1,
            |plan| plan.detach[0].0 += 1,
            |plan| plan.detach.clear(),
            |plan| plan.attach[0].slot.0 += 1,
            |plan| plan.attach[0].request.0 += 1,
            |plan| plan.attach[0].prompt_len += 1,
            |plan| plan.attach[0].history = None,
            |plan| plan.attach[0].history = Some(Vec::new()),
            |plan| plan.attach[0].images = 0..1,
            |plan| plan.attach[0].images = 1..2,
            |plan| plan.attach.clear(),
            |plan| plan.copies[0].0.0 += 1,
            |plan| plan.copies[0].1.0 += 1,
            |plan| plan.copies.clear(),
            |plan| plan.rows[0].slot.0 += 1,
            |plan| plan.rows[0].request.0 += 1,
            |plan| plan.rows[0].start += 1,
            |plan| plan.rows[0].tokens += 1,
            |plan| plan.rows[0].new_pages[0].0 += 1,
            |plan| plan.rows[0].new_pages.clear(),
            |plan| plan.rows[0].emits = false,
            |plan| plan.rows[0].from_last = true,
            |plan| plan.rows.clear(),
            |plan| plan.token_ids.clear(),
            |plan| plan.groups.push(GROUP),
            |plan| plan.groups.push(PrefixGroup { rows: 5, ..GROUP }),
            |plan| plan.groups.push(PrefixGroup { pages: 17, ..GROUP }),
        ];
        for tokens in [false, true] {
            let mut digests = vec![digest(&plan(), tokens)];
            for change in changes {
                let mut plan = plan();
                change(&mut plan);
                digests.push(digest(&plan, tokens));
            }
            let distinct: std::collections::BTreeSet<u64> = digests.iter().copied().collect();
            assert_eq!(distinct.len(), digests.len());
        }
    }

    #[test]
    fn the_contents_of_tokens_count_where_they_are_known() {
        let changes: [fn(&mut StepPlan); 2] =
            [|plan| plan.token_ids[1] += 1, |plan| plan.attach[0].history = Some(vec![5, 7])];
        for change in changes {
            let mut other = plan();
            change(&mut other);
            assert_eq!(digest(&other, false), digest(&plan(), false));
            assert_ne!(digest(&other, true), digest(&plan(), true));
        }
    }
}
