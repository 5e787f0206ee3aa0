//! CSV: a header, and fields by column.

use std::ops::RangeInclusive;

use super::lines::Lines;
use super::request::{DEADLINES_MS, MAX_TOKENS, MOST_TOKENS, PRIORITIES, TraceRequest};
use crate::error::{Error, Result};

/// Columns that any CSV trace may have beside its own.
pub(crate) const OPTIONAL: [&str; 5] = ["priority", "tenant", "class", "deadline_ms", "max_tokens"];

/// A CSV file whose columns are found by the names of its header.
#[derive(Debug)]
pub(crate) struct Columns {
    pub lines: Lines,
    names: &'static [&'static str],
    /// Index in the line of each of `names`, then of [`OPTIONAL`].
    places: Vec<Option<usize>>,
    /// Ends of the fields of the current line, in its bytes.
    line: Vec<u8>,
    fields: Vec<(usize, usize)>,
}

impl Columns {
    /// Reads the header, which must have all `names`, in any order.
    pub fn open(mut lines: Lines, names: &'static [&'static str]) -> Result<Self> {
        let Some(header) = lines.next_line()? else {
            let reason = format!("the file is empty: its first line must be {}", names.join(","));
            return Err(lines.wrong_file(&reason));
        };
        let header = header.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(header).to_vec();
        let mut fields = Vec::new();
        split(&header, &mut fields);
        let place = |name: &str| {
            let is_it = |(begin, end): &(usize, usize)| header[*begin..*end].eq_ignore_ascii_case(name.as_bytes());
            fields.iter().position(is_it)
        };
        let places: Vec<Option<usize>> = names.iter().chain(&OPTIONAL).map(|name| place(name)).collect();
        if let Some(missing) = places[..names.len()].iter().position(Option::is_none) {
            let reason = format!("there is no column {:?}: the columns must be {}", names[missing], names.join(","));
            return Err(lines.wrong(reason));
        }
        Ok(Self { lines, names, places, line: Vec::new(), fields })
    }

    /// Goes to the next line. False at the end of the file.
    pub fn advance(&mut self) -> Result<bool> {
        let Some(line) = self.lines.next_line()? else { return Ok(false) };
        self.line.clear();
        self.line.extend_from_slice(line);
        split(&self.line, &mut self.fields);
        Ok(true)
    }

    /// The field of a column: by index into the names, then into [`OPTIONAL`]. None if there is no such column.
    fn optional(&self, column: usize) -> Option<&[u8]> {
        let (begin, end) = *self.fields.get(self.places[column]?)?;
        Some(&self.line[begin..end])
    }

    /// The field of a column that must be there.
    pub fn text(&self, column: usize) -> Result<&str> {
        let Some(field) = self.optional(column) else {
            let reason = format!("there is no {}: the line has {} fields only", self.names[column], self.fields.len());
            return Err(self.lines.wrong(reason));
        };
        std::str::from_utf8(field).map_err(|_| self.wrong(column, "it is not UTF-8"))
    }

    /// A number of tokens, at least `least`.
    pub fn tokens(&self, column: usize, least: u64) -> Result<u32> {
        let text = self.text(column)?;
        match text.parse::<u64>() {
            Ok(tokens) if (least..=MOST_TOKENS).contains(&tokens) => Ok(tokens as u32),
            _ => Err(self.wrong(column, &format!("{text:?} must be a whole number from {least} to {MOST_TOKENS}"))),
        }
    }

    /// Fills in what the optional columns say.
    pub fn decorate(&self, request: &mut TraceRequest) -> Result<()> {
        let own = self.names.len();
        let number = |index: usize, range: RangeInclusive<i64>| -> Result<Option<i64>> {
            let Some(field) = self.optional(own + index).filter(|field| !field.is_empty()) else { return Ok(None) };
            let value = std::str::from_utf8(field).ok().and_then(|text| text.parse::<i64>().ok());
            match value {
                Some(value) if range.contains(&value) => Ok(Some(value)),
                _ => {
                    let got = String::from_utf8_lossy(field);
                    let (low, high) = range.into_inner();
                    let reason = format!("{}: {got:?} must be a whole number from {low} to {high}", OPTIONAL[index]);
                    Err(self.lines.wrong(reason))
                }
            }
        };
        request.priority = number(0, PRIORITIES)?.unwrap_or(0) as i32;
        request.tenant = self.optional(own + 1).map_or(0, label);
        if let Some(class) = self.optional(own + 2) {
            request.class = label(class);
        }
        request.deadline_ns = number(3, DEADLINES_MS)?.map(|ms| ms as u64 * 1_000_000);
        request.max_tokens = number(4, MAX_TOKENS)?.map(|tokens| tokens as u32);
        Ok(())
    }

    pub fn wrong(&self, column: usize, reason: &str) -> Error {
        self.lines.wrong(format!("{}: {reason}", self.names[column]))
    }
}

/// A number for a name: itself where it is a number, otherwise its hash (FNV-1a). 0 for no name.
pub(crate) fn label(name: &[u8]) -> u64 {
    if name.is_empty() {
        return 0;
    }
    if let Some(number) = std::str::from_utf8(name).ok().and_then(|text| text.parse().ok()) {
        return number;
    }
    name.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}

/// Ends of the fields between commas. A field in double quotes may have commas; the quotes are left out.
fn split(line: &[u8], fields: &mut Vec<(usize, usize)>) {
    fields.clear();
    let mut begin = 0;
    loop {
        let quoted = line.get(begin) == Some(&b'"');
        let closing = || line[begin + 1..].iter().position(|byte| *byte == b'"').map(|at| begin + 1 + at);
        if let Some(close) = quoted.then(closing).flatten() {
            fields.push((begin + 1, close));
            begin = close + 1;
        } else {
            let end = line[begin..].iter().position(|byte| *byte == b',').map_or(line.len(), |at| begin + at);
            let spaces = |byte: &&u8| byte.is_ascii_whitespace();
            let before = line[begin..end].iter().take_while(spaces).count();
            let after = line[begin + before..end].iter().rev().take_while(spaces).count();
            fields.push((begin + before, end - after));
            begin = end;
        }
        match line[begin..].iter().position(|byte| *byte == b',') {
            Some(comma) => begin += comma + 1,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_between_commas_or_quotes() {
        let cases: [(&str, &[&str]); 6] = [
            ("a,b", &["a", "b"]),
            (" a , b ", &["a", "b"]),
            ("\"a,1\",b", &["a,1", "b"]),
            ("a,,", &["a", "", ""]),
            ("", &[""]),
            ("\"a", &["\"a"]),
        ];
        for (line, expected) in cases {
            let mut fields = Vec::new();
            split(line.as_bytes(), &mut fields);
            let got: Vec<&str> = fields.iter().map(|(begin, end)| &line[*begin..*end]).collect();
            assert_eq!(got, expected, "{line}");
        }
    }

    #[test]
    fn labels_are_numbers_or_hashes() {
        assert_eq!(label(b""), 0);
        assert_eq!(label(b"17"), 17);
        assert_ne!(label(b"chat"), label(b"api"));
    }
}
