//! What a journal says of requests and their times, against the calls that were made.

use lightllm_journal::{Ending, Reader, RecordedRequest, Refusal, Summary, requests, summary};
use lightllm_router::{Request, RequestId, SchedulerConfig};
use proptest::prelude::*;

use crate::driver::{Operation, config, operations, record};

const MS: u64 = 1_000_000;

fn all(journal: &[u8]) -> Vec<RecordedRequest> {
    let reader = Reader::new("test".to_owned(), journal).expect("there is a header");
    requests(reader).map(|request| request.expect("what was written is read")).collect()
}

fn summary_of(journal: &[u8]) -> Summary {
    summary(Reader::new("test".to_owned(), journal).expect("there is a header")).expect("what was written is read")
}

/// Each operation is a millisecond.
#[test]
fn times_are_those_of_the_calls() {
    let config = SchedulerConfig { pages: 64, page_size: 4, slots: 1, context: 64, ..SchedulerConfig::default() };
    let request = |max_tokens| Operation::Add(Request::new(RequestId(0), vec![1; 9], max_tokens));
    let step = |n: usize| std::iter::repeat_n([Operation::Schedule, Operation::Answer(7, None)], n).flatten();
    let mut operations = vec![request(3), request(100), request(2), request(2)]; // 1 to 4 ms; the second is refused
    operations.extend(step(2)); // 5 to 8 ms
    operations.push(Operation::Wait(10 * MS)); // 9 ms, and ten more
    operations.extend(step(2)); // 20 to 23 ms
    operations.extend([Operation::Abort(1), Operation::Schedule]); // 24 ms: id 2, which has one token
    let mut driver = record(config, &operations, [1; 16], false);
    let journal = driver.journal();
    let requests = all(&journal);
    let ids: Vec<u64> = requests.iter().map(|request| request.id).collect();
    assert_eq!(ids, [2, 1, 2, 3], "in order of their ends; the refused one left its id to the next");
    let [refused, first, third, last] = requests.as_slice() else { panic!("four requests") };
    assert_eq!((refused.ending, refused.ended), (Ending::Refused(Refusal::ContextExceeded), 2 * MS));
    assert_eq!((first.ending, first.queue_ns(), first.ttft_ns()), (Ending::Length, Some(4 * MS), Some(5 * MS)));
    assert_eq!(first.itl_ns().collect::<Vec<u64>>(), [2 * MS, 13 * MS]);
    assert_eq!((first.e2e_ns(), first.cached_tokens), (Some(20 * MS), 0));
    assert_eq!((third.ending, third.ended, third.e2e_ns()), (Ending::Aborted, 24 * MS, None));
    assert_eq!((third.ttft_ns(), third.cached_tokens), (Some(20 * MS), 8));
    assert_eq!((last.ending, last.admitted, last.tokens.len()), (Ending::Unfinished, Some(25 * MS), 0));

    let summary = summary_of(&journal);
    let counts = [summary.finished, summary.aborted, summary.failed, summary.refused, summary.unfinished];
    assert_eq!((counts, summary.requests), ([1, 1, 0, 1, 1], 4));
    assert_eq!((summary.prompt_tokens, summary.cached_tokens, summary.output_tokens), (27, 8, 4));
    assert_eq!((summary.ttft.count, summary.itl.count, summary.e2e.count, summary.queue.count), (2, 2, 1, 3));
    assert!((summary.ttft.mean - 0.0125).abs() < 1e-9 && (summary.itl.max - 0.013).abs() < 1e-9);
    assert_eq!(summary.cut, None);
    assert_eq!(summary_of(&journal[..journal.len() - 3]).cut, Some(15));
}

#[test]
fn records_that_contradict_each_other_are_named() {
    let config = SchedulerConfig { pages: 64, page_size: 4, slots: 1, context: 64, ..SchedulerConfig::default() };
    let operations =
        [Operation::Add(Request::new(RequestId(0), vec![1; 9], 3)), Operation::Schedule, Operation::Answer(1, None)];
    let text = String::from_utf8(record(config, &operations, [1; 16], false).journal()).expect("a journal is text");
    let cases = [
        ("\"slots\":\"1\"", "\"slots\":\"2\"", "a.journal:4: slot 1 has no request"),
        (
            "\"update\":{\"now\":3000000,\"step\":1",
            "\"update\":{\"now\":3000000,\"step\":2",
            "a.journal:4: step: an answer",
        ),
        ("\"attach\":[[0,1]]", "\"attach\":[[0,9]]", "a.journal:3: request 9 was not added, or has ended"),
        ("\"attach\":[[0,1]]", "\"attach\":[[5,1]]", "a.journal:3: schedule.attach: there is no slot 5"),
    ];
    for (from, to, expected) in cases {
        assert!(text.contains(from));
        let changed = text.replacen(from, to, 1);
        let reader = Reader::new("a.journal".to_owned(), changed.as_bytes()).expect("there is a header");
        let error = summary(reader).expect_err("it is wrong").to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Counts are those of the scheduler, and each request is told once.
    #[test]
    fn counts_are_those_of_the_scheduler(config in config(), operations in operations()) {
        let mut driver = record(config, &operations, [1; 16], false);
        let journal = driver.journal();
        let (summary, stats) = (summary_of(&journal), driver.scheduler.stats());
        prop_assert_eq!(summary.output_tokens, stats.totals.generated_tokens);
        prop_assert_eq!(summary.finished, stats.totals.finished_stop + stats.totals.finished_length);
        prop_assert_eq!(summary.failed, stats.totals.finished_failed);
        prop_assert_eq!(summary.aborted, stats.totals.aborted);
        prop_assert_eq!(summary.unfinished, driver.recorder.live_requests() as u64);
        let mut by_end = all(&journal);
        let reader = Reader::new("test".to_owned(), journal.as_slice()).expect("there is a header");
        let by_arrival: Vec<RecordedRequest> =
            requests(reader).in_order_of_arrival().map(|request| request.expect("what was written is read")).collect();
        by_end.sort_by_key(|request| request.arrival);
        prop_assert_eq!(by_arrival, by_end);
    }
}
