//! What can be wrong with a journal.

use std::io;

/// The result of reading or writing a journal.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A journal that can't be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file can't be opened, read or written.
    #[error("{name}: {source}")]
    Io {
        /// Name of the journal.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// There is no header.
    #[error("{name}: {reason}: give a file that `serve --journal` wrote")]
    NoHeader {
        /// Name of the journal.
        name: String,
        /// What is there instead.
        reason: String,
    },
    /// A line that is not a record, or a field out of its range.
    #[error("{name}:{line}: {}{reason}", field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default())]
    BadLine {
        /// Name of the journal.
        name: String,
        /// Line in the file, from 1.
        line: u64,
        /// The field, as `record.field`, where one is to blame.
        field: Option<String>,
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// The recorder was told of an answer to anything but the oldest plan, or of an output of an unknown request.
    #[error("the journal was told of {0} that it does not expect: record every call of the scheduler, in order")]
    Unrecorded(String),
}
