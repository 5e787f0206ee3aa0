//! What a journal gives away.

use lightllm_journal::{Reader, Record};
use lightllm_router::{Request, RequestId, SchedulerConfig};

use crate::driver::{Operation, record};

/// Token ids that appear nowhere else in a journal.
const PROMPT: [u32; 40] = [1_234_567_891; 40];

fn journal(key: u8, tokens: bool) -> String {
    let config = SchedulerConfig { page_size: 8, context: 256, ..SchedulerConfig::default() };
    let request = Request { cache_salt: 77_777_777_777, ..Request::new(RequestId(0), PROMPT.to_vec(), 60) };
    let twice = vec![Operation::Add(request.clone()), Operation::Add(request)];
    let steps = (0..50).flat_map(|seed| [Operation::Schedule, Operation::Answer(seed, None)]);
    let operations: Vec<Operation> = twice.into_iter().chain(steps).collect();
    String::from_utf8(record(config, &operations, [key; 16], tokens).journal()).expect("a journal is text")
}

/// Hashes of the prompts, and of outputs.
fn hashes(journal: &str) -> (Vec<Vec<u32>>, Vec<u32>) {
    let (mut prompts, mut outputs) = (Vec::new(), Vec::new());
    for entry in Reader::new("test".to_owned(), journal.as_bytes()).expect("there is a header") {
        match entry.expect("what was written is read").1 {
            Record::Add(add) => prompts.push(add.hashes),
            Record::Update(update) => outputs.extend(update.hashes.iter().map(|(_, hash)| *hash)),
            _ => {}
        }
    }
    (prompts, outputs)
}

#[test]
fn prompts_and_salts_are_not_in_a_journal() {
    let journal = journal(1, false);
    assert!(!journal.contains("1234567891"));
    assert!(!journal.contains("499602d3"), "in hex");
    assert!(!journal.contains("77777777777") && !journal.contains("121be2c471"));
    assert!(!journal.contains(&"01".repeat(16)), "the key");
}

#[test]
fn prompts_are_in_it_if_asked() {
    let journal = journal(1, true);
    assert!(journal.contains("[1234567891,1234567891,"));
    let mut entries = Reader::new("test".to_owned(), journal.as_bytes()).expect("there is a header");
    let Some(Ok((2, Record::Add(add)))) = entries.next() else { panic!("the first record is a request") };
    assert_eq!(add.prompt(8), PROMPT);
}

#[test]
fn hashes_differ_between_keys() {
    let ((prompts, outputs), (other_prompts, other_outputs)) = (hashes(&journal(1, false)), hashes(&journal(2, false)));
    assert_eq!(prompts[0], prompts[1], "equal prompts look equal");
    assert_eq!(prompts[0].len(), 10, "two a page");
    assert!(prompts[0].iter().zip(&other_prompts[0]).all(|(a, b)| a != b));
    assert!(outputs.len() > 10 && outputs.len() == other_outputs.len());
    assert!(outputs.iter().zip(&other_outputs).all(|(a, b)| a != b));
}

/// What is generated and then asked again has the same names, so that the replay finds it in its prefix cache.
#[test]
fn outputs_have_the_names_that_a_later_prompt_has() {
    let config = SchedulerConfig { page_size: 4, context: 256, ..SchedulerConfig::default() };
    let first = Operation::Add(Request::new(RequestId(0), vec![5; 6], 30));
    let mut operations = vec![first];
    operations.extend((0..31).flat_map(|seed| [Operation::Schedule, Operation::Answer(seed, None)]));
    // All of the first's text.
    operations.push(Operation::Continue(0, 36, Request::new(RequestId(0), vec![9], 5)));
    operations.extend([Operation::Schedule, Operation::Answer(0, None)]);
    let mut driver = record(config, &operations, [3; 16], false);
    let journal = String::from_utf8(driver.journal()).expect("a journal is text");
    let (prompts, outputs) = hashes(&journal);
    let all = [prompts[0].as_slice(), &outputs].concat();
    assert_eq!(prompts[1], all[..prompts[1].len()]);
    assert_eq!(driver.scheduler.stats().totals.prefix_hits, 32, "whole pages of what was computed");
}
