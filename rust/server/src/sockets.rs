pub use lightllm_process::Inbox;
use lightllm_process::{Line, Peers};
use lightllm_wire::RouterStart;

use crate::Result;

/// All sockets of the process. High-water marks are off: each direction is bounded by something of its own.
pub struct Sockets {
    /// HTTP processes.
    pub requests: Peers,
    /// Backend ranks.
    pub plans: Peers,
    /// The supervisor.
    pub control: Line,
    pub health: Line,
    pub metrics: Line,
}

impl Sockets {
    pub fn open(context: &zmq::Context, start: &RouterStart) -> Result<Self> {
        let identity = format!("{}.{}", start.process, std::process::id());
        Ok(Self {
            control: Line::connect(context, &start.control, &start.process)?,
            health: Line::connect(context, &start.health, &identity)?,
            metrics: Line::connect(context, &start.metrics, &identity)?,
            requests: Peers::bind(context, &start.requests)?,
            plans: Peers::bind(context, &start.plans)?,
        })
    }
}
