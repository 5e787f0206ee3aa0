//! One line for each request.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::Ended;
use crate::error::{Error, Result};

const HEADER: &str = "request,arrival_s,outcome,prompt_tokens,cached_tokens,output_tokens,queue_ms,ttft_ms,tpot_ms,\
                      max_itl_ms,e2e_ms,evictions,good,priority,tenant,class";

/// Writes them as requests end. Fields that a request does not have are empty.
#[derive(Debug)]
pub(crate) struct RequestCsv {
    file: BufWriter<File>,
    path: String,
}

impl RequestCsv {
    pub fn create(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let file = File::create(path).map_err(|error| Error::file(&name, error))?;
        let mut csv = Self { file: BufWriter::new(file), path: name };
        csv.line(HEADER)?;
        Ok(csv)
    }

    /// `start_ns`: arrivals are counted from there.
    pub fn write(&mut self, ended: &Ended, start_ns: u64, outcome: &str, good: bool) -> Result<()> {
        let arrival_ns = ended.arrival_ns - start_ns;
        let served = ended.served.as_ref();
        let ms = |ns: Option<u64>| ns.map_or(String::new(), |ns| format!("{}.{:06}", ns / 1_000_000, ns % 1_000_000));
        let line = format!(
            "{},{}.{:09},{outcome},{},{},{},{},{},{},{},{},{},{},{},{},{}",
            ended.number,
            arrival_ns / 1_000_000_000,
            arrival_ns % 1_000_000_000,
            ended.prompt_tokens,
            served.map_or(String::new(), |served| served.cached_tokens.to_string()),
            served.map_or(0, |served| served.tokens),
            ms(served.map(|served| served.queue_ns)),
            ms(served.map(|served| served.first_ns - ended.arrival_ns)),
            ms(served.and_then(super::meter::Served::tpot_ns)),
            ms(served.filter(|served| served.tokens > 1).map(|served| served.most_itl_ns)),
            ms(served.map(|served| served.last_ns - ended.arrival_ns)),
            served.map_or(0, |served| served.evictions),
            u8::from(good),
            ended.priority,
            ended.tenant,
            ended.class,
        );
        self.line(&line)
    }

    fn line(&mut self, line: &str) -> Result<()> {
        writeln!(self.file, "{line}").map_err(|error| Error::file(&self.path, error))
    }

    pub fn finish(mut self) -> Result<()> {
        self.file.flush().map_err(|error| Error::file(&self.path, error))
    }
}
