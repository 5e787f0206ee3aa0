//! Single behaviours, one by one.

use lightllm_router::{
    Finish, PolicyConfig, Request, RequestId, RowResult, Scheduler, SchedulerConfig, SlotId, StepPlan, StepResult,
};

use crate::backend::{Fault, ideal};
use crate::driver::{Driver, State};

const GOOD: Fault = Fault { row: None, step: false };

fn config() -> SchedulerConfig {
    SchedulerConfig {
        pages: 64,
        page_size: 4,
        slots: 4,
        context: 128,
        step_tokens: 32,
        prefill_chunk: 32,
        queue_requests: 100,
        queue_tokens: 10_000,
        prefix_cache: true,
        policy: PolicyConfig::Aggressive { watermark: 1.0 },
        ..SchedulerConfig::default()
    }
}

fn request(prompt: Vec<u32>, max_tokens: u32) -> Request {
    Request::new(RequestId(0), prompt, max_tokens)
}

fn alternating(length: u32) -> Vec<u32> {
    (0..length).map(|position| position % 2).collect()
}

/// The rows of the newest plan: request, start, tokens, decode or not.
fn rows(driver: &Driver) -> Vec<(u64, u32, u32, bool)> {
    let plan = driver.plans.back().expect("there is a plan");
    plan.rows.iter().map(|row| (row.request.0, row.start, row.tokens, row.from_last)).collect()
}

/// One step after the other until something is so.
fn step_until(driver: &mut Driver, condition: impl Fn(&Driver) -> bool) {
    while !condition(driver) {
        assert!(driver.schedule() && driver.answer(GOOD), "it ended before");
    }
}

#[test]
fn decodes_ride_along_with_chunks_of_a_prefill() {
    let mut driver = Driver::new(SchedulerConfig { step_tokens: 10, prefill_chunk: 8, ..config() });
    driver.add(request(vec![1; 3], 9));
    driver.add(request(alternating(20), 9));
    driver.schedule();
    assert_eq!(rows(&driver), [(0, 0, 3, false), (1, 0, 7, false)], "the budget is shared");
    driver.schedule();
    assert_eq!(rows(&driver), [(0, 3, 1, true), (1, 7, 8, false)], "the chunk is bounded");
    driver.answer(GOOD);
    driver.schedule();
    assert_eq!(rows(&driver), [(0, 4, 1, true), (1, 15, 5, false)]);
    driver.answer(GOOD);
    driver.schedule();
    assert_eq!(rows(&driver), [(0, 5, 1, true), (1, 20, 1, true)]);
    driver.finish(2);
}

#[test]
fn a_cached_prefix_is_not_computed_again() {
    let mut driver = Driver::new(config());
    driver.add(request(alternating(14), 3));
    while driver.schedule() && driver.answer(GOOD) {}
    // 14 prompt positions and the first two outputs: four full pages.
    assert_eq!(driver.scheduler.stats().cached_pages, 4);
    driver.add(request(alternating(14), 3));
    driver.schedule();
    assert_eq!(rows(&driver), [(1, 12, 2, false)], "three full pages of it are cached");
    assert_eq!(driver.plans[0].rows[0].new_pages.len(), 4, "the first row has the cached pages too");
    driver.answer(GOOD);
    let totals = driver.scheduler.stats().totals;
    assert_eq!((totals.prefix_queries, totals.prefix_hits, totals.prefill_tokens), (28, 12, 16));
    driver.finish(1);
}

#[test]
fn one_token_is_computed_though_all_are_cached() {
    let mut driver = Driver::new(config());
    driver.add(request(alternating(8), 1));
    while driver.schedule() && driver.answer(GOOD) {}
    assert_eq!(driver.scheduler.stats().cached_pages, 2);
    driver.add(request(alternating(8), 1));
    driver.schedule();
    assert_eq!(rows(&driver), [(1, 4, 4, false)]);
    driver.finish(1);
}

#[test]
fn outputs_are_cached_for_the_next_turn() {
    let mut driver = Driver::new(config());
    let first = request(alternating(6), 11);
    let conversation = [alternating(6), ideal(&first), vec![1, 1, 0]].concat();
    driver.add(first);
    while driver.schedule() && driver.answer(GOOD) {}
    driver.add(request(conversation, 2));
    driver.schedule();
    assert_eq!(rows(&driver), [(1, 16, 4, false)], "of 17 known tokens 16 are computed and in full pages");
    driver.finish(1);
}

#[test]
fn prompt_logprobs_take_no_hit_and_may_ask_for_no_token() {
    let mut driver = Driver::new(SchedulerConfig { prefill_chunk: 5, ..config() });
    driver.add(request(alternating(12), 1));
    while driver.schedule() && driver.answer(GOOD) {}
    let id = driver.add(Request { prompt_logprobs: true, ..request(alternating(12), 0) }).expect("room");
    driver.schedule();
    assert_eq!(rows(&driver), [(1, 0, 5, false)]);
    driver.finish(2);
    assert_eq!(driver.requests[&id].state, State::Finished(Finish::Length));
    assert_eq!(driver.requests[&id].outputs, []);
}

#[test]
fn an_end_id_costs_at_most_one_row() {
    let mut driver = Driver::new(config());
    let prompt = alternating(5);
    let text = ideal(&request(prompt.clone(), 40));
    let id = driver.add(Request { end_ids: vec![text[0]], ..request(prompt, 40) }).expect("room");
    driver.finish(2);
    let track = &driver.requests[&id];
    assert_eq!((track.outputs.as_slice(), track.emitting_rows), (&text[..1], 2));
    assert_eq!(track.state, State::Finished(Finish::Stop));
}

#[test]
fn an_abort_frees_all_at_once_and_is_told_in_the_next_plan() {
    let mut driver = Driver::new(config());
    let id = driver.add(request(alternating(9), 50)).expect("room");
    driver.schedule();
    driver.schedule();
    driver.abort(id);
    let stats = driver.scheduler.stats();
    assert_eq!((stats.running, stats.free_pages), (0, 64), "before any result");
    driver.answer(GOOD);
    driver.schedule();
    let plan = driver.plans.back().expect("a plan that only detaches");
    assert_eq!((plan.detach.as_slice(), plan.rows.len()), ([SlotId(0)].as_slice(), 0));
    driver.finish(2);
    assert_eq!(driver.requests[&id].outputs, []);
}

#[test]
fn a_slot_is_detached_and_attached_again_in_one_plan() {
    let mut driver = Driver::new(SchedulerConfig { slots: 1, ..config() });
    let first = driver.add(request(alternating(9), 50)).expect("room");
    driver.add(request(alternating(3), 5));
    driver.schedule();
    driver.abort(first);
    driver.schedule();
    let plan = driver.plans.back().expect("a plan");
    assert_eq!(plan.detach, [SlotId(0)]);
    assert_eq!(plan.attach.iter().map(|attach| attach.slot).collect::<Vec<_>>(), [SlotId(0)]);
    driver.finish(2);
}

/// A request is aborted while its row has no result, and another takes its id and its slot.
fn with_an_id_used_again() -> (Scheduler, StepPlan) {
    let mut scheduler = Scheduler::new(config()).expect("valid");
    scheduler.add(request(alternating(9), 50), 0).expect("room");
    let old = scheduler.schedule(0).expect("the first is attached");
    assert!(scheduler.abort(RequestId(0)));
    scheduler.add(request(alternating(3), 2), 0).expect("the first has ended");
    let new = scheduler.schedule(0).expect("the second is attached");
    assert_eq!(new.rows[0].slot, old.rows[0].slot);
    (scheduler, old)
}

#[test]
fn an_old_row_is_not_that_of_a_new_request_with_the_same_id() {
    let (mut scheduler, old) = with_an_id_used_again();
    let rows = vec![RowResult { row: 0, tokens: [1][..].into(), failed: None }];
    assert_eq!(scheduler.update(StepResult { step: old.step, rows }, 0), Ok(vec![]));
    scheduler.check_invariants();

    let (mut scheduler, old) = with_an_id_used_again();
    assert_eq!(scheduler.fail_step(old.step), []);
    assert!(scheduler.contains(RequestId(0)));
    scheduler.check_invariants();
}

#[test]
fn the_last_admitted_makes_room_and_its_late_token_counts() {
    let pages = SchedulerConfig { pages: 8, page_size: 2, slots: 2, prefix_cache: false, ..config() };
    let mut driver = Driver::new(pages);
    let first = driver.add(request(vec![0; 5], 10)).expect("room");
    let second = driver.add(request(vec![1; 5], 10)).expect("room");
    while driver.schedule() && driver.scheduler.stats().totals.preemptions == 0 {
        if driver.plans.len() == 2 {
            driver.answer(GOOD);
        }
    }
    assert_eq!(driver.scheduler.stats().queued, 1);
    let late = driver.requests[&second].outputs.len();
    assert!(driver.plans[0].rows.iter().any(|row| row.request == second), "a row of it has no result");
    driver.answer(GOOD);
    assert_eq!(driver.requests[&second].outputs.len(), late + 1, "a token of a preempted request is a token");
    driver.finish(2);
    assert_eq!(driver.requests[&first].outputs.len(), 10);
    assert_eq!(driver.requests[&second].outputs.len(), 10);
}

#[test]
fn a_preempted_request_comes_before_those_that_wait() {
    let pages = SchedulerConfig { pages: 8, page_size: 2, slots: 2, prefix_cache: false, ..config() };
    let mut driver = Driver::new(pages);
    driver.add(request(vec![0; 5], 10));
    let second = driver.add(request(vec![1; 5], 10)).expect("room");
    let third = driver.add(request(vec![1; 11], 1)).expect("room");
    step_until(&mut driver, |driver| driver.scheduler.stats().totals.preemptions > 0);
    assert_eq!(driver.requests[&third].attachments, 0, "the third waits");
    step_until(&mut driver, |driver| driver.requests[&third].attachments > 0);
    assert_eq!(driver.requests[&second].attachments, 2, "it came to run again before the third, or with it");
    driver.finish(1);
}

#[test]
fn a_failed_row_publishes_nothing_and_neither_do_later_rows() {
    let mut driver = Driver::new(config());
    let id = driver.add(request(alternating(11), 50)).expect("room");
    driver.schedule();
    driver.schedule();
    assert!(!driver.pages_of_oldest_plan().is_empty());
    driver.answer(Fault { row: Some(0), step: false });
    assert!(matches!(driver.requests[&id].state, State::Finished(Finish::Failed(_))));
    driver.answer(GOOD);
    let stats = driver.scheduler.stats();
    assert_eq!((stats.cached_pages, stats.free_pages), (0, 64));
    driver.finish(2);
}

#[test]
fn a_failed_step_ends_all_its_requests_and_no_other() {
    let mut driver = Driver::new(SchedulerConfig { slots: 2, ..config() });
    let ids: Vec<_> = (0..3).filter_map(|_| driver.add(request(alternating(9), 3))).collect();
    driver.schedule();
    driver.answer(Fault { row: None, step: true });
    let states: Vec<_> = ids.iter().map(|id| driver.requests[id].state.clone()).collect();
    assert_eq!(states, [State::Gone, State::Gone, State::Live]);
    assert_eq!(driver.scheduler.stats().cached_pages, 0);
    driver.finish(2);
    assert_eq!(driver.requests[&ids[2]].outputs.len(), 3);
}

#[test]
fn an_idle_scheduler_has_no_plan() {
    let mut driver = Driver::new(config());
    assert!(!driver.scheduler.has_work() && !driver.schedule());
    driver.add(request(vec![1], 1));
    assert!(driver.scheduler.has_work());
    driver.finish(2);
    assert!(!driver.scheduler.has_work() && !driver.schedule());
}
