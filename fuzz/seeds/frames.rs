//! One frame of many a kind.

use lightllm_wire::{self as wire, cache, encode};
use serde_bytes::ByteBuf;

pub fn frames() -> Vec<Vec<u8>> {
    let words = || wire::Words(vec![1, 2, 3]);
    let row = wire::OutputRow {
        request: 7,
        tokens: words(),
        finish: wire::FINISH_STOP,
        admission: Some(wire::Admission { cached_tokens: 16, queue_us: 1500, image_wait_us: 20 }),
        logprobs: None,
        prompt_start: 0,
        prompt_logprobs: None,
    };
    let failed = wire::Failed { request: 7, kind: "queue_full".into(), message: "later".into(), retry_after: 3 };
    let hello = wire::RankHello {
        protocol: wire::PROTOCOL,
        rank: 0,
        world: 1,
        pages: 64,
        page_size: 16,
        slots: 4,
        vocab: 1000,
        context: 512,
        images: true,
    };
    let image = wire::ImageSpan { start: 1, tokens: 2, key: ByteBuf::from([7; 16]), grid: [1, 1, 2], ready: true };
    let sampling = wire::Sampling {
        temperature: 0.7,
        top_p: 0.9,
        top_k: -1,
        min_p: 0.0,
        seed: 5,
        presence: 0.0,
        frequency: 0.0,
        repetition: 1.1,
        min_tokens: 0,
        logprobs: 2,
        prompt_logprobs: -1,
        end_ids: words(),
        bias_ids: wire::Words(vec![4]),
        bias_values: ByteBuf::from(vec![0, 0, 128, 63]),
    };
    let add = wire::Add {
        request: 7,
        prompt: words(),
        max_tokens: 100,
        sampling: sampling.clone(),
        cache_salt: "tenant".into(),
        priority: -1,
        deadline_ms: 500,
        tenant: 3,
        class_label: 4,
        siblings: vec![wire::Sibling { request: 8, seed: 6 }],
        images: vec![image.clone()],
        position_offset: -1,
    };
    let attach = wire::Attach {
        slot: 1,
        prompt_len: 3,
        sampling,
        history: Some(words()),
        position_offset: -1,
        images: vec![image],
    };
    let plan = wire::StepPlan {
        step: 9,
        detach: words(),
        attach: vec![attach],
        copies: wire::Words(vec![1, 2]),
        rows: wire::Words(vec![1, 0, 3, 1, wire::FLAG_EMITS]),
        new_pages: words(),
        token_ids: words(),
        groups: wire::Words(vec![0, 4, 16]),
    };
    let logprobs = wire::TokenLogprobs { chosen: -0.5, ids: words(), values: ByteBuf::from(vec![0; 12]) };
    let extra = wire::RowExtra {
        row: 0,
        logprobs: Some(vec![logprobs]),
        prompt_start: 0,
        prompt_logprobs: None,
        error: Some("not finite".into()),
    };
    let result =
        wire::StepResult { step: 9, rows: words(), counts: words(), tokens: words(), extras: vec![extra], busy_us: 9 };
    let want = cache::Want {
        key: cache::Key::new([7; 16]),
        data_len: 1 << 20,
        feature_len: 1 << 40,
        pixels: 640 * 480,
        original_pixels: 4032 * 3024,
        recipe: ByteBuf::from(vec![1, 2]),
    };
    let granted = cache::Granted {
        lease: 1,
        key: want.key,
        state: cache::STATE_READY,
        slot: 3,
        generation: 4,
        data_len: 5,
        feature_len: 6,
        pixels: 7,
        recipe: ByteBuf::new(),
        data: wire::Words(vec![]),
        features: wire::Words(vec![0, 16, 40, 2]),
    };
    let failures = vec![(1, "truncated".into())];
    vec![
        encode(&cache::Acquire { request: 1, wants: vec![want] }),
        encode(&cache::Take { request: 2, max_items: 8, max_pixels: 1 << 33, max_original_pixels: 1 << 25 }),
        encode(&cache::Keep { request: 5, leases: vec![9, 10] }),
        encode(&cache::Kept { request: 5, kept: ByteBuf::from(vec![1, 0]) }),
        encode(&cache::Fail { request: 3, lease: 9, message: "truncated".into() }),
        encode(&cache::Leased { request: 1, items: vec![Some(granted), None] }),
        encode(&cache::Decided { request: 4, states: ByteBuf::from(vec![2, 3]), failures }),
        encode(&add),
        encode(&plan),
        encode(&result),
        encode(&wire::ClientHello { protocol: wire::PROTOCOL, name: "http-0".into() }),
        encode(&wire::Abort { requests: vec![1, 2, 3] }),
        encode(&wire::ImageReady { request: 7, image: 0 }),
        encode(&wire::Received { total: 1 << 40 }),
        encode(&wire::StepOutput { rows: vec![row] }),
        encode(&failed),
        encode(&hello),
        encode(&wire::RankStop {}),
        encode(&wire::StepFailed { step: 9, rank: 0, message: "out of memory".into() }),
        encode(&wire::ChildHello { protocol: wire::PROTOCOL, process: "router".into(), pid: 42 }),
        encode(&wire::Fatal { message: "no".into() }),
        encode(&wire::Ready {}),
        encode(&wire::HealthQuery { query: 1 }),
        encode(&wire::MetricsQuery { query: 1 }),
    ]
}
