//! Results that contradict their plan are refused and change nothing.

use lightllm_router::{Error, Request, RequestId, RowResult, Scheduler, SchedulerConfig, StepResult};

fn row(row: u32, tokens: &[u32]) -> RowResult {
    RowResult { row, tokens: tokens.into(), failed: None }
}

/// One plan without a result: row 0 prefills all of a short prompt and emits, row 1 a piece of a long one.
fn planned() -> Scheduler {
    let config = SchedulerConfig { step_tokens: 256, prefill_chunk: 8, ..SchedulerConfig::default() };
    let mut scheduler = Scheduler::new(config).expect("valid");
    scheduler.add(Request::new(RequestId(1), vec![1; 4], 5), 0).expect("room");
    scheduler.add(Request::new(RequestId(2), vec![2; 20], 5), 0).expect("room");
    let plan = scheduler.schedule(0).expect("two prefills");
    assert_eq!(plan.rows.iter().map(|row| (row.tokens, row.emits)).collect::<Vec<_>>(), [(4, true), (8, false)]);
    scheduler
}

#[test]
fn contradictions_are_refused() {
    let mut scheduler = planned();
    let before = format!("{scheduler:?}");
    let twice = vec![row(0, &[7]), row(0, &[7])];
    let cases: [(u64, Vec<RowResult>); 8] = [
        (2, vec![row(0, &[7])]),
        (0, vec![row(0, &[7])]),
        (1, vec![]),
        (1, vec![row(0, &[])]),
        (1, vec![row(0, &[7, 8])]),
        (1, vec![row(0, &[7]), row(1, &[7])]),
        (1, vec![row(0, &[7]), row(2, &[7])]),
        (1, twice),
    ];
    for (step, rows) in cases {
        let result = scheduler.update(StepResult { step, rows: rows.clone() }, 0);
        match result {
            Err(Error::UnexpectedStep { got, expected: Some(1) }) => assert!(got == step && step != 1),
            Err(Error::BadResult { step: 1, .. }) => assert_eq!(step, 1),
            other => panic!("{rows:?}: {other:?}"),
        }
        assert_eq!(format!("{scheduler:?}"), before, "{rows:?} changed something");
    }
    let outputs = scheduler.update(StepResult { step: 1, rows: vec![row(1, &[]), row(0, &[7])] }, 0);
    assert_eq!(outputs.map(|outputs| outputs.len()), Ok(1), "the right result still counts");
    let again = scheduler.update(StepResult { step: 1, rows: vec![row(0, &[7])] }, 0);
    assert_eq!(again, Err(Error::UnexpectedStep { got: 1, expected: None }));
}

#[test]
fn a_failed_step_that_nobody_planned_ends_nobody() {
    let mut scheduler = planned();
    assert_eq!(scheduler.fail_step(9), []);
    assert!(scheduler.contains(RequestId(1)) && scheduler.contains(RequestId(2)));
}

#[test]
fn messages_say_what_to_do() {
    let sizes = SchedulerConfig { pages: 2, page_size: 4, context: 100, ..Default::default() };
    let config = SchedulerConfig { slots: 1, queue_requests: 1, ..sizes };
    let mut scheduler = Scheduler::new(config).expect("valid");
    let mut refuse = |prompt: usize, max_tokens| {
        let request = Request::new(RequestId(3), vec![0; prompt], max_tokens);
        scheduler.add(request, 0).expect_err("it is refused").to_string()
    };
    assert_eq!(refuse(0, 1), "the prompt is empty: give at least one token");
    assert_eq!(refuse(1, 0), "max_tokens is 0: ask for at least one token, or for log-probabilities of the prompt");
    assert_eq!(refuse(101, 1), "the prompt has 101 tokens but the context has 100: shorten the prompt");
    assert_eq!(
        refuse(90, 11),
        "the prompt has 90 tokens and max_tokens is 11, 101 in all, but the context has 100: shorten the prompt or \
         lower max_tokens"
    );
    assert_eq!(
        refuse(5, 4),
        "the request needs 3 KV cache pages for its prompt and max_tokens but the cache has 2: lower max_tokens, \
         shorten the prompt or give the server a larger KV cache"
    );
    scheduler.add(Request::new(RequestId(3), vec![0; 5], 3), 0).expect("it fits exactly");
    scheduler.add(Request::new(RequestId(5), vec![0; 2], 1), 0).expect("one for the slot, one to wait");
    let mut refuse = |id, prompt: usize| {
        let request = Request::new(RequestId(id), vec![0; prompt], 1);
        scheduler.add(request, 0).expect_err("it is refused").to_string()
    };
    assert_eq!(refuse(3, 2), "request 3 is already queued or running: use a new id");
    assert_eq!(refuse(4, 2), "the queue is full (2 requests, 7 prompt tokens waiting): retry in 1 s");
}
