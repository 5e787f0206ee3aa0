//! The process: one thread, one poll over sockets and clients' ends.

mod answers;
mod arena;
mod calls;
mod clients;
mod manager;
mod telemetry;

use lightllm_process::{Inbox, Line, Peers};
use lightllm_wire::cache::CacheStart;
use lightllm_wire::{ChildHello, Fatal, PROTOCOL, Ready, SupervisorMessage, decode, encode};

use crate::{Error, Result};
use manager::Manager;

/// All sockets of the process.
struct Sockets {
    clients: Peers,
    control: Line,
    /// None where nobody collects.
    health: Option<Line>,
    metrics: Option<Line>,
}

/// Runs the cache manager until the supervisor says stop. `start`: a [`CacheStart`] frame.
///
/// An error is also told to the supervisor, as the last words of the process.
pub fn run(start: &[u8]) -> Result<()> {
    let start: CacheStart = decode(start)?;
    if start.protocol != PROTOCOL {
        return Err(Error::Protocol { ours: PROTOCOL, theirs: start.protocol });
    }
    let context = zmq::Context::new();
    let pid = std::process::id();
    let control = Line::connect(&context, &start.control, &start.process)?;
    control.send(&encode(&ChildHello { protocol: PROTOCOL, process: start.process.clone(), pid }))?;
    let outcome = serve(&context, &start, control);
    if let (Err(error), control) = &outcome {
        control.send(&encode(&Fatal { message: error.to_string() }))?;
    }
    outcome.0
}

/// Gives the control socket back, for the last words.
fn serve(context: &zmq::Context, start: &CacheStart, control: Line) -> (Result<()>, Line) {
    let arena = match arena::make(start) {
        Ok(arena) => arena,
        Err(error) => return (Err(error), control),
    };
    let identity = format!("{}.{}", start.process, std::process::id());
    let server = |endpoint: &str| -> Result<Option<Line>> {
        let named = (!endpoint.is_empty()).then(|| Line::connect(context, endpoint, &identity));
        Ok(named.transpose()?)
    };
    let open = || -> Result<(Option<Line>, Option<Line>, Peers)> {
        Ok((server(&start.health)?, server(&start.metrics)?, Peers::bind(context, &start.clients)?))
    };
    let (health, metrics, clients) = match open() {
        Ok(sockets) => sockets,
        Err(error) => return (Err(error), control),
    };
    let sockets = Sockets { clients, control, health, metrics };
    let outcome = Manager::new(&sockets, start, arena).and_then(|mut manager| {
        sockets.control.send(&encode(&Ready {}))?;
        manager.run()
    });
    (outcome, sockets.control)
}

/// Whether the supervisor has said stop.
fn stopped(control: &Line) -> Result<bool> {
    while let Some(frame) = control.receive()? {
        if matches!(decode(&frame)?, SupervisorMessage::Stop(_)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What the loop sleeps on, beside clients' ends.
fn inboxes(sockets: &Sockets) -> [&Inbox; 2] {
    [sockets.clients.inbox(), sockets.control.inbox()]
}
