//! What a step is made of, in each mode.

use lightllm_router::{PolicyConfig, Request, RequestId, ScheduleMode, SchedulerConfig};

use crate::backend::Fault;
use crate::driver::Driver;

const GOOD: Fault = Fault { row: None, step: false };

fn driver(mode: ScheduleMode) -> Driver {
    Driver::new(SchedulerConfig {
        pages: 64,
        page_size: 4,
        slots: 8,
        context: 128,
        step_tokens: 16,
        prefill_chunk: 16,
        queue_requests: 100,
        queue_tokens: 10_000,
        mode,
        max_wait_tokens: 3,
        policy: PolicyConfig::Aggressive { watermark: 1.0 },
        debug_checks: true,
        ..SchedulerConfig::default()
    })
}

fn add(driver: &mut Driver, token: u32, length: usize) {
    driver.add(Request::new(RequestId(0), vec![token; length], 20)).expect("room");
}

/// The requests of each of the next steps: those that prefill as P, those that decode as D.
fn steps(driver: &mut Driver, count: usize) -> Vec<String> {
    let step = |driver: &mut Driver| {
        assert!(driver.schedule());
        let plan = driver.plans.back().expect("just planned");
        let rows = plan.rows.iter().map(|row| format!("{}{}", if row.from_last { "D" } else { "P" }, row.request));
        let rows = rows.collect::<Vec<_>>().join(" ");
        driver.answer(GOOD);
        rows
    };
    (0..count).map(|_| step(driver)).collect()
}

#[test]
fn chunked_does_both() {
    let mut driver = driver(ScheduleMode::Chunked);
    add(&mut driver, 0, 5);
    assert_eq!(steps(&mut driver, 1), ["P0"]);
    add(&mut driver, 1, 20);
    assert_eq!(steps(&mut driver, 3), ["D0 P1", "D0 P1", "D0 D1"]);
    driver.finish(2);
}

#[test]
fn prefill_first_lets_decodes_wait() {
    let mut driver = driver(ScheduleMode::PrefillFirst);
    add(&mut driver, 0, 5);
    add(&mut driver, 1, 20);
    assert_eq!(steps(&mut driver, 3), ["P0 P1", "P1", "D0 D1"]);
    add(&mut driver, 0, 3);
    assert_eq!(steps(&mut driver, 3), ["P2", "D0 D1 D2", "D0 D1 D2"]);
    driver.finish(2);
}

#[test]
fn decode_first_lets_prompts_wait_for_so_many_tokens() {
    let mut driver = driver(ScheduleMode::DecodeFirst);
    add(&mut driver, 0, 5);
    assert_eq!(steps(&mut driver, 2), ["P0", "D0"]);
    add(&mut driver, 1, 20);
    assert_eq!(steps(&mut driver, 7), ["D0", "D0", "P1", "D0", "D0", "D0", "P1"]);
    assert_eq!(steps(&mut driver, 5), ["D0 D1"; 5], "nothing else waits");
    add(&mut driver, 1, 3);
    assert_eq!(steps(&mut driver, 2), ["P2", "D0 D1 D2"], "it has been long enough");
    driver.finish(2);
}
