/// Why the router process ends with an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Package and compiled module are of different versions.
    #[error("the router speaks protocol {ours} and {peer} speaks {theirs}: install one version of lightllm-rs")]
    Protocol {
        /// Who said it.
        peer: String,
        /// This crate's version.
        ours: u32,
        /// The peer's version.
        theirs: u32,
    },
    /// A socket broke.
    #[error(transparent)]
    Socket(#[from] lightllm_process::Error),
    /// The start frame does not decode.
    #[error(transparent)]
    Start(#[from] lightllm_wire::BadFrame),
    /// The settings make no scheduler.
    #[error(transparent)]
    Scheduler(#[from] lightllm_router::Error),
    /// The start frame asks for something that there is not.
    #[error("{setting}: {reason}")]
    Setting {
        /// Field of the start frame.
        setting: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A rank left the step contract; its state and the router's no longer agree.
    #[error("backend rank {rank}: {what}")]
    Rank {
        /// Which one.
        rank: u32,
        /// What it did.
        what: String,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
