//! What Rust processes share: sockets, and the clock.

mod clock;
mod error;
mod sockets;

pub use clock::{Clock, cpu_time};
pub use error::{Error, Result};
pub use sockets::{Inbox, Line, Peers};
