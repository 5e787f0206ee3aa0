//! A replay decides as the recorded run did, and says where it doesn't.

use lightllm_journal::{OnDifference, Reader, Record, ReplayReport, Result, replay};
use lightllm_router::SchedulerConfig;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::driver::{Operation, config, operations, record};

const KEY: [u8; 16] = [9; 16];

fn run(journal: &[u8], on_difference: OnDifference) -> Result<ReplayReport> {
    replay(Reader::new("test.journal".to_owned(), journal)?, on_difference)
}

fn journal_of(config: SchedulerConfig, operations: &[Operation], tokens: bool) -> Vec<u8> {
    record(config, operations, KEY, tokens).journal()
}

fn lines_of(journal: &[u8]) -> u64 {
    journal.split(|byte| *byte == b'\n').count() as u64 - 1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn plans_are_the_same(config in config(), operations in operations(), tokens in any::<bool>()) {
        let journal = journal_of(config, &operations, tokens);
        let report = run(&journal, OnDifference::Stop).expect("what was written is read");
        prop_assert_eq!(&report.first, &None);
        prop_assert!(report.identical());
        prop_assert_eq!(report.cut, None);
        prop_assert_eq!(report.records, lines_of(&journal) - 1);
    }

    #[test]
    fn a_cut_journal_replays_up_to_the_cut(config in config(), operations in operations(), at in any::<usize>()) {
        let journal = journal_of(config, &operations, false);
        let header = journal.iter().position(|byte| *byte == b'\n').expect("there is a header");
        let length = header + 1 + at % (journal.len() - header);
        let report = run(&journal[..length], OnDifference::Stop).expect("a cut is no error");
        prop_assert!(report.identical());
        let lines = lines_of(&journal[..length]);
        // Without its end a line may yet be whole.
        let whole = journal[length - 1] != b'\n' && journal[length] == b'\n';
        prop_assert_eq!(report.records, lines - 1 + u64::from(whole));
        prop_assert_eq!(report.cut, (journal[length - 1] != b'\n' && !whole).then_some(lines + 1));
    }

    #[test]
    fn a_changed_digest_is_noticed(config in config(), operations in operations(), pick in any::<usize>()) {
        let journal = journal_of(config, &operations, false);
        let text = String::from_utf8(journal).expect("a journal is text");
        let places: Vec<usize> = text.match_indices("\"digest\":\"").map(|(index, found)| index + found.len()).collect();
        prop_assume!(!places.is_empty());
        let place = places[pick % places.len()] + pick % 16;
        let mut changed = text.clone().into_bytes();
        changed[place] = if changed[place] == b'0' { b'1' } else { b'0' };
        let report = run(&changed, OnDifference::Stop).expect("it can be read");
        let line = lines_of(&text.as_bytes()[..place]) + 1;
        prop_assert_eq!(report.first.expect("it differs").line, line);
        let counted = run(&changed, OnDifference::Count).expect("it can be read");
        prop_assert_eq!(counted.differences, 1);
        prop_assert_eq!(counted.records, lines_of(text.as_bytes()) - 1);
    }

    /// A plan or a result that is not there is noticed, at the latest at the next one.
    #[test]
    fn a_missing_record_is_noticed(config in config(), operations in operations(), pick in any::<usize>()) {
        let journal = journal_of(config, &operations, false);
        let text = String::from_utf8(journal).expect("a journal is text");
        let lines: Vec<&str> = text.lines().collect();
        let with = |text: &str| (0..lines.len()).filter(|index| lines[*index].contains(text)).collect::<Vec<usize>>();
        let (mut plans, mut results) = (with("\"digest\""), with("\"update\""));
        plans.pop();
        results.pop();
        let candidates = [plans, results].concat();
        prop_assume!(!candidates.is_empty());
        let gone = candidates[pick % candidates.len()];
        let changed: Vec<&str> = lines.iter().enumerate().filter(|(i, _)| *i != gone).map(|(_, line)| *line).collect();
        let report = run(format!("{}\n", changed.join("\n")).as_bytes(), OnDifference::Stop).expect("it can be read");
        let first = report.first.expect("it differs");
        prop_assert!(first.line > gone as u64, "{}", first);
    }
}

/// The tests above are worth something only if what they are about happens in them.
#[test]
fn the_runs_get_everywhere() {
    let mut runner = TestRunner::deterministic();
    let strategy = (config(), operations());
    let mut seen = [0usize; 15];
    for _ in 0..200 {
        let (config, operations) = strategy.new_tree(&mut runner).expect("nothing is filtered").current();
        let mut driver = record(config, &operations, KEY, false);
        let journal = driver.journal();
        let totals = driver.scheduler.stats().totals;
        seen[0] += totals.preemptions as usize;
        seen[1] += totals.prefix_hits as usize;
        seen[10] += totals.forks as usize;
        seen[11] += totals.deferred as usize;
        seen[12] += totals.refused_late as usize;
        seen[14] += totals.ahead as usize;
        for entry in Reader::new("test".to_owned(), journal.as_slice()).expect("a header") {
            match entry.expect("what was written is read").1 {
                Record::Add(add) => {
                    seen[2] += usize::from(add.refused.is_some());
                    seen[3] += usize::from(add.refused.is_none() && !add.siblings.is_empty());
                }
                Record::Update(update) => {
                    seen[4] += update.stop.len();
                    seen[5] += update.length.len();
                    seen[6] += update.failed.len();
                    seen[7] += update.hashes.len();
                }
                Record::FailStep(failed) => seen[8] += failed.ended.len(),
                Record::Abort(abort) => seen[9] += usize::from(abort.found),
                Record::ImageReady(ready) => seen[13] += usize::from(ready.found),
                Record::Schedule(_) | Record::ClearCache(_) => {}
            }
        }
    }
    assert!(seen.iter().all(|count| *count >= 20), "in 200 runs: {seen:?}");
}
