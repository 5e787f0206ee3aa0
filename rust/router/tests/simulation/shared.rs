//! Rows of requests with pages in common.

use lightllm_router::{PrefixGroup, Request, RequestId, SchedulerConfig, StepPlan};

use crate::backend::Fault;
use crate::driver::Driver;

const GOOD: Fault = Fault { row: None, step: false };

fn config() -> SchedulerConfig {
    SchedulerConfig {
        pages: 256,
        page_size: 4,
        slots: 16,
        context: 64,
        step_tokens: 256,
        prefill_chunk: 64,
        queue_tokens: 4096,
        shared_rows: 3,
        shared_tokens: 7,
        debug_checks: true,
        ..SchedulerConfig::default()
    }
}

/// Tokens that begin with `shared` alike ones; then two of its own, and the first ones over again.
fn prompt(shared: u32, own: u32, length: usize) -> Vec<u32> {
    let own = [own % 2, own / 2 % 2, own / 4 % 2, own / 8 % 2];
    (0..shared).map(|position| position / 3 % 2).chain(own).chain(std::iter::repeat(0)).take(length).collect()
}

/// Until all that was added has ended; what it has computed stays cached.
fn serve(driver: &mut Driver) {
    while driver.scheduler.has_work() {
        driver.schedule();
        driver.answer(GOOD);
    }
}

/// Plans and answers until all that was added decodes, and gives the first plan that only decodes.
fn first_decode(driver: &mut Driver) -> StepPlan {
    for _ in 0..20 {
        assert!(driver.schedule());
        let plan = driver.plans.back().expect("just planned").clone();
        driver.answer(GOOD);
        if plan.rows.iter().all(|row| row.from_last) {
            return plan;
        }
    }
    panic!("the prompts are never through");
}

#[test]
fn requests_with_a_cached_prefix_are_a_group() {
    let mut driver = Driver::new(config());
    driver.add(Request::new(RequestId(0), prompt(18, 0, 24), 1));
    serve(&mut driver);
    for own in 1..7 {
        driver.add(Request::new(RequestId(0), prompt(18, own, 23), 9));
        // Between them, one that shares nothing with anybody.
        driver.add(Request { cache_salt: own.into(), ..Request::new(RequestId(0), prompt(18, own, 23), 9) });
    }
    let plan = first_decode(&mut driver);
    // 18 tokens are four full pages; some of the six have a fifth in common, which is worth less.
    assert_eq!(plan.groups, [PrefixGroup { first_row: 0, rows: 6, pages: 4 }]);
    assert!(plan.rows[..6].iter().all(|row| row.request.0 % 2 == 1), "{:?}", plan.rows);
    driver.finish(2);
}

#[test]
fn choices_of_one_prompt_are_a_group_without_a_prefix_cache_too() {
    let mut driver = Driver::new(SchedulerConfig { prefix_cache: false, ..config() });
    driver.add(Request { siblings: vec![RequestId(0); 4], ..Request::new(RequestId(0), prompt(9, 0, 13), 9) });
    driver.add(Request::new(RequestId(0), prompt(9, 0, 13), 9));
    let plan = first_decode(&mut driver);
    assert_eq!(plan.groups, [PrefixGroup { first_row: 0, rows: 5, pages: 3 }]);
    assert_eq!(plan.rows.len(), 6);
    driver.finish(2);
}

#[test]
fn few_rows_and_short_prefixes_are_no_group() {
    for (shared, requests) in [(18, 2), (3, 6)] {
        let mut driver = Driver::new(config());
        driver.add(Request::new(RequestId(0), prompt(shared, 0, 24), 1));
        serve(&mut driver);
        for own in 1..=requests {
            driver.add(Request::new(RequestId(0), prompt(shared, own, 23), 9));
        }
        assert_eq!(first_decode(&mut driver).groups, []);
        driver.finish(2);
    }
}
