//! Journals: no bytes make the reader, the replay or the summary panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lightllm_journal::{OnDifference, Reader, replay, summary};

/// A scheduler's first allocations grow with these; larger ones only take time.
const PAGES: u32 = 1 << 16;
const SLOTS: u32 = 1 << 12;

fuzz_target!(|journal: &[u8]| {
    let read = || Reader::new("fuzz".to_owned(), journal);
    let Ok(reader) = read() else { return };
    let config = reader.header().config;
    if config.pages > PAGES || config.slots > SLOTS {
        return;
    }
    let stopped = replay(reader, OnDifference::Stop);
    let counted = replay(read().expect("it was just read"), OnDifference::Count);
    if let (Ok(stopped), Ok(counted)) = (&stopped, &counted) {
        assert_eq!(stopped.first, counted.first);
    }
    let _ = summary(read().expect("it was just read"));
});
