use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;

use lightllm_journal::{Key, Recorder, Result};
use lightllm_router::SchedulerConfig;
use lightllm_wire::JournalStart;

/// The journal, if one was asked for and as long as it can be written. A disk that fails ends it, never the service.
pub struct Journal {
    recorder: Option<Recorder>,
    path: String,
    /// Why it ended, until somebody is told.
    failure: Option<String>,
}

impl Journal {
    /// Makes the file, or empties it. Others can't read it: lengths and times of requests are their senders' business.
    pub fn open(start: Option<&JournalStart>, config: &SchedulerConfig) -> Self {
        let Some(start) = start else { return Self { recorder: None, path: String::new(), failure: None } };
        let mut journal = Self { recorder: None, path: start.path.clone(), failure: None };
        match begin(start, config) {
            Ok(recorder) => journal.recorder = Some(recorder),
            Err(error) => journal.end(&error),
        }
        journal
    }

    /// What takes the next record; None if there is no journal. Tell [`note`](Self::note) how it went.
    pub fn recorder(&mut self) -> Option<&mut Recorder> {
        self.recorder.as_mut()
    }

    /// Writes a record, if there is a journal.
    pub fn record(&mut self, write: impl FnOnce(&mut Recorder) -> Result<()>) {
        if let Some(recorder) = &mut self.recorder {
            let outcome = write(recorder);
            self.note(outcome);
        }
    }

    /// A record was written, or not: the first error ends the journal.
    pub fn note(&mut self, outcome: Result<()>) {
        if let Err(error) = outcome {
            self.end(&error);
        }
    }

    /// Why the journal ended; told once.
    pub fn take_failure(&mut self) -> Option<String> {
        self.failure.take()
    }

    fn end(&mut self, error: &lightllm_journal::Error) {
        self.recorder = None;
        self.failure = Some(format!("the journal {} ends here, the service goes on: {error}", self.path));
    }
}

fn begin(start: &JournalStart, config: &SchedulerConfig) -> Result<Recorder> {
    let failed = |source| lightllm_journal::Error::Io { name: start.path.clone(), source };
    let key: [u8; 16] = start
        .key
        .as_slice()
        .try_into()
        .map_err(|_| failed(io::Error::new(io::ErrorKind::InvalidInput, "its key has not 16 bytes")))?;
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&start.path).map_err(failed)?;
    Recorder::new(Box::new(file), config, Key::new(key), start.tokens)
}

#[cfg(test)]
mod tests {
    use lightllm_router::{Request, RequestId};
    use serde_bytes::ByteBuf;

    use super::*;

    fn start(path: &str) -> JournalStart {
        JournalStart { path: path.to_owned(), tokens: false, key: ByteBuf::from([7; 16]) }
    }

    #[test]
    fn none_is_written_where_none_is_wanted() {
        let mut journal = Journal::open(None, &SchedulerConfig::default());
        assert!(journal.recorder().is_none());
        journal.record(|_| unreachable!("there is no recorder"));
        assert_eq!(journal.take_failure(), None);
    }

    #[test]
    fn what_cannot_be_made_is_told_once() {
        let mut journal = Journal::open(Some(&start("/nowhere/at/all")), &SchedulerConfig::default());
        assert!(journal.recorder().is_none());
        let failure = journal.take_failure().expect("the folder is not there");
        assert!(failure.starts_with("the journal /nowhere/at/all ends here, the service goes on: "), "{failure}");
        assert_eq!(journal.take_failure(), None);
    }

    #[test]
    fn a_full_disk_ends_the_journal() {
        let mut journal = Journal::open(Some(&start("/dev/full")), &SchedulerConfig::default());
        assert_eq!(journal.take_failure(), None, "nothing has left the buffer");
        let request = Request::new(RequestId(1), vec![1, 2, 3], 4);
        let recorder = journal.recorder().expect("it is open");
        let outcome = recorder.add(&request, 0).done(&Ok(()));
        journal.note(outcome);
        journal.record(Recorder::flush);
        assert!(journal.recorder().is_none());
        assert!(journal.take_failure().expect("the disk is full").contains("No space left"));
    }
}
