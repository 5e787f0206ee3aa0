/// Why the cache manager ends with an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Package and compiled module are of different versions.
    #[error(
        "the cache manager speaks protocol {ours} and the supervisor speaks {theirs}: install one version of lightllm-rs"
    )]
    Protocol {
        /// This crate's version.
        ours: u32,
        /// The supervisor's version.
        theirs: u32,
    },
    /// A socket broke.
    #[error(transparent)]
    Socket(#[from] lightllm_process::Error),
    /// A frame of the supervisor does not decode.
    #[error(transparent)]
    Frame(#[from] lightllm_wire::BadFrame),
    /// The arena can't be made.
    #[error(transparent)]
    Arena(#[from] lightllm_cache::Error),
    /// The kernel does not tell of processes.
    #[error("the kernel does not tell of processes: {0}")]
    Kernel(#[from] std::io::Error),
}

/// Result of the server.
pub type Result<T, E = Error> = std::result::Result<T, E>;
