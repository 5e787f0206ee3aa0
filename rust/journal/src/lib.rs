//! What went into a scheduler and came back from the backend, written line by line; and the replay of it.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
