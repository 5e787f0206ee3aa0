use serde_bytes::ByteBuf;

use crate::*;

fn sampling() -> Sampling {
    Sampling {
        temperature: 0.5,
        top_p: 1.0,
        top_k: 0,
        min_p: 0.0,
        seed: 7,
        presence: 0.0,
        frequency: 0.0,
        repetition: 1.0,
        min_tokens: 0,
        logprobs: -1,
        prompt_logprobs: -1,
        end_ids: vec![1, 2].into(),
        bias_ids: Words::default(),
        bias_values: ByteBuf::new(),
    }
}

fn packed(words: &[u32]) -> ByteBuf {
    let mut bytes = Vec::new();
    pack(&mut bytes, words.iter().copied());
    ByteBuf::from(bytes)
}

#[test]
fn a_packed_plan_is_a_plan() {
    let attach = Attach {
        slot: 3,
        prompt_len: 4,
        sampling: sampling(),
        history: Some(vec![5, 6].into()),
        position_offset: -1,
        images: vec![ImageSpan { start: 1, tokens: 2, key: ByteBuf::from([7; 16]), grid: [1, 1, 2], ready: true }],
    };
    let plan = StepPlan {
        step: 9,
        detach: vec![1].into(),
        attach: vec![attach.clone()],
        copies: vec![2, 3].into(),
        rows: vec![3, 0, 4, 1, 1].into(),
        new_pages: vec![70_000].into(),
        token_ids: vec![u32::MAX, 0, 1, 2].into(),
        groups: vec![0, 4, 16].into(),
    };
    let same = PackedPlan {
        step: 9,
        detach: packed(&[1]),
        attach: vec![attach],
        copies: packed(&[2, 3]),
        rows: packed(&[3, 0, 4, 1, 1]),
        new_pages: packed(&[70_000]),
        token_ids: packed(&[u32::MAX, 0, 1, 2]),
        groups: packed(&[0, 4, 16]),
    };
    assert_eq!(encode(&same), encode(&plan));
}

#[test]
fn rows_that_were_encoded_one_by_one_are_an_output() {
    let row = |request, tokens: Vec<u32>| OutputRow {
        request,
        tokens: tokens.into(),
        finish: FINISH_LENGTH,
        admission: Some(Admission { cached_tokens: 3, queue_us: 1 << 40, image_wait_us: 1 }),
        logprobs: None,
        prompt_start: 0,
        prompt_logprobs: None,
    };
    for count in [1_u32, 2, 20, 70_000] {
        let rows: Vec<OutputRow> = (0..count).map(|index| row(index.into(), vec![index; index as usize % 3])).collect();
        let (mut encoded, mut frame) = (Vec::new(), Vec::new());
        for row in &rows {
            encode_into(&mut encoded, row);
        }
        StepOutput::frame_of(&mut frame, &encoded, count);
        assert_eq!(decode::<RouterMessage>(&frame).expect("a frame"), StepOutput { rows }.into());
    }
}
