//! One line in the making. Written by hand, into a buffer that is used again: a step of 256 requests must not cost
//! more than a few microseconds.

/// An object in an object: `{"kind":{"field":1,...}}`.
#[derive(Default)]
pub(crate) struct Line {
    bytes: Vec<u8>,
    numbers: itoa::Buffer,
    /// Nothing stands before the next value, so no comma is due.
    fresh: bool,
}

impl Line {
    /// Begins a record.
    pub fn begin(&mut self, kind: &str) {
        self.bytes.clear();
        self.bytes.extend_from_slice(b"{\"");
        self.bytes.extend_from_slice(kind.as_bytes());
        self.bytes.extend_from_slice(b"\":{");
        self.fresh = true;
    }

    /// Ends the record. The line, with its end.
    pub fn end(&mut self) -> &[u8] {
        self.bytes.extend_from_slice(b"}}\n");
        &self.bytes
    }

    fn comma(&mut self) {
        if !self.fresh {
            self.bytes.push(b',');
        }
        self.fresh = false;
    }

    fn name(&mut self, name: &str) {
        self.comma();
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b"\":");
    }

    fn digits(&mut self, value: impl itoa::Integer) {
        self.bytes.extend_from_slice(self.numbers.format(value).as_bytes());
    }

    pub fn number(&mut self, name: &str, value: impl itoa::Integer) {
        self.name(name);
        self.digits(value);
    }

    pub fn flag(&mut self, name: &str, value: bool) {
        self.name(name);
        self.bytes.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A text without anything to escape.
    pub fn word(&mut self, name: &str, value: &str) {
        self.text(name, |bytes| bytes.extend_from_slice(value.as_bytes()));
    }

    /// A text of hex digits, written by `write`.
    pub fn text(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.name(name);
        self.bytes.push(b'"');
        write(&mut self.bytes);
        self.bytes.push(b'"');
    }

    pub fn numbers<T: itoa::Integer>(&mut self, name: &str, values: impl IntoIterator<Item = T>) {
        self.list(name, values, Self::digits);
    }

    /// Pairs, each a list of two.
    pub fn pairs<A: itoa::Integer, B: itoa::Integer>(&mut self, name: &str, pairs: impl IntoIterator<Item = (A, B)>) {
        self.list(name, pairs, |line, (first, second)| {
            line.bytes.push(b'[');
            line.digits(first);
            line.bytes.push(b',');
            line.digits(second);
            line.bytes.push(b']');
        });
    }

    /// Pairs of a number and a word.
    pub fn words(&mut self, name: &str, pairs: impl IntoIterator<Item = (u64, &'static str)>) {
        self.list(name, pairs, |line, (number, word)| {
            line.bytes.push(b'[');
            line.digits(number);
            line.bytes.extend_from_slice(b",\"");
            line.bytes.extend_from_slice(word.as_bytes());
            line.bytes.extend_from_slice(b"\"]");
        });
    }

    /// Two numbers and a flag each.
    pub fn images(&mut self, name: &str, images: impl IntoIterator<Item = (u32, u32, bool)>) {
        self.list(name, images, |line, (start, tokens, ready)| {
            line.bytes.push(b'[');
            line.digits(start);
            line.bytes.push(b',');
            line.digits(tokens);
            line.bytes.extend_from_slice(if ready { b",true]" } else { b",false]" });
        });
    }

    fn list<T>(&mut self, name: &str, values: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        self.name(name);
        self.bytes.push(b'[');
        self.fresh = true;
        for value in values {
            self.comma();
            write(self, value);
        }
        self.bytes.push(b']');
        self.fresh = false;
    }
}

/// Appends the lowest `digits` hex digits of a value.
pub(crate) fn hex(out: &mut Vec<u8>, value: u128, digits: u32) {
    out.extend((0..digits).rev().map(|digit| b"0123456789abcdef"[(value >> (4 * digit) & 15) as usize]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_json() {
        let mut line = Line::default();
        for _ in 0..2 {
            line.begin("kind");
            line.number("one", -1);
            line.flag("yes", true);
            line.word("word", "a_b");
            line.text("hex", |out| hex(out, 0x1f, 4));
            line.numbers("numbers", [1u32, 2]);
            line.numbers("none", [0u8; 0]);
            line.pairs("pairs", [(1u32, 2u64), (3, 4)]);
            line.words("words", [(1, "a"), (2, "b")]);
            line.images("images", [(1, 2, true), (3, 4, false)]);
            let text = String::from_utf8(line.end().to_vec()).expect("it is ASCII");
            let expected = "{\"kind\":{\"one\":-1,\"yes\":true,\"word\":\"a_b\",\"hex\":\"001f\",\"numbers\":[1,2],\
                            \"none\":[],\"pairs\":[[1,2],[3,4]],\"words\":[[1,\"a\"],[2,\"b\"]],\
                            \"images\":[[1,2,true],[3,4,false]]}}\n";
            assert_eq!(text, expected);
        }
    }
}
