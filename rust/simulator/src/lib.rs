//! The scheduler under a virtual clock: traces in, latencies out.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
