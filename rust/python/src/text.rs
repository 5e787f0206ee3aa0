//! `repr` of the records: what one would type to make them, long lists cut.

use std::fmt::{Debug, Write};

/// Items shown of a list.
const SHOWN: usize = 16;

/// Writes `Name(field=value, ...)`.
pub struct Repr {
    text: String,
    first: bool,
}

impl Repr {
    /// Starts with the name of the class.
    pub fn new(class: &str) -> Self {
        Self { text: format!("{class}("), first: true }
    }

    /// A field whose value is the same text in Python.
    pub fn field(mut self, name: &str, value: impl Debug) -> Self {
        if !std::mem::take(&mut self.first) {
            self.text.push_str(", ");
        }
        write!(self.text, "{name}={value:?}").expect("strings take all");
        self
    }

    /// A value without the name of its field.
    pub fn positional(mut self, value: impl Debug) -> Self {
        self.first = false;
        write!(self.text, "{value:?}").expect("strings take all");
        self
    }

    /// A truth value.
    pub fn boolean(self, name: &str, value: bool) -> Self {
        self.verbatim(name, if value { "True" } else { "False" })
    }

    /// A value or None.
    pub fn optional(self, name: &str, value: Option<impl Debug>) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self.verbatim(name, "None"),
        }
    }

    /// A field as it is written in Python.
    pub fn verbatim(self, name: &str, text: &str) -> Self {
        self.field(name, format_args!("{text}"))
    }

    /// A tuple; of a long one the beginning and the length.
    pub fn tuple(self, name: &str, values: impl ExactSizeIterator<Item = String>) -> Self {
        let all = values.len();
        let shown: Vec<String> = values.take(SHOWN).collect();
        let text = match (all, shown.as_slice()) {
            (1, [only]) => format!("({only},)"),
            _ if all > SHOWN => format!("({}, ...: {all} in all)", shown.join(", ")),
            _ => format!("({})", shown.join(", ")),
        };
        self.verbatim(name, &text)
    }

    /// The closing bracket.
    pub fn end(mut self) -> String {
        self.text.push(')');
        self.text
    }
}
