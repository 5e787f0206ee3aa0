//! Lines of a file, one at a time.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::error::{Error, Result};

/// Longest line that is read.
const LONGEST: usize = 16 << 20;

/// Reads a file line by line into one buffer.
#[derive(Debug)]
pub(crate) struct Lines {
    path: String,
    file: BufReader<File>,
    buffer: Vec<u8>,
    number: u64,
    read: u64,
    size: u64,
}

impl Lines {
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| Error::file(&name, error))?;
        let metadata = file.metadata().map_err(|error| Error::file(&name, error))?;
        if metadata.is_dir() {
            return Err(Error::file(&name, "is a directory: give a file"));
        }
        Ok(Self {
            path: name,
            file: BufReader::with_capacity(1 << 18, file),
            buffer: Vec::new(),
            number: 0,
            read: 0,
            size: metadata.len(),
        })
    }

    /// The next line that is not blank, without its end. None at the end of the file.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>> {
        loop {
            self.buffer.clear();
            if !self.fill()? {
                return Ok(None);
            }
            while matches!(self.buffer.last(), Some(b'\n' | b'\r')) {
                self.buffer.pop();
            }
            if self.buffer.iter().any(|byte| !byte.is_ascii_whitespace()) {
                return Ok(Some(&self.buffer));
            }
        }
    }

    /// Reads one line into the buffer. False at the end of the file.
    fn fill(&mut self) -> Result<bool> {
        loop {
            let available = self.file.fill_buf().map_err(|error| Error::file(&self.path, error))?;
            if available.is_empty() {
                return Ok(!self.buffer.is_empty());
            }
            let (part, ends) = match available.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (available.len(), false),
            };
            self.number += u64::from(self.buffer.is_empty());
            self.buffer.extend_from_slice(&available[..part]);
            self.file.consume(part);
            self.read += part as u64;
            if self.buffer.len() > LONGEST {
                return Err(self.wrong(format!("the line is longer than {LONGEST} bytes")));
            }
            if ends {
                return Ok(true);
            }
        }
    }

    /// An error in the line that was read last.
    pub fn wrong(&self, reason: impl Into<String>) -> Error {
        Error::Line { path: self.path.clone(), line: self.number, reason: reason.into() }
    }

    /// An error of the file as a whole.
    pub fn wrong_file(&self, reason: &str) -> Error {
        Error::file(&self.path, reason)
    }

    /// Part of the file that has been read, from 0 to 1.
    pub fn progress(&self) -> f64 {
        if self.size == 0 { 1.0 } else { (self.read as f64 / self.size as f64).min(1.0) }
    }
}
