//! Reading a journal as a stream.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::header::{Header, VERSION};
use crate::record::Record;

/// Longest line that is read. The longest that is written has a prompt's token ids, or hashes of them.
pub const MAX_LINE_BYTES: usize = 64 << 20;

/// Largest scheduler whose journal is read. A few bytes of a header must not ask for more memory than there is.
const MAX_PAGES: u32 = 1 << 26;
const MAX_SLOTS: u32 = 1 << 20;
const MAX_PAGE_SIZE: u32 = 1 << 12;

/// Times are below this: 146 years, so that sums of them stay in range.
const MAX_NS: u64 = 1 << 62;

/// A journal, record by record. Nothing of it is kept.
///
/// A last line that was cut off in the middle ends it quietly ([`cut`](Self::cut) tells); any other line that isn't a
/// record is an error, and ends it too.
#[derive(Debug)]
pub struct Reader<R> {
    name: String,
    input: R,
    header: Header,
    line: u64,
    buffer: Vec<u8>,
    now: u64,
    cut: Option<u64>,
    done: bool,
}

impl Reader<BufReader<File>> {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Self::new(name, BufReader::with_capacity(1 << 17, file)),
            Err(source) => Err(Error::Io { name, source }),
        }
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads the header. `name` is what errors call the journal.
    pub fn new(name: String, input: R) -> Result<Self> {
        let header = Header { journal: 0, tokens: false, config: lightllm_router::SchedulerConfig::default() };
        let mut reader = Self { name, input, header, line: 0, buffer: Vec::new(), now: 0, cut: None, done: false };
        reader.header = reader.read_header()?;
        Ok(reader)
    }

    /// The first line.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What errors call the journal.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of the line that was read last.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The line that was cut off, once the end is reached.
    pub fn cut(&self) -> Option<u64> {
        self.cut
    }

    /// Nothing more is read.
    pub(crate) fn finish(&mut self) {
        self.done = true;
    }

    /// An error about the line that was read last.
    pub(crate) fn bad(&self, field: &str, reason: impl Into<String>) -> Error {
        let field = (!field.is_empty()).then(|| field.to_owned());
        Error::BadLine { name: self.name.clone(), line: self.line, field, reason: reason.into() }
    }

    fn no_header(&self, reason: impl Into<String>) -> Error {
        Error::NoHeader { name: self.name.clone(), reason: reason.into() }
    }

    fn read_header(&mut self) -> Result<Header> {
        #[derive(serde::Deserialize)]
        struct Version {
            journal: u32,
        }
        if !self.read_line()? {
            return Err(self.no_header("the file is empty"));
        }
        let Ok(Version { journal }) = serde_json::from_slice(&self.buffer) else {
            return Err(self.no_header("the first line is not the header of a journal"));
        };
        if !(1..=VERSION).contains(&journal) {
            let reason = format!("the version is {journal}, but only 1 to {VERSION} can be read");
            return Err(self.bad("journal", reason));
        }
        let header: Header = self.parse()?;
        self.cut = None;
        let config = &header.config;
        let bounds = [
            ("pages", config.pages, MAX_PAGES),
            ("slots", config.slots, MAX_SLOTS),
            ("page_size", config.page_size, MAX_PAGE_SIZE),
        ];
        for (setting, value, most) in bounds {
            if value > most {
                return Err(self.bad(&format!("config.{setting}"), format!("is {value}: it must be at most {most}")));
            }
        }
        config.validate().map_err(|error| self.bad("config", error.to_string()))?;
        Ok(header)
    }

    /// Reads a line without its end. False at the end of the file.
    fn read_line(&mut self) -> Result<bool> {
        self.buffer.clear();
        let limit = MAX_LINE_BYTES as u64 + 1;
        let read = self.input.by_ref().take(limit).read_until(b'\n', &mut self.buffer);
        read.map_err(|source| Error::Io { name: self.name.clone(), source })?;
        if self.buffer.is_empty() {
            return Ok(false);
        }
        self.line += 1;
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
        } else if self.buffer.len() > MAX_LINE_BYTES {
            return Err(self.bad("", format!("the line is longer than {MAX_LINE_BYTES} bytes")));
        } else {
            self.cut = Some(self.line);
        }
        Ok(true)
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.buffer).map_err(|_| self.why::<T>())
    }

    /// Reads a bad line once more, for the field that is to blame.
    fn why<T: DeserializeOwned>(&self) -> Error {
        let mut deserializer = serde_json::Deserializer::from_slice(&self.buffer);
        let Err(error) = serde_path_to_error::deserialize::<_, T>(&mut deserializer) else {
            return self.bad("", "there is more than one value in the line");
        };
        let path = error.path().to_string();
        let reason = error.into_inner().to_string();
        // The line is known; serde counts from the beginning of the record.
        let reason = reason.split(" at line ").next().unwrap_or(&reason).to_owned();
        self.bad(if path == "." { "" } else { &path }, reason)
    }

    fn read_record(&mut self) -> Result<Option<Record>> {
        if !self.read_line()? {
            return Ok(None);
        }
        let record = match self.parse::<Record>() {
            Ok(record) => record,
            // Only a whole record closes its braces, so nothing that was cut is taken for one.
            Err(_) if self.cut.is_some() => return Ok(None),
            Err(error) => return Err(error),
        };
        self.cut = None;
        self.check(&record)?;
        Ok(Some(record))
    }

    fn check(&mut self, record: &Record) -> Result<()> {
        let now = record.now();
        if now < self.now || now >= MAX_NS {
            let reason = format!("is {now}: times go from {} to {MAX_NS} here, and never back", self.now);
            return Err(self.bad("now", reason));
        }
        self.now = now;
        let Header { tokens, config, .. } = self.header;
        match record {
            Record::Add(add) => {
                if add.deadline.is_some_and(|deadline| deadline >= MAX_NS) {
                    return Err(self.bad("add.deadline", format!("is not below {MAX_NS}")));
                }
                let checked = add.check(&config, tokens);
                checked.map_err(|(field, reason)| self.bad(&format!("add.{field}"), reason))
            }
            Record::Schedule(schedule) => match schedule.attach.iter().find(|(slot, _)| *slot >= config.slots) {
                Some((slot, _)) => Err(self.bad("schedule.attach", format!("there is no slot {slot}"))),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

/// Records with their line in the file.
impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<(u64, Record)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let read = self.read_record();
        self.done = !matches!(read, Ok(Some(_)));
        read.transpose().map(|record| record.map(|record| (self.line, record)))
    }
}
