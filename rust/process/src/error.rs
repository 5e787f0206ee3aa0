/// What can go wrong between processes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A socket could not be opened or broke.
    #[error("socket {endpoint}: {source}")]
    Socket {
        /// Which one.
        endpoint: String,
        /// What libzmq says.
        source: zmq::Error,
    },
    /// A socket that was open broke.
    #[error("a socket broke: {0}")]
    Broken(zmq::Error),
    /// Waiting for frames failed.
    #[error("waiting for frames failed: {0}")]
    Wait(std::io::Error),
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
