use std::path::Path;

use serde::Deserialize;

use super::lines::Lines;
use super::mooncake::without_place;
use super::prompt::Prompt;
use super::request::{MOST_TOKENS, TraceRequest};
use super::source::Requests;
use crate::error::{Error, Result};

/// Longest element that is read.
const LONGEST: usize = 16 << 20;

/// See [`Source::Sharegpt`](super::Source::Sharegpt).
#[derive(Debug)]
pub(crate) struct ShareGpt {
    lines: Lines,
    /// The rest of the current line.
    line: Vec<u8>,
    at: usize,
    /// The elements are in a list. None until the first was seen.
    in_list: Option<bool>,
    ended: bool,
    /// The conversation that is being asked, and its turns that are left, last first.
    conversation: u64,
    turns: Vec<TraceRequest>,
    found: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Element {
    Pair(i64, i64),
    Conversation {
        #[serde(alias = "conversation")]
        conversations: Vec<Turn>,
    },
    Lengths {
        #[serde(alias = "prompt_len", alias = "prompt_length", alias = "input_tokens", alias = "input_length")]
        #[serde(alias = "input_len")]
        prompt_tokens: i64,
        #[serde(alias = "output_len", alias = "output_length", alias = "completion_tokens")]
        output_tokens: i64,
    },
}

#[derive(Deserialize)]
struct Turn {
    #[serde(alias = "role")]
    from: String,
    #[serde(alias = "value", alias = "length", alias = "num_tokens")]
    tokens: i64,
}

impl ShareGpt {
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self {
            lines: Lines::open(path)?,
            line: Vec::new(),
            at: 0,
            in_list: None,
            ended: false,
            conversation: 0,
            turns: Vec::new(),
            found: false,
        })
    }

    /// The next byte that is no white space, which is not taken yet.
    fn peek(&mut self) -> Result<Option<u8>> {
        loop {
            if let Some(skip) = self.line[self.at..].iter().position(|byte| !byte.is_ascii_whitespace()) {
                self.at += skip;
                return Ok(Some(self.line[self.at]));
            }
            let Some(line) = self.lines.next_line()? else { return Ok(None) };
            self.line.clear();
            self.line.extend_from_slice(line);
            self.at = 0;
        }
    }

    /// The bytes of the next element of the list, or of the next value where there is no list.
    fn element(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(first) = self.peek()? else {
            if self.in_list == Some(true) && !self.ended {
                return Err(self.lines.wrong("the file ends within the list: a ] is missing"));
            }
            return Ok(None);
        };
        if self.ended {
            return Err(self.lines.wrong("there is something behind the end of the list"));
        }
        let first = if self.in_list.is_none() {
            // A file of pairs, one a line, also begins with a bracket: a list has a bracket or a brace in it.
            let rest = &self.line[self.at + 1..];
            let inner = rest.iter().find(|byte| !byte.is_ascii_whitespace());
            let list = first == b'[' && inner.is_none_or(|byte| matches!(byte, b'[' | b'{' | b']'));
            self.in_list = Some(list);
            self.at += usize::from(list);
            if list { self.peek()? } else { Some(first) }
        } else {
            Some(first)
        };
        match first {
            Some(b']') if self.in_list == Some(true) => {
                self.at += 1;
                self.ended = true;
                self.element()
            }
            Some(b'[' | b'{') => self.balanced().map(Some),
            Some(_) => Err(self.lines.wrong("each request must be a JSON object or a pair of numbers")),
            None => Err(self.lines.wrong("the file ends within the list: a ] is missing")),
        }
    }

    /// Takes bytes up to the bracket that closes the one that is next, and a comma behind it.
    fn balanced(&mut self) -> Result<Vec<u8>> {
        let mut element = Vec::new();
        let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
        loop {
            while let Some(byte) = self.line.get(self.at).copied() {
                self.at += 1;
                element.push(byte);
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' if quoted => escaped = true,
                    b'"' => quoted = !quoted,
                    b'[' | b'{' if !quoted => depth += 1,
                    b']' | b'}' if !quoted => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    if self.peek()? == Some(b',') {
                        self.at += 1;
                    }
                    return Ok(element);
                }
            }
            if element.len() > LONGEST {
                return Err(self.lines.wrong(format!("one request is longer than {LONGEST} bytes")));
            }
            let Some(line) = self.lines.next_line()? else {
                return Err(self.lines.wrong("the file ends within a request"));
            };
            self.line.clear();
            self.line.extend_from_slice(line);
            self.at = 0;
            element.push(b'\n');
        }
    }

    fn tokens(&self, name: &str, got: i64) -> Result<u32> {
        match u64::try_from(got) {
            Ok(tokens) if (1..=MOST_TOKENS).contains(&tokens) => Ok(tokens as u32),
            _ => Err(self.lines.wrong(format!("{name}: {got} must be a whole number from 1 to {MOST_TOKENS}"))),
        }
    }

    /// Each answer of a conversation is a request, whose prompt is all that was said before it.
    fn conversation(&mut self, turns: &[Turn]) -> Result<()> {
        let mut said = 0_u32;
        for turn in turns {
            let tokens = self.tokens("tokens", turn.tokens)?;
            let answers = matches!(turn.from.as_str(), "gpt" | "assistant" | "chatgpt" | "bing" | "bard");
            if answers && said > 0 {
                self.turns.push(TraceRequest {
                    prompt_tokens: said,
                    output_tokens: tokens,
                    prompt: Prompt::Conversation(self.conversation),
                    ..TraceRequest::default()
                });
            }
            said = said.saturating_add(tokens).min(MOST_TOKENS as u32);
        }
        self.conversation += 1;
        self.turns.reverse();
        Ok(())
    }
}

impl Requests for ShareGpt {
    fn next(&mut self) -> Result<Option<TraceRequest>> {
        loop {
            if let Some(turn) = self.turns.pop() {
                self.found = true;
                return Ok(Some(turn));
            }
            let Some(bytes) = self.element()? else {
                if !self.found {
                    return Err(self.lines.wrong_file("there is no request in the file"));
                }
                return Ok(None);
            };
            let element = serde_json::from_slice(&bytes).map_err(|error| {
                let what = if error.is_data() {
                    "it must be [prompt, output], an object with prompt_tokens and output_tokens, or one with \
                     conversations whose turns have from and a number of tokens"
                        .to_owned()
                } else {
                    without_place(&error)
                };
                self.lines.wrong(format!("not a request: {what}"))
            })?;
            let (prompt, output) = match element {
                Element::Pair(prompt, output) => (prompt, output),
                Element::Lengths { prompt_tokens, output_tokens } => (prompt_tokens, output_tokens),
                Element::Conversation { conversations } => {
                    self.conversation(&conversations)?;
                    continue;
                }
            };
            self.found = true;
            return Ok(Some(TraceRequest {
                prompt_tokens: self.tokens("prompt_tokens", prompt)?,
                output_tokens: self.tokens("output_tokens", output)?,
                ..TraceRequest::default()
            }));
        }
    }

    fn progress(&self) -> f64 {
        self.lines.progress()
    }

    fn wrong(&self, reason: String) -> Error {
        self.lines.wrong(reason)
    }
}
