/// Why a call was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The cache manager has ended; its successor is another one, with another arena.
    #[error("the cache manager has ended: connect to its successor and acquire the items again")]
    Gone,
    /// Nothing came in the time that was given; the call was withdrawn.
    #[error("the cache manager did not answer in time; the call is withdrawn")]
    Timeout,
    /// A signal handler wants the thread back; the call was withdrawn.
    #[error("the call was interrupted")]
    Interrupted,
    /// Items that never fit together.
    #[error("{message}")]
    TooLarge {
        /// What to do.
        message: String,
        /// Bytes that they need.
        needed: u64,
        /// Bytes that there are.
        total: u64,
    },
    /// A call that breaks the contract; it changed nothing.
    #[error("{0}")]
    Refused(String),
    /// What is in the arena is not what the cache manager says.
    #[error("{0}")]
    Corrupt(String),
    /// The two are of different versions.
    #[error("this process speaks protocol {ours} and the cache manager {theirs}: install one version of lightllm-rs")]
    Protocol {
        /// This crate's version.
        ours: u32,
        /// The cache manager's version.
        theirs: u32,
    },
    /// The kernel or libzmq refused something.
    #[error("{0}")]
    System(String),
}

/// Result of the client library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<lightllm_process::Error> for Error {
    fn from(error: lightllm_process::Error) -> Self {
        Self::System(error.to_string())
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::System(error.to_string())
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(error: rustix::io::Errno) -> Self {
        Self::System(error.to_string())
    }
}

impl From<lightllm_cache::Error> for Error {
    fn from(error: lightllm_cache::Error) -> Self {
        match error {
            lightllm_cache::Error::Corrupt(_) => Self::Corrupt(error.to_string()),
            lightllm_cache::Error::Invalid(message) => Self::Refused(message),
            other => Self::System(other.to_string()),
        }
    }
}
