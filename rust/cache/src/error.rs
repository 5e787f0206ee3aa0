use rustix::io::Errno;

/// What can go wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A call that breaks the contract; it changed nothing.
    #[error("{0}")]
    Invalid(String),
    /// Items that never fit together.
    #[error(
        "the items need {needed} bytes of the cache's memory together and it has {total}: \
         send fewer or smaller ones, or make --mm-cache-size larger"
    )]
    TooLarge {
        /// Bytes of whole pages.
        needed: u64,
        /// Bytes of all pages.
        total: u64,
    },
    /// The size of an arena is of no use.
    #[error("an arena of {bytes} bytes is too small: it needs {least} at least, give a larger --mm-cache-size")]
    TooSmall {
        /// As asked for.
        bytes: u64,
        /// For one page.
        least: u64,
    },
    /// The file system of the arena has not enough room.
    #[error(
        "the image cache needs {needed} bytes in {directory}, where {free} of {size} are free: \
         give a smaller --mm-cache-size, or make it larger (docker run --shm-size, a memory-backed volume in Kubernetes)"
    )]
    NoRoom {
        /// Where the file would be.
        directory: String,
        /// Bytes of the file.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// Bytes of the file system.
        size: u64,
    },
    /// A control group of this process has not enough memory.
    #[error(
        "the image cache needs {needed} bytes of memory, and the control group of this process leaves {free} of {limit}: \
         give a smaller --mm-cache-size, or a larger limit (docker run --memory, resources.limits.memory in Kubernetes)"
    )]
    NoMemory {
        /// Bytes of the arena.
        needed: u64,
        /// Bytes that are used by nobody, or for files that are on a disk too.
        free: u64,
        /// Bytes of the control group.
        limit: u64,
    },
    /// The kernel refused something.
    #[error("{what}: {errno}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it did not work.
        errno: Errno,
    },
    /// What is in the arena is not what it should be.
    #[error("the arena is not as it should be: {0}")]
    Corrupt(&'static str),
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// For `map_err`: an error of the kernel, and what was tried.
pub fn system(what: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| Error::System { what, errno }
}
