//! Requests whose images are not ready.

use lightllm_router::{
    Error, Finish, ImageSpan, OrderConfig, PolicyConfig, Request, RequestId, Scheduler, SchedulerConfig,
};

use crate::backend::Fault;
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
        policy: PolicyConfig::Aggressive { watermark: 1.0 },
        debug_checks: true,
        ..SchedulerConfig::default()
    }
}

fn image(start: u32, tokens: u32) -> ImageSpan {
    ImageSpan { start, tokens, ready: false }
}

fn alternating(length: u32) -> Vec<u32> {
    (0..length).map(|position| position % 2).collect()
}

fn request(length: u32, images: &[ImageSpan]) -> Request {
    Request { images: images.to_vec(), ..Request::new(RequestId(0), alternating(length), 2) }
}

fn text(length: usize) -> Request {
    Request::new(RequestId(0), vec![2; length], 2)
}

/// The rows of the newest plan: request, start, tokens.
fn rows(driver: &Driver) -> Vec<(u64, u32, u32)> {
    let plan = driver.plans.back().expect("there is a plan");
    plan.rows.iter().map(|row| (row.request.0, row.start, row.tokens)).collect()
}

fn held(driver: &Driver) -> usize {
    let stats = driver.scheduler.stats();
    stats.total_pages - stats.free_pages - stats.evictable_pages
}

/// Carries out plans until nothing can be planned.
fn settle(driver: &mut Driver) {
    while driver.schedule() | driver.answer(GOOD) {
        driver.check();
    }
}

#[test]
fn text_before_an_image_is_computed_and_then_nothing_is_held() {
    let mut driver = Driver::new(config());
    let id = driver.add(request(30, &[image(14, 8)])).expect("room");
    driver.schedule();
    assert_eq!(rows(&driver), [(0, 0, 12)], "whole pages: nothing else is kept");
    assert_eq!(held(&driver), 3, "and no page more");
    driver.answer(GOOD);
    assert_eq!(held(&driver), 0);
    let stats = driver.scheduler.stats();
    assert_eq!((stats.running, stats.queued, stats.awaiting_images, stats.paused), (0, 1, 1, 0));
    assert!(driver.schedule() && rows(&driver).is_empty(), "it is detached");
    driver.answer(GOOD);
    assert!(!driver.scheduler.has_work() && !driver.schedule());
    driver.image_ready(id, 0);
    assert!(driver.scheduler.has_work() && driver.schedule(), "the very next plan has it");
    assert_eq!(rows(&driver), [(0, 12, 18)], "from where it was");
    assert_eq!(driver.plans[0].attach[0].images, 0..1);
    driver.finish(2);
    let totals = driver.scheduler.stats().totals;
    assert_eq!((totals.ahead, totals.preemptions, totals.prefill_tokens, totals.prompt_tokens), (1, 0, 30, 30));
    assert_eq!(driver.requests[&id].attachments, 2);
}

#[test]
fn an_image_that_is_ready_is_no_matter() {
    let ready = ImageSpan { ready: true, ..image(14, 8) };
    let mut driver = Driver::new(config());
    driver.add(request(30, &[ready]));
    driver.schedule();
    assert_eq!(rows(&driver), [(0, 0, 30)]);
    assert_eq!(driver.plans[0].attach[0].images, 0..1);
    driver.finish(1);
    assert_eq!(driver.scheduler.stats().totals.ahead, 0);
}

#[test]
fn what_begins_with_an_image_waits_without_a_slot() {
    for start in [0, 3] {
        let mut driver = Driver::new(config());
        let id = driver.add(request(30, &[image(start, 8)])).expect("room");
        assert!(!driver.scheduler.has_work() && !driver.schedule());
        assert_eq!((driver.scheduler.stats().awaiting_images, held(&driver)), (1, 0));
        driver.image_ready(id, 0);
        assert_eq!(driver.scheduler.stats().awaiting_images, 0);
        driver.schedule();
        assert_eq!(rows(&driver), [(0, 0, 30)]);
        driver.finish(1);
    }
}

#[test]
fn images_may_get_ready_in_any_order() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut driver = Driver::new(config());
        let id = driver.add(request(40, &[image(4, 4), image(9, 4), image(20, 10)])).expect("room");
        settle(&mut driver);
        for image in order {
            driver.image_ready(id, image);
            settle(&mut driver);
        }
        assert!(matches!(driver.requests[&id].state, State::Finished(Finish::Length)), "{order:?}");
        driver.finish(1);
        let totals = driver.scheduler.stats().totals;
        assert_eq!(totals.prefill_tokens, 40, "{order:?}: nothing is computed twice");
    }
}

#[test]
fn rows_are_of_the_images_that_the_backend_was_told_of() {
    let mut driver = Driver::new(config());
    let spans = [image(4, 4), image(9, 4), image(20, 10)].map(|image| ImageSpan { ready: image.start < 20, ..image });
    let id = driver.add(request(40, &spans)).expect("room");
    driver.schedule();
    assert_eq!((rows(&driver), driver.plans[0].attach[0].images.clone()), (vec![(0, 0, 20)], 0..2));
    driver.answer(GOOD);
    driver.image_ready(id, 2);
    driver.schedule();
    assert_eq!((rows(&driver), driver.plans[0].attach[0].images.clone()), (vec![(0, 20, 20)], 2..3));
    driver.finish(1);
}

/// A picture in an earlier turn: its positions are cached, and its features may be gone.
#[test]
fn what_is_cached_needs_no_image() {
    let mut driver = Driver::new(config());
    let id = driver.add(request(30, &[image(6, 8)])).expect("room");
    driver.image_ready(id, 0);
    driver.finish(1);
    let mut driver = warm(14);
    driver.add(request(30, &[image(4, 8), ImageSpan { ready: true, ..image(12, 4) }])).expect("room");
    driver.schedule();
    assert_eq!(rows(&driver), [(1, 12, 18)], "the first is covered");
    assert_eq!(driver.plans[0].attach[0].images, 1..2);
    driver.finish(1);
}

#[test]
fn what_is_cached_in_part_needs_the_image() {
    let mut driver = warm(14);
    let id = driver.add(request(30, &[image(4, 10)])).expect("room");
    assert!(!driver.schedule(), "two of its positions are not cached");
    driver.image_ready(id, 0);
    driver.schedule();
    assert_eq!((rows(&driver), driver.plans[0].attach[0].images.clone()), (vec![(1, 12, 18)], 0..1));
    driver.finish(1);
}

/// One whose cache has the first pages of `alternating` prompts.
fn warm(length: u32) -> Driver {
    let mut driver = Driver::new(config());
    driver.add(Request { max_tokens: 1, ..request(length, &[]) });
    settle(&mut driver);
    driver
}

#[test]
fn without_a_prefix_cache_nothing_is_computed_ahead() {
    let mut driver = Driver::new(SchedulerConfig { prefix_cache: false, ..config() });
    let id = driver.add(request(30, &[image(14, 8)])).expect("room");
    assert!(!driver.schedule());
    driver.image_ready(id, 0);
    driver.schedule();
    assert_eq!(rows(&driver), [(0, 0, 30)]);
    driver.finish(1);
}

/// More requests than slots wait for images, at the head of the queue: text goes on as if they were not there.
#[test]
fn text_does_not_wait_for_images() {
    let order = OrderConfig { bypass_limit: 0, ..config().order };
    for start in [0, 9] {
        let mut driver = Driver::new(SchedulerConfig { order, ..config() });
        for index in 0..40 {
            let mut request = request(30, &[image(start, 8)]);
            request.prompt[1] = index; // so that each has something to compute ahead
            driver.add(request).expect("room");
        }
        settle(&mut driver);
        let text = driver.add(text(9)).expect("room");
        driver.schedule();
        assert_eq!(rows(&driver), [(text.0, 0, 9)]);
        settle(&mut driver);
        assert_eq!(driver.requests[&text].state, State::Finished(Finish::Length));
        assert_eq!((driver.scheduler.stats().awaiting_images, held(&driver)), (40, 0));
        assert_eq!(driver.scheduler.stats().totals.bypasses, 0, "nobody was passed over");
        driver.finish(2);
    }
}

#[test]
fn siblings_wait_with_the_first() {
    let mut driver = Driver::new(config());
    let group = Request { siblings: vec![RequestId(0); 2], ..request(30, &[image(14, 8)]) };
    let id = driver.add(group).expect("room");
    driver.schedule();
    assert_eq!(rows(&driver), [(0, 0, 12)]);
    let stats = driver.scheduler.stats();
    assert_eq!((stats.running, stats.queued), (1, 2), "one slot is enough for that");
    driver.answer(GOOD);
    assert_eq!(driver.scheduler.stats().awaiting_images, 3);
    driver.image_ready(id, 0);
    driver.schedule();
    assert_eq!(rows(&driver), [(0, 12, 18)]);
    assert_eq!(driver.scheduler.stats().running, 3);
    driver.finish(2);
    let totals = driver.scheduler.stats().totals;
    assert_eq!((totals.prefill_tokens, totals.forks), (32, 2));
}

/// Each member is aborted, or its step fails, at each point of a short life that waits for two images.
#[test]
fn any_member_can_leave_while_they_wait() {
    for member in 0..3 {
        for calls in 0..14 {
            for fails in [false, true] {
                let mut driver = Driver::new(config());
                let images = [image(9, 4), image(16, 4)];
                let group = Request { siblings: vec![RequestId(0); 2], ..request(24, &images) };
                let id = driver.add(group).expect("room");
                for call in 0..calls {
                    match call % 4 {
                        0 | 2 => drop(driver.schedule()),
                        1 => drop(driver.answer(GOOD)),
                        _ => drop(driver.image_ready(id, call / 7)),
                    }
                    driver.check();
                }
                if fails && !driver.plans.is_empty() {
                    driver.answer(Fault { row: None, step: true });
                } else if driver.requests[&RequestId(id.0 + member)].state == State::Live {
                    driver.abort(RequestId(id.0 + member));
                }
                driver.check();
                driver.finish(2);
            }
        }
    }
}

#[test]
fn who_runs_ahead_can_be_preempted() {
    let sizes = SchedulerConfig { pages: 12, prefill_chunk: 2, step_tokens: 8, ..config() };
    let mut driver = Driver::new(sizes);
    driver.add(Request { max_tokens: 40, ..text(3) }).expect("room");
    driver.schedule();
    driver.answer(GOOD);
    driver.add(Request { priority: 5, ..request(40, &[image(36, 4)]) }).expect("room");
    let mut preempted = false;
    while driver.schedule() {
        driver.answer(GOOD);
        driver.check();
        preempted |= driver.scheduler.stats().totals.preemptions > 0;
    }
    assert!(preempted, "{:?}", driver.scheduler.stats());
    assert_eq!(driver.scheduler.stats().paused, 0, "it has no claim before others");
    driver.finish(2);
}

#[test]
fn images_stay_ready_when_a_request_is_preempted() {
    let mut driver = Driver::new(SchedulerConfig { pages: 12, prefix_cache: false, slots: 2, ..config() });
    driver.add(Request { max_tokens: 30, ..text(3) }).expect("room");
    let id = driver.add(Request { max_tokens: 24, ..request(12, &[image(4, 4)]) }).expect("room");
    driver.image_ready(id, 0);
    while driver.schedule() {
        driver.answer(GOOD);
        driver.check();
    }
    assert!(driver.scheduler.stats().totals.preemptions > 0);
    assert_eq!(driver.requests[&id].attachments, 2);
    assert_eq!(driver.requests[&id].attached_images, 0..1, "the backend reads it again");
    driver.finish(1);
}

fn scheduler(order: OrderConfig) -> Scheduler {
    Scheduler::new(SchedulerConfig { order, ..config() }).expect("valid")
}

#[test]
fn waits_are_counted_once() {
    let mut scheduler = scheduler(config().order);
    let request = Request { max_tokens: 1, ..request(12, &[image(0, 4), image(4, 4)]) };
    scheduler.add(request, 1_000).expect("room");
    assert_eq!(scheduler.image_ready(RequestId(0), 0, 1_500), Ok(true));
    let ahead = scheduler.schedule(1_700).expect("the first image");
    scheduler.update(empty(ahead.step), 2_000).expect("fits");
    assert_eq!(scheduler.image_ready(RequestId(0), 1, 9_000), Ok(true));
    assert_eq!(scheduler.image_ready(RequestId(0), 1, 9_900), Ok(true), "again is no matter");
    let plan = scheduler.schedule(9_950).expect("the rest");
    let row = lightllm_router::RowResult { row: 0, tokens: [7][..].into(), failed: None };
    let result = lightllm_router::StepResult { step: plan.step, rows: vec![row] };
    let outputs = scheduler.update(result, 10_000).expect("fits");
    let admission = outputs[0].admission.expect("the first output");
    assert_eq!((admission.queue_ns, admission.image_wait_ns, admission.cached_tokens), (200, 7_500, 0));
}

fn empty(step: u64) -> lightllm_router::StepResult {
    lightllm_router::StepResult { step, rows: Vec::new() }
}

#[test]
fn late_ones_are_refused_while_they_wait_for_an_image() {
    let mut scheduler = scheduler(OrderConfig { refuse_late: true, ttft_target_ns: 800, ..config().order });
    let request = |id, deadline| Request { id: RequestId(id), deadline, ..request(12, &[image(0, 4)]) };
    scheduler.add(request(1, Some(5_000)), 0).expect("room");
    scheduler.add(request(2, None), 0).expect("room");
    assert!(!scheduler.has_late(800) && scheduler.has_late(801));
    assert!(scheduler.schedule(801).is_none());
    let refused = |scheduler: &mut Scheduler| scheduler.take_refused().iter().map(|(id, _)| id.0).collect::<Vec<_>>();
    assert_eq!(refused(&mut scheduler), [2]);
    assert!(!scheduler.has_late(5_000) && scheduler.has_late(5_001));
    assert_eq!(scheduler.image_ready(RequestId(2), 0, 5_001), Ok(false), "it has ended");
    assert!(scheduler.schedule(5_001).is_none());
    assert_eq!(refused(&mut scheduler), [1]);
    assert_eq!(scheduler.stats().queued, 0);
    scheduler.check_invariants();
}

#[test]
fn what_is_not_there_can_not_be_ready() {
    let mut scheduler = scheduler(config().order);
    assert_eq!(scheduler.image_ready(RequestId(9), 0, 0), Ok(false));
    scheduler.add(request(12, &[image(4, 4)]), 0).expect("room");
    let missing = Error::NoSuchImage { request: RequestId(0), image: 1, images: 1 };
    assert_eq!(scheduler.image_ready(RequestId(0), 1, 0), Err(missing.clone()));
    assert_eq!(missing.to_string(), "request 0 has 1 images: there is no image 1");
    scheduler.schedule(0).expect("what comes before the image");
    assert_eq!(scheduler.image_ready(RequestId(0), 1, 0), Err(missing));
    let bad = scheduler.add(request(12, &[image(11, 2)]), 0).expect_err("it is too long");
    assert_eq!(bad.to_string(), "image 0 of the prompt is in no place for it: it goes past the prompt");
}
