//! Who waits for whom, and who makes room for whom.

use lightllm_router::{OrderConfig, PolicyConfig, Request, RequestId, SchedulerConfig};

use crate::backend::Fault;
use crate::driver::{Driver, State};

const GOOD: Fault = Fault { row: None, step: false };

fn config() -> SchedulerConfig {
    SchedulerConfig {
        pages: 64,
        page_size: 4,
        slots: 8,
        context: 128,
        step_tokens: 32,
        prefill_chunk: 8,
        queue_requests: 100,
        queue_tokens: 10_000,
        policy: PolicyConfig::Aggressive { watermark: 1.0 },
        order: OrderConfig { group_tokens: 8, ..OrderConfig::default() },
        debug_checks: true,
        ..SchedulerConfig::default()
    }
}

/// A prompt that begins with so many zeros.
fn prompt(zeros: usize, then: &[u32]) -> Request {
    Request::new(RequestId(0), [vec![0; zeros].as_slice(), then].concat(), 4)
}

fn rows(driver: &Driver) -> Vec<(u64, u32, u32)> {
    let plan = driver.plans.back().expect("there is a plan");
    plan.rows.iter().map(|row| (row.request.0, row.start, row.tokens)).collect()
}

#[test]
fn the_second_waits_for_the_pages_of_the_first_and_blocks_nobody() {
    let mut driver = Driver::new(config());
    driver.add(prompt(16, &[1, 1]));
    driver.add(prompt(16, &[0, 1, 1]));
    driver.add(prompt(4, &[1; 5]));
    driver.schedule();
    assert_eq!(rows(&driver), [(0, 0, 8), (2, 0, 8)], "four tokens in common are not worth waiting for");
    driver.schedule();
    assert_eq!(rows(&driver), [(0, 8, 8), (2, 8, 1)], "and neither is published yet");
    driver.answer(GOOD);
    driver.schedule();
    assert_eq!(rows(&driver), [(2, 9, 1), (0, 16, 2)], "eight are, eight are left: still worth it");
    driver.answer(GOOD);
    driver.schedule();
    assert_eq!(rows(&driver)[2], (1, 16, 3), "all that they share is published");
    driver.finish(2);
    let totals = driver.scheduler.stats().totals;
    assert_eq!((totals.deferred, totals.bypasses, totals.prefix_hits), (1, 0, 16));
}

#[test]
fn where_the_first_goes_the_second_does_not_wait() {
    let mut driver = Driver::new(config());
    let first = driver.add(prompt(16, &[1, 1])).expect("room");
    driver.add(prompt(16, &[0, 1, 1]));
    driver.schedule();
    driver.abort(first);
    driver.schedule();
    assert_eq!(rows(&driver), [(1, 0, 8)]);
    driver.finish(2);
}

#[test]
fn nobody_waits_under_another_salt_or_where_that_is_turned_off() {
    let off = SchedulerConfig { order: OrderConfig { group_tokens: 0, ..config().order }, ..config() };
    for (config, salt) in [(config(), 1), (off, 0)] {
        let mut driver = Driver::new(config);
        driver.add(prompt(16, &[1, 1]));
        driver.add(Request { cache_salt: salt, ..prompt(16, &[1]) });
        driver.schedule();
        assert_eq!(rows(&driver), [(0, 0, 8), (1, 0, 8)]);
        driver.finish(2);
    }
}

fn tight() -> SchedulerConfig {
    SchedulerConfig { pages: 8, page_size: 2, prefix_cache: false, ..config() }
}

/// Runs until somebody is preempted, and tells who, as of so many tokens of each.
fn first_victim(driver: &mut Driver) -> u64 {
    while driver.scheduler.stats().totals.preemptions == 0 {
        assert!(driver.schedule() && driver.answer(GOOD), "nobody is preempted");
    }
    let plan = driver.plans.front();
    assert!(plan.is_none(), "every step was answered");
    let live = driver.requests.iter().filter(|(_, track)| track.state == State::Live);
    let last = driver.attached();
    let waiting: Vec<u64> = live.map(|(id, _)| id.0).filter(|id| !last.contains(&RequestId(*id))).collect();
    assert_eq!(waiting.len(), 1, "one waits: {waiting:?}");
    waiting[0]
}

#[test]
fn the_lowest_priority_makes_room() {
    let mut driver = Driver::new(tight());
    driver.add(Request { max_tokens: 11, priority: 1, ..prompt(4, &[]) });
    driver.add(Request { max_tokens: 11, ..prompt(3, &[1]) });
    assert_eq!(first_victim(&mut driver), 0, "though it came first");
    driver.finish(1);
}

#[test]
fn who_has_least_to_compute_again_makes_room() {
    let mut driver = Driver::new(SchedulerConfig { prefill_chunk: 4, pages: 10, ..tight() });
    driver.add(Request { max_tokens: 13, ..prompt(3, &[]) });
    driver.add(Request { max_tokens: 11, ..prompt(8, &[1]) });
    assert_eq!(first_victim(&mut driver), 0, "though it came first");
    driver.finish(1);
}

#[test]
fn of_equals_the_last_admitted_makes_room() {
    let mut driver = Driver::new(tight());
    driver.add(Request { max_tokens: 11, ..prompt(4, &[]) });
    driver.add(Request { max_tokens: 11, ..prompt(3, &[1]) });
    assert_eq!(first_victim(&mut driver), 1);
    driver.finish(1);
}

#[test]
fn a_request_that_is_late_is_refused_while_it_waits() {
    let order = OrderConfig { refuse_late: true, ..OrderConfig::default() };
    let mut driver = Driver::new(SchedulerConfig { slots: 1, order, ..config() });
    driver.add(Request { max_tokens: 30, ..prompt(3, &[]) });
    driver.schedule();
    // A step of the driver takes 20 ms.
    let late = driver.add(Request { deadline: Some(100_000_000), ..prompt(3, &[1]) }).expect("room");
    let free = driver.add(prompt(3, &[1, 1])).expect("room");
    driver.finish(1);
    assert_eq!(driver.requests[&late].state, State::Late);
    assert_eq!(driver.requests[&free].outputs.len(), 4);
    assert_eq!(driver.scheduler.stats().totals.refused_late, 1);
}
