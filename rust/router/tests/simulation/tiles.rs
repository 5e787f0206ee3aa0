//! Where steps with more prompts than they take end: at whole tiles of a matrix product.

use lightllm_router::{PolicyConfig, Request, RequestId, SchedulerConfig};

use crate::backend::Fault;
use crate::driver::Driver;

const GOOD: Fault = Fault { row: None, step: false };

/// Prompt tokens of a step with one decode row, while many prompts of so many tokens wait.
fn prompt_tokens(length: usize) -> u32 {
    let mut driver = Driver::new(SchedulerConfig {
        pages: 4096,
        page_size: 64,
        slots: 64,
        context: 8192,
        step_tokens: 8192,
        prefill_chunk: 8192,
        queue_requests: 100,
        queue_tokens: 1_000_000,
        balance_tokens: 512,
        policy: PolicyConfig::Aggressive { watermark: 1.0 },
        ..SchedulerConfig::default()
    });
    let request = |token: u32| Request::new(RequestId(0), vec![token; length], 4);
    driver.add(request(0)).expect("room");
    assert!(driver.schedule() && driver.answer(GOOD), "the first one decodes now");
    (1..=20).for_each(|token| _ = driver.add(request(token)).expect("room"));
    assert!(driver.schedule());
    let plan = driver.plans.back().expect("just planned");
    assert_eq!(plan.rows.iter().filter(|row| row.from_last).count(), 1);
    let tokens = plan.rows.iter().filter(|row| !row.from_last).map(|row| row.tokens).sum();
    assert!(driver.answer(GOOD));
    driver.finish(2);
    tokens
}

/// Of the 256 rows of a tile, eight are the decode row's, as in a captured step.
#[test]
fn long_steps_are_even_numbers_of_tiles() {
    let found = [300, 800, 1100, 1700, 1850, 4000].map(prompt_tokens);
    assert_eq!(found, [512, 3 * 256 - 8, 4 * 256 - 8, 6 * 256 - 8, 6 * 256 - 8, 8 * 256 - 8]);
}

/// A thousand decode rows fill four tiles, and of 1,200 tokens a step has room for 200 more.
#[test]
fn prompts_get_on_where_decode_rows_fill_whole_tiles() {
    const ROWS: usize = 1000;
    let mut driver = Driver::new(SchedulerConfig {
        pages: 4096,
        page_size: 64,
        slots: 1024,
        context: 8192,
        step_tokens: 1200,
        prefill_chunk: 8192,
        queue_requests: 2000,
        queue_tokens: 1_000_000,
        balance_tokens: 1024,
        policy: PolicyConfig::Aggressive { watermark: 1.0 },
        ..SchedulerConfig::default()
    });
    (1..=ROWS).for_each(|token| _ = driver.add(Request::new(RequestId(0), vec![token as u32], 4)).expect("room"));
    assert!(driver.schedule() && driver.answer(GOOD), "all of them decode now");
    driver.add(Request::new(RequestId(0), vec![5; 4000], 4)).expect("room");
    assert!(driver.schedule());
    let plan = driver.plans.back().expect("just planned");
    let decodes = plan.rows.iter().filter(|row| row.from_last).count();
    let tokens: u32 = plan.rows.iter().filter(|row| !row.from_last).map(|row| row.tokens).sum();
    assert_eq!((decodes, tokens), (ROWS, 200));
    assert!(driver.answer(GOOD));
    driver.finish(2);
}
