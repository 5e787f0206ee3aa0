use std::io::Write;

use crate::json::write_string;
use crate::{Finish, Output};

/// How an answer writes the events of its choices.
///
/// An event is `head INDEX field TEXT ,"logprobs":… ,"finish_reason":… tail`, where TEXT is `before "…" after`, or
/// `empty` without a text. All parts are JSON but the frame around it.
pub struct EventTemplate {
    #[allow(missing_docs)]
    pub head: Vec<u8>,
    #[allow(missing_docs)]
    pub field: Vec<u8>,
    #[allow(missing_docs)]
    pub before: Vec<u8>,
    #[allow(missing_docs)]
    pub after: Vec<u8>,
    #[allow(missing_docs)]
    pub empty: Vec<u8>,
    #[allow(missing_docs)]
    pub tail: Vec<u8>,
    /// In place of TEXT in an event before a choice's first one; none if there is no such event.
    pub first: Vec<u8>,
}

impl EventTemplate {
    /// Adds all that is new of a choice: nothing if that is nothing to show yet.
    ///
    /// `logprobs` is JSON, for an event that must be shown even without a text.
    pub fn write(&self, output: &mut Output, index: u32, logprobs: Option<&[u8]>, events: &mut Vec<u8>) {
        if !std::mem::replace(&mut output.begun, true) && !self.first.is_empty() {
            self.frame(index, |event| event.extend_from_slice(&self.first), None, None, events);
        }
        if output.is_silent() && output.finish().is_none() && logprobs.is_none() {
            return;
        }
        let text = output.text();
        let finish = output.finish().map(Finish::name);
        let write_text = |event: &mut Vec<u8>| {
            if text.is_empty() {
                event.extend_from_slice(&self.empty);
            } else {
                event.extend_from_slice(&self.before);
                write_string(&text, event);
                event.extend_from_slice(&self.after);
            }
        };
        self.frame(index, write_text, logprobs, finish, events);
    }

    fn frame(
        &self,
        index: u32,
        text: impl FnOnce(&mut Vec<u8>),
        logprobs: Option<&[u8]>,
        finish: Option<&str>,
        events: &mut Vec<u8>,
    ) {
        events.reserve(self.head.len() + self.field.len() + self.tail.len() + 128);
        events.extend_from_slice(&self.head);
        write!(events, "{index}").expect("a Vec takes all");
        events.extend_from_slice(&self.field);
        text(events);
        events.extend_from_slice(b",\"logprobs\":");
        events.extend_from_slice(logprobs.unwrap_or(b"null"));
        events.extend_from_slice(b",\"finish_reason\":");
        match finish {
            None => events.extend_from_slice(b"null"),
            Some(name) => write_string(name, events),
        }
        events.extend_from_slice(&self.tail);
    }
}
