//! Finding stop strings in a text that comes in pieces: one pass, whatever their number (Aho and Corasick, 1975).

use std::collections::VecDeque;
use std::sync::Arc;

/// A beginning of one of the strings. It works on bytes: a match of whole strings in whole text is one of whole
/// characters.
#[derive(Default)]
struct State {
    /// The bytes that continue it.
    next: Vec<(u8, u32)>,
    /// The longest other beginning that the text also ends with.
    fail: u32,
    /// Its length.
    depth: u32,
    /// Length of the longest string that ends here; 0 for none.
    found: u32,
}

impl State {
    fn after(&self, byte: u8) -> Option<u32> {
        self.next.iter().find(|(with, _)| *with == byte).map(|(_, state)| *state)
    }
}

/// The automaton of some stop strings; shared by all outputs of a request.
pub struct StopSet {
    states: Vec<State>,
    /// Bytes that a string begins with.
    first: [bool; 256],
}

impl StopSet {
    /// The automaton of at least one string, none of them empty.
    pub fn new<S: AsRef<str>>(strings: impl IntoIterator<Item = S>) -> Self {
        let mut set = Self { states: vec![State::default()], first: [false; 256] };
        for string in strings {
            set.insert(string.as_ref().as_bytes());
        }
        for (byte, _) in &set.states[0].next {
            set.first[usize::from(*byte)] = true;
        }
        set.link();
        set
    }

    fn insert(&mut self, string: &[u8]) {
        assert!(!string.is_empty(), "an empty stop string would stop everything");
        let mut state = 0;
        for byte in string {
            state = self.states[state].after(*byte).unwrap_or_else(|| {
                let (child, depth) = (self.states.len() as u32, self.states[state].depth + 1);
                self.states[state].next.push((*byte, child));
                self.states.push(State { depth, ..State::default() });
                child
            }) as usize;
        }
        self.states[state].found = string.len() as u32;
    }

    /// Finds each state's `fail`, shortest beginnings first.
    fn link(&mut self) {
        let mut queue: VecDeque<u32> = self.states[0].next.iter().map(|(_, child)| *child).collect();
        while let Some(state) = queue.pop_front() {
            for (byte, child) in self.states[state as usize].next.clone() {
                let fail = self.step(self.states[state as usize].fail, byte);
                let inherited = self.states[fail as usize].found;
                let child_state = &mut self.states[child as usize];
                child_state.fail = fail;
                if child_state.found == 0 {
                    child_state.found = inherited;
                }
                queue.push_back(child);
            }
        }
    }

    /// The longest beginning that the text ends with after one more byte.
    fn step(&self, mut state: u32, byte: u8) -> u32 {
        loop {
            if let Some(next) = self.states[state as usize].after(byte) {
                return next;
            }
            if state == 0 {
                return 0;
            }
            state = self.states[state as usize].fail;
        }
    }
}

/// Passes a text through, up to the first stop string.
///
/// Text that could be the beginning of a stop string is held back, so nothing of one is ever let out.
pub struct StopMatcher {
    set: Arc<StopSet>,
    /// The stop string itself is let out too.
    include: bool,
    state: u32,
    held: String,
    stopped: bool,
}

impl StopMatcher {
    /// For one output.
    pub fn new(set: Arc<StopSet>, include: bool) -> Self {
        Self { set, include, state: 0, held: String::new(), stopped: false }
    }

    /// Whether a stop string was found.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Lets out what of the text so far is certain to come before any stop string.
    pub fn push(&mut self, text: &str, out: &mut String) {
        if self.state == 0 && !text.bytes().any(|byte| self.set.first[usize::from(byte)]) {
            out.push_str(text);
            return;
        }
        for (position, byte) in text.bytes().enumerate() {
            self.state = self.set.step(self.state, byte);
            let found = self.set.states[self.state as usize].found as usize;
            if found > 0 {
                self.held.push_str(&text[..=position]);
                let end = if self.include { self.held.len() } else { self.held.len() - found };
                out.push_str(&self.held[..end]);
                self.held.clear();
                self.state = 0;
                self.stopped = true;
                return;
            }
        }
        self.held.push_str(text);
        let certain = self.held.len() - self.set.states[self.state as usize].depth as usize;
        out.extend(self.held.drain(..certain));
    }

    /// Lets out what was held back: no stop string will come.
    pub fn finish(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
        self.state = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The text before the stop string that ends first (of several that end there, the longest), and that string.
    fn naive(text: &str, stops: &[String]) -> (String, Option<String>) {
        for (start, letter) in text.char_indices() {
            let seen = &text[..start + letter.len_utf8()];
            let found = stops.iter().filter(|stop| seen.ends_with(stop.as_str())).max_by_key(|stop| stop.len());
            if let Some(stop) = found {
                return (seen[..seen.len() - stop.len()].to_owned(), Some(stop.clone()));
            }
        }
        (text.to_owned(), None)
    }

    /// The same with the text in pieces.
    fn pushed(pieces: &[String], stops: &[String], include: bool) -> (String, bool) {
        let mut matcher = StopMatcher::new(Arc::new(StopSet::new(stops)), include);
        let mut out = String::new();
        for piece in pieces {
            matcher.push(piece, &mut out);
            if matcher.stopped() {
                return (out, true);
            }
        }
        matcher.finish(&mut out);
        (out, false)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn as_the_naive_search(pieces in vec("[abé\u{e8}]{0,6}", 0..12), stops in vec("[abé\u{e8}]{1,6}", 1..5)) {
            let (text, stop) = naive(&pieces.concat(), &stops);
            prop_assert_eq!(pushed(&pieces, &stops, false), (text.clone(), stop.is_some()));
            let included = text + stop.as_deref().unwrap_or("");
            prop_assert_eq!(pushed(&pieces, &stops, true), (included, stop.is_some()));
        }
    }

    #[test]
    fn no_more_is_held_back_than_could_be_a_beginning() {
        let mut matcher = StopMatcher::new(Arc::new(StopSet::new(["</end>", "\n\n\n"])), false);
        let mut push = |text: &str| {
            let mut out = String::new();
            matcher.push(text, &mut out);
            out
        };
        assert_eq!(push("one <"), "one ");
        assert_eq!(push("b> two\n"), "<b> two");
        assert_eq!(push("\nx"), "\n\nx");
        assert_eq!(push("</en"), "");
        let mut out = String::new();
        matcher.finish(&mut out);
        assert_eq!(out, "</en");
    }

    /// A text that makes a naive search compare each of its letters with the whole stop string.
    #[test]
    fn work_is_linear() {
        let text = "a".repeat(400_000);
        let pieces: Vec<String> =
            text.as_bytes().chunks(7).map(|piece| String::from_utf8_lossy(piece).into()).collect();
        let stop = "a".repeat(1000) + "b";
        assert_eq!(pushed(&pieces, &[stop], false), (text, false));
    }
}
