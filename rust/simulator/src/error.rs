//! What can go wrong through no fault of the simulator.

/// The result of a call that the caller can get wrong.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A fault of the caller, or of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of its range, or two settings contradict each other.
    #[error("{setting}: {reason}")]
    Setting {
        /// Path of the field in the [`Setup`](crate::Setup), such as `workload.rate`.
        setting: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A line of a file is not what it must be.
    #[error("{path}:{line}: {reason}")]
    Line {
        /// The file.
        path: String,
        /// Counted from 1.
        line: u64,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A file can't be used as a whole.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The progress callback asked to stop.
    #[error("the simulation was stopped")]
    Stopped,
}

/// A number as it is written for people: without the hundreds of digits that one may have.
pub(crate) fn shown(number: f64) -> String {
    if number.abs() < 1e15 { number.to_string() } else { format!("{number:e}") }
}

impl Error {
    pub(crate) fn setting(setting: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Setting { setting: setting.into(), reason: reason.into() }
    }

    /// The same, where the setting is one of a part of the setup, such as `before[0]`.
    pub(crate) fn within(self, part: &str) -> Self {
        match self {
            Self::Setting { setting, reason } => Self::Setting { setting: format!("{part}.{setting}"), reason },
            other => other,
        }
    }

    pub(crate) fn file(path: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::File { path: path.into(), reason: reason.to_string() }
    }
}
