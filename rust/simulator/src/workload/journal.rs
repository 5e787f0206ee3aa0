//! Requests of a router's own journal.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use lightllm_journal::{ByArrival, Error as JournalError, Reader, RecordedRequest, requests};

use super::prompt::Prompt;
use super::request::TraceRequest;
use super::source::Requests;
use crate::error::{Error, Result};

/// See [`Source::Journal`](super::Source::Journal).
pub(crate) struct Journal {
    requests: ByArrival<BufReader<Counted>>,
    page_size: u32,
    read: Rc<Cell<u64>>,
    size: u64,
    first_ns: Option<u64>,
    /// One that was read and comes next.
    pending: Option<RecordedRequest>,
    path: String,
}

/// Counts the bytes that were read.
struct Counted {
    file: File,
    read: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }
}

impl Journal {
    /// `page_size`: of the scheduler that is simulated.
    pub fn open(path: &Path, page_size: u32) -> Result<Self> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| Error::file(&name, error))?;
        let size = file.metadata().map_err(|error| Error::file(&name, error))?.len();
        let read = Rc::new(Cell::new(0));
        let counted = BufReader::with_capacity(1 << 17, Counted { file, read: Rc::clone(&read) });
        let reader = Reader::new(name.clone(), counted).map_err(told)?;
        let header = reader.header();
        let recorded = header.config.page_size;
        if !header.tokens && !page_size.is_multiple_of(recorded) {
            let reason = format!(
                "{page_size} is not a multiple of {recorded}, the page size of {name}: the journal has no token ids, \
                 and says only which pages were equal"
            );
            return Err(Error::setting("scheduler.page_size", reason));
        }
        let requests = requests(reader).in_order_of_arrival();
        Ok(Self { requests, page_size: recorded, read, size, first_ns: None, pending: None, path: name })
    }

    fn read(&mut self) -> Result<Option<RecordedRequest>> {
        match self.pending.take() {
            Some(pending) => Ok(Some(pending)),
            None => self.requests.next().transpose().map_err(told),
        }
    }
}

impl Requests for Journal {
    fn next(&mut self) -> Result<Option<TraceRequest>> {
        // Of what got no token (refused, or aborted before) nobody knows how long it would have been.
        let recorded = loop {
            match self.read()? {
                Some(recorded) if recorded.tokens.is_empty() => {}
                Some(recorded) => break recorded,
                None if self.first_ns.is_none() => {
                    return Err(Error::file(&self.path, "no request of the journal got a token"));
                }
                None => return Ok(None),
            }
        };
        let add = &recorded.add;
        let mut siblings = Vec::new();
        while let Some(next) = self.read()? {
            if next.add.id != add.id || next.add.now != add.now {
                self.pending = Some(next);
                break;
            }
            siblings.push(next.tokens.len().max(1) as u32);
        }
        let first_ns = *self.first_ns.get_or_insert(add.now);
        Ok(Some(TraceRequest {
            at_ns: Some(add.now - first_ns),
            prompt_tokens: add.prompt,
            output_tokens: recorded.tokens.len() as u32,
            siblings,
            prompt: Prompt::Tokens(add.prompt(self.page_size)),
            salt: add.salt,
            max_tokens: Some(add.max_tokens),
            priority: add.priority,
            tenant: add.tenant,
            class: add.class,
            deadline_ns: add.deadline.map(|deadline| deadline.saturating_sub(add.now)),
            ..TraceRequest::default()
        }))
    }

    fn progress(&self) -> f64 {
        if self.size == 0 { 1.0 } else { (self.read.get() as f64 / self.size as f64).min(1.0) }
    }

    fn wrong(&self, reason: String) -> Error {
        Error::file(&self.path, reason)
    }
}

fn told(error: JournalError) -> Error {
    match error {
        JournalError::Io { name, source } => Error::file(name, source),
        JournalError::BadLine { name, line, field, reason } => {
            let field = field.map_or(String::new(), |field| format!("{field}: "));
            Error::Line { path: name, line, reason: format!("{field}{reason}") }
        }
        JournalError::NoHeader { name, reason } => {
            Error::file(name, format!("{reason}: give a file that `serve --journal` wrote"))
        }
        other => Error::file("journal", other),
    }
}
