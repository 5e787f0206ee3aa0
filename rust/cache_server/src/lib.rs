//! The cache manager: the process around `lightllm-cache`, and the [`client`] library that others use it by.

pub mod client;
mod error;
mod peer;
mod server;

pub use error::{Error, Result};
pub use server::run;
