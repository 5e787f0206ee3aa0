use std::sync::Arc;

use lightllm_wire::{Admission, FINISH_LENGTH, FINISH_RUNNING, FINISH_STOP, OutputRow, TokenLogprobs};

use crate::{Decode, StopMatcher, StopSet};

/// Why an output has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// By an end token or a stop string.
    Stop,
    /// By its length.
    Length,
}

impl Finish {
    /// As answers write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// A token of the output, where a route shows tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    #[allow(missing_docs)]
    pub token: u32,
    /// What it adds to the text.
    pub text: String,
    /// Letters of the text before it.
    pub start: usize,
    #[allow(missing_docs)]
    pub logprobs: Option<TokenLogprobs>,
    /// It is part of the text: no end token, and not behind a stop string.
    pub kept: bool,
}

/// What an output is to become.
#[allow(clippy::struct_excessive_bools)] // each is a wish of its own
#[derive(Clone, Default)]
pub struct OutputSettings {
    #[allow(missing_docs)]
    pub stops: Option<Arc<StopSet>>,
    /// A stop string itself is let out too.
    pub include_stop: bool,
    /// Stop strings are looked for behind so many tokens.
    pub min_tokens: u32,
    /// Tokens are kept for the answer to show.
    pub records: bool,
    /// The one token that the router must make is not shown.
    pub drop: bool,
    /// Nobody looks before the end.
    pub quiet: bool,
    /// Text that the answer begins with.
    pub opening: String,
    /// Time of the request's arrival, in seconds.
    pub began: f64,
}

/// What a row was to its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// More will come.
    Running,
    /// The router knows of the end.
    Ended,
    /// A stop string was found, which the router does not know.
    Stopped,
}

/// Takes the rows of one request at the router and keeps what the answer has not used yet.
pub struct Output {
    settings: OutputSettings,
    decoder: Box<dyn Decode>,
    matcher: Option<StopMatcher>,
    tokens: u32,
    finish: Option<Finish>,
    admission: Option<Admission>,
    /// By position; None at position 0.
    prompt_logprobs: Vec<Option<TokenLogprobs>>,
    first_at: Option<f64>,
    last_at: f64,
    /// The text since it was last taken.
    text: String,
    records: Vec<Record>,
    /// Letters that came out of the decoder, and out of the matcher.
    decoded: usize,
    emitted: usize,
    /// Tokens since the text was last taken.
    unsent: u32,
    /// It has something new and its reader knows.
    pub(crate) told: bool,
    /// Its reader has begun to write.
    pub(crate) begun: bool,
}

impl Output {
    /// An output without tokens.
    pub fn new(decoder: Box<dyn Decode>, mut settings: OutputSettings) -> Self {
        let matcher = settings.stops.take().map(|stops| StopMatcher::new(stops, settings.include_stop));
        let text = std::mem::take(&mut settings.opening);
        Self {
            settings,
            decoder,
            matcher,
            tokens: 0,
            finish: None,
            admission: None,
            prompt_logprobs: vec![None],
            first_at: None,
            last_at: 0.0,
            text,
            records: Vec::new(),
            decoded: 0,
            emitted: 0,
            unsent: 0,
            told: false,
            begun: false,
        }
    }

    /// One row of the router. An error is a fault of the backend or of the decoder, and ends the output.
    pub fn take(&mut self, row: OutputRow) -> Result<Taken, String> {
        if row.admission.is_some() {
            self.admission = row.admission;
        }
        if let Some(entries) = row.prompt_logprobs {
            self.take_prompt(row.prompt_start as usize, entries)?;
        }
        if row.tokens.0.is_empty() && row.finish == FINISH_RUNNING {
            return Ok(Taken::Running);
        }
        if self.settings.drop {
            self.end(Finish::Length);
        } else {
            self.take_tokens(&row.tokens.0, row.logprobs, row.finish)?;
        }
        Ok(match self.finish {
            None => Taken::Running,
            Some(_) if row.finish == FINISH_RUNNING => Taken::Stopped,
            Some(_) => Taken::Ended,
        })
    }

    /// Notes the time of a row with tokens: returns the seconds since the request's arrival for the first one, or since
    /// the one before.
    pub(crate) fn note(&mut self, now: f64) -> Result<f64, f64> {
        let before = std::mem::replace(&mut self.last_at, now);
        if self.first_at.is_some() {
            return Ok(now - before);
        }
        self.first_at = Some(now);
        Err(now - self.settings.began)
    }

    fn take_tokens(&mut self, ids: &[u32], logprobs: Option<Vec<TokenLogprobs>>, finish: u8) -> Result<(), String> {
        let mut logprobs = logprobs.map(Vec::into_iter);
        let mut text = String::new();
        for (position, token) in ids.iter().enumerate() {
            self.tokens += 1;
            self.unsent += 1;
            let end = finish == FINISH_STOP && position == ids.len() - 1;
            text.clear();
            if !end {
                self.decoder.push(*token, &mut text)?;
            }
            if self.settings.records {
                let logprobs = logprobs.as_mut().and_then(Iterator::next);
                let record = Record { token: *token, text: text.clone(), start: self.decoded, logprobs, kept: !end };
                self.records.push(record);
            }
            self.let_out(&text);
            if self.finish.is_some() {
                return Ok(());
            }
        }
        if finish != FINISH_RUNNING {
            text.clear();
            self.decoder.finish(&mut text)?;
            if let Some(last) = self.records.last_mut() {
                last.text.push_str(&text);
            }
            self.let_out(&text);
            if self.finish.is_none() {
                self.end(if finish == FINISH_LENGTH { Finish::Length } else { Finish::Stop });
            }
        }
        Ok(())
    }

    /// Text of the decoder, on its way through the search for stop strings.
    fn let_out(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let before = self.text.len();
        let mut stopped = false;
        match &mut self.matcher {
            Some(matcher) if self.tokens > self.settings.min_tokens => {
                matcher.push(text, &mut self.text);
                stopped = matcher.stopped();
            }
            _ => self.text.push_str(text),
        }
        self.count(text, before);
        if stopped {
            self.finish = Some(Finish::Stop);
        }
    }

    fn end(&mut self, finish: Finish) {
        self.finish = Some(finish);
        if let Some(matcher) = &mut self.matcher {
            let before = self.text.len();
            matcher.finish(&mut self.text);
            self.count("", before);
        }
    }

    /// Counts letters that came, and those of the text from `before` on; only records need them.
    fn count(&mut self, decoded: &str, before: usize) {
        if self.settings.records {
            self.decoded += decoded.chars().count();
            self.emitted += self.text[before..].chars().count();
        }
    }

    /// Log-probabilities of prompt positions; a preempted request reports some again.
    fn take_prompt(&mut self, start: usize, entries: Vec<TokenLogprobs>) -> Result<(), String> {
        if start > self.prompt_logprobs.len() {
            let known = self.prompt_logprobs.len();
            return Err(format!("log-probabilities of the prompt go on at {start} where {known} was due"));
        }
        let skipped = 1_usize.saturating_sub(start);
        self.prompt_logprobs.truncate(start.max(1));
        self.prompt_logprobs.extend(entries.into_iter().skip(skipped).map(Some));
        Ok(())
    }

    /// The text since the last call.
    pub fn text(&mut self) -> String {
        self.unsent = 0;
        std::mem::take(&mut self.text)
    }

    /// The tokens since the last call whose text has been let out.
    pub fn records(&mut self) -> Vec<Record> {
        let emitted = self.emitted;
        if self.finish.is_none() {
            let out = |record: &Record| record.start + record.text.chars().count() <= emitted;
            let ready = self.records.iter().take_while(|record| out(record)).count();
            return self.records.drain(..ready).collect();
        }
        let mut ready = std::mem::take(&mut self.records);
        for record in &mut ready {
            if record.start + record.text.chars().count() > emitted {
                let room = emitted.saturating_sub(record.start);
                record.kept &= room > 0;
                let cut = record.text.char_indices().nth(room).map_or(record.text.len(), |(cut, _)| cut);
                record.text.truncate(cut);
            }
        }
        ready
    }

    /// The reader takes what is new: it wants to hear of what comes later.
    pub fn look(&mut self) {
        self.told = false;
    }

    /// Whether there is no text to send.
    pub fn is_silent(&self) -> bool {
        self.text.is_empty()
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.settings.quiet
    }

    /// Generated so far, the end token included.
    pub fn tokens(&self) -> u32 {
        self.tokens
    }

    /// Why it has ended, if it has.
    pub fn finish(&self) -> Option<Finish> {
        self.finish
    }

    /// When it first ran.
    pub fn admission(&self) -> Option<&Admission> {
        self.admission.as_ref()
    }

    /// Of the prompt, by position, where asked for; None at position 0.
    pub fn prompt_logprobs(&self) -> &[Option<TokenLogprobs>] {
        &self.prompt_logprobs
    }

    /// Time of the latest token.
    pub fn last_at(&self) -> f64 {
        self.last_at
    }

    /// Tokens that wait to be sent.
    pub fn unsent(&self) -> u32 {
        self.unsent
    }
}
