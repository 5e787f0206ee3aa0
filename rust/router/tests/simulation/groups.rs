//! Requests with one prompt and several outputs.

use lightllm_router::{Error, Finish, PolicyConfig, Request, RequestId, Scheduler, SchedulerConfig};

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
        debug_checks: true,
        ..SchedulerConfig::default()
    }
}

fn group(prompt: Vec<u32>, max_tokens: u32, members: usize) -> Request {
    let siblings = vec![RequestId(0); members - 1];
    Request { siblings, ..Request::new(RequestId(0), prompt, max_tokens) }
}

fn alternating(length: u32) -> Vec<u32> {
    (0..length).map(|position| position % 2).collect()
}

/// The rows of the newest plan: request, start, tokens.
fn rows(driver: &Driver) -> Vec<(u64, u32, u32)> {
    let plan = driver.plans.back().expect("there is a plan");
    plan.rows.iter().map(|row| (row.request.0, row.start, row.tokens)).collect()
}

fn state(driver: &Driver, id: u64) -> State {
    driver.requests[&RequestId(id)].state.clone()
}

#[test]
fn one_computes_the_prompt_and_the_others_begin_with_it() {
    let mut driver = Driver::new(config());
    driver.add(group(alternating(10), 6, 3));
    driver.schedule();
    assert_eq!(rows(&driver), [(0, 0, 8)]);
    driver.answer(GOOD);
    driver.schedule();
    assert_eq!(rows(&driver), [(0, 8, 2)]);
    let stats = driver.scheduler.stats();
    assert_eq!((stats.running, stats.forking, stats.queued), (3, 2, 0), "all were admitted");
    assert_eq!(stats.total_pages - stats.free_pages, 5, "three pages of the prompt, and one for each of the others");
    driver.answer(GOOD);
    driver.schedule();
    assert_eq!(rows(&driver), [(0, 10, 1), (1, 9, 1), (2, 9, 1)], "they compute the last token again");
    let plan = driver.plans.back().expect("there is a plan");
    assert_eq!(plan.copies.len(), 2);
    assert_eq!(plan.copies[0].0, plan.copies[1].0, "of the same page");
    assert_eq!(plan.rows[1].new_pages[..2], plan.rows[2].new_pages[..2], "the full pages are shared");
    assert_eq!(plan.rows[1].new_pages[2], plan.copies[0].1);
    driver.finish(2);
    let totals = driver.scheduler.stats().totals;
    assert_eq!((totals.prefill_tokens, totals.prompt_tokens, totals.forks, totals.copies), (12, 10, 2, 2));
}

#[test]
fn nothing_is_copied_where_only_the_last_token_is_on_the_last_page() {
    for (length, copies) in [(9, 0), (8, 1), (1, 0)] {
        let mut driver = Driver::new(config());
        driver.add(group(alternating(length), 6, 2));
        driver.finish(1);
        let totals = driver.scheduler.stats().totals;
        assert_eq!((totals.copies, totals.prefill_tokens), (copies, u64::from(length) + 1), "{length} tokens");
    }
}

#[test]
fn a_group_needs_no_prefix_cache_and_leaves_nothing_behind() {
    let mut driver = Driver::new(SchedulerConfig { prefix_cache: false, ..config() });
    driver.add(group(alternating(10), 6, 3));
    driver.add(group(alternating(10), 6, 2));
    driver.finish(2);
    let totals = driver.scheduler.stats().totals;
    assert_eq!((totals.forks, totals.prefill_tokens), (3, 23), "each group computed its prompt");
    assert_eq!(driver.scheduler.stats().cached_pages, 0);
}

#[test]
fn log_probabilities_of_the_prompt_are_computed_by_each() {
    let mut driver = Driver::new(config());
    driver.add(Request { prompt_logprobs: true, ..group(alternating(10), 0, 2) });
    driver.finish(2);
    assert_eq!(driver.scheduler.stats().totals.prefill_tokens, 20);
}

#[test]
fn all_are_admitted_or_none() {
    let mut driver = Driver::new(SchedulerConfig { slots: 3, ..config() });
    driver.add(group(vec![1; 3], 3, 1));
    driver.add(group(alternating(10), 4, 3));
    driver.add(group(vec![1; 5], 3, 1));
    driver.schedule();
    assert_eq!(rows(&driver), [(0, 0, 3), (4, 0, 5)], "two slots are not three, and are not left empty for it");
    driver.finish(2);
}

#[test]
fn what_never_fits_is_refused() {
    let mut scheduler = Scheduler::new(SchedulerConfig { pages: 16, ..config() }).expect("valid");
    let request = |members: u64, prompt: usize, max_tokens| Request {
        siblings: (1..members).map(RequestId).collect(),
        ..Request::new(RequestId(0), vec![0; prompt], max_tokens)
    };
    let refused = scheduler.add(request(9, 1, 1), 0).expect_err("there are eight slots");
    assert_eq!(refused, Error::TooManySiblings { requests: 9, slots: 8 });
    assert_eq!(refused.to_string(), "9 outputs of one prompt were asked for but 8 requests run at once: ask for fewer");
    // Two pages are shared; the third and what is generated each has for itself.
    assert_eq!(scheduler.add(request(4, 10, 11), 0), Err(Error::TooLargeForPool { needed: 2 + 4 * 4, pages: 16 }));
    let twice = Request { siblings: vec![RequestId(7), RequestId(7)], ..request(1, 1, 1) };
    assert_eq!(scheduler.add(twice, 0), Err(Error::DuplicateId(RequestId(7))));
    assert!(!scheduler.has_work() && !scheduler.contains(RequestId(7)));
    assert_eq!(scheduler.add(request(4, 10, 2), 0), Ok(()));
    assert_eq!(scheduler.add(Request::new(RequestId(3), vec![0], 1), 0), Err(Error::DuplicateId(RequestId(3))));
}

/// Each member is aborted at each point of a short life: nothing is lost, and the others are right.
#[test]
fn any_member_can_leave_at_any_time() {
    for member in 0..3 {
        for calls in 0..12 {
            for prefix_cache in [true, false] {
                let mut driver = Driver::new(SchedulerConfig { prefix_cache, ..config() });
                let id = driver.add(group(alternating(18), 5, 3)).expect("room");
                for call in 0..calls {
                    if call % 2 == 0 {
                        driver.schedule()
                    } else {
                        driver.answer(GOOD)
                    };
                }
                driver.abort(RequestId(id.0 + member));
                driver.check();
                driver.finish(2);
            }
        }
    }
}

#[test]
fn where_the_leader_goes_another_computes_the_rest_of_the_prompt() {
    let mut driver = Driver::new(config());
    driver.add(group(alternating(18), 5, 3));
    driver.schedule();
    driver.schedule();
    driver.answer(GOOD);
    driver.abort(RequestId(0));
    driver.schedule();
    assert_eq!(rows(&driver), [(1, 8, 8)], "from what is published");
    driver.finish(2);
}

#[test]
fn a_failed_row_of_the_leader_ends_the_leader_only() {
    let mut driver = Driver::new(config());
    driver.add(group(alternating(10), 5, 3));
    driver.schedule();
    driver.schedule();
    driver.answer(Fault { row: Some(0), step: false });
    assert!(matches!(state(&driver, 0), State::Finished(Finish::Failed(_))));
    driver.finish(2);
    assert_eq!([state(&driver, 1), state(&driver, 2)], [const { State::Finished(Finish::Length) }; 2]);
}

#[test]
fn a_failed_step_ends_those_with_a_row_in_it() {
    let mut driver = Driver::new(config());
    driver.add(group(alternating(10), 5, 3));
    driver.schedule();
    driver.answer(Fault { row: None, step: true });
    assert_eq!([state(&driver, 0), state(&driver, 1)], [State::Gone, State::Live]);
    driver.finish(2);
    assert_eq!([state(&driver, 1), state(&driver, 2)], [const { State::Finished(Finish::Length) }; 2]);
}

/// The leader has its only token when the others are told to copy its page, which may be another's by then.
#[test]
fn the_page_is_copied_though_the_leader_has_ended() {
    let mut driver = Driver::new(SchedulerConfig { pages: 5, slots: 3, ..config() });
    driver.add(group(alternating(7), 1, 3));
    driver.add(group(vec![1; 7], 1, 1));
    driver.schedule();
    driver.answer(GOOD);
    assert_eq!(state(&driver, 0), State::Finished(Finish::Length));
    driver.schedule();
    let plan = driver.plans.back().expect("there is a plan");
    let copied = plan.copies[0].0;
    assert!(plan.rows.iter().any(|row| row.request == RequestId(3) && row.new_pages.contains(&copied)));
    driver.finish(2);
}

/// While the prompt is computed the pages run out: the group goes back as a whole, and comes again as one.
#[test]
fn a_group_that_waits_for_its_prompt_is_preempted_as_a_whole() {
    let sizes = SchedulerConfig { pages: 11, prefill_chunk: 4, step_tokens: 8, prefix_cache: false, ..config() };
    let mut driver = Driver::new(sizes);
    driver.add(group(vec![1; 3], 30, 1));
    let first = driver.add(Request { priority: 1, ..group(alternating(26), 2, 3) }).expect("room");
    let mut waited = false;
    while driver.schedule() && driver.answer(GOOD) {
        driver.check();
        let stats = driver.scheduler.stats();
        waited |= stats.paused == 3 && stats.totals.preemptions == 3;
    }
    assert!(waited, "{:?}", driver.scheduler.stats());
    assert_eq!(driver.requests[&first].attachments, 2);
    driver.finish(1);
}
