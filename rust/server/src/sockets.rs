use lightllm_wire::RouterStart;

use crate::{Error, Result};

/// All sockets of the process. High-water marks are off: each direction is bounded by something of its own.
pub struct Sockets {
    /// HTTP processes.
    pub requests: zmq::Socket,
    /// Backend ranks.
    pub plans: zmq::Socket,
    /// The supervisor.
    pub control: zmq::Socket,
    pub health: zmq::Socket,
    pub metrics: zmq::Socket,
}

impl Sockets {
    pub fn open(context: &zmq::Context, start: &RouterStart) -> Result<Self> {
        let identity = format!("{}.{}", start.process, std::process::id());
        Ok(Self {
            control: connect(context, &start.control, &start.process)?,
            health: connect(context, &start.health, &identity)?,
            metrics: connect(context, &start.metrics, &identity)?,
            requests: bind(context, &start.requests)?,
            plans: bind(context, &start.plans)?,
        })
    }
}

/// A ROUTER that reports peers that are gone instead of dropping their frames.
fn bind(context: &zmq::Context, endpoint: &str) -> Result<zmq::Socket> {
    let open = || {
        let socket = context.socket(zmq::ROUTER)?;
        socket.set_router_mandatory(true)?;
        socket.set_router_handover(true)?;
        unbounded(&socket)?;
        socket.bind(endpoint)?;
        Ok(socket)
    };
    open().map_err(|source| Error::Socket { endpoint: endpoint.to_owned(), source })
}

fn connect(context: &zmq::Context, endpoint: &str, identity: &str) -> Result<zmq::Socket> {
    let open = || {
        let socket = context.socket(zmq::DEALER)?;
        socket.set_identity(identity.as_bytes())?;
        unbounded(&socket)?;
        socket.connect(endpoint)?;
        Ok(socket)
    };
    open().map_err(|source| Error::Socket { endpoint: endpoint.to_owned(), source })
}

fn unbounded(socket: &zmq::Socket) -> Result<(), zmq::Error> {
    socket.set_sndhwm(0)?;
    socket.set_rcvhwm(0)?;
    socket.set_linger(200) // last words are sent, but nobody waits for a peer that is gone
}

/// The next frame of a ROUTER: who sent it, and the frame.
pub fn receive_from(socket: &zmq::Socket) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    match socket.recv_multipart(zmq::DONTWAIT) {
        Ok(mut parts) => {
            let frame = parts.pop().unwrap_or_default();
            Ok(Some((parts.into_iter().next().unwrap_or_default(), frame)))
        }
        Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => Ok(None),
        Err(error) => Err(Error::Poll(error)),
    }
}

/// The next frame of a DEALER.
pub fn receive(socket: &zmq::Socket) -> Result<Option<Vec<u8>>> {
    match socket.recv_bytes(zmq::DONTWAIT) {
        Ok(frame) => Ok(Some(frame)),
        Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => Ok(None),
        Err(error) => Err(Error::Poll(error)),
    }
}

/// Queues a frame for a peer of a ROUTER; false if the peer is gone.
pub fn send_to(socket: &zmq::Socket, peer: &[u8], frame: &[u8]) -> Result<bool> {
    match socket.send_multipart([peer, frame], zmq::DONTWAIT) {
        Ok(()) => Ok(true),
        Err(zmq::Error::EHOSTUNREACH | zmq::Error::EAGAIN) => Ok(false),
        Err(error) => Err(Error::Poll(error)),
    }
}

/// Queues a frame of a DEALER. Reports to a server that is down may be dropped; it starts from the next one.
pub fn send(socket: &zmq::Socket, frame: &[u8]) -> Result<()> {
    match socket.send(frame, zmq::DONTWAIT) {
        Ok(()) | Err(zmq::Error::EAGAIN) => Ok(()),
        Err(error) => Err(Error::Poll(error)),
    }
}
