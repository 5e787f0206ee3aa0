use std::cell::Cell;
use std::os::fd::RawFd;

use lightllm_wire::RouterStart;

use crate::{Error, Result};

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

/// A socket, and whether it has to be looked at.
///
/// libzmq's descriptor tells of changes, not of frames, and any call on the socket may swallow the change. So a socket
/// is read until it is empty, and again after each send. In return a loop that sleeps on the descriptors needs half the
/// system calls of `zmq_poll`.
pub struct Inbox {
    socket: zmq::Socket,
    changes: RawFd,
    unread: Cell<bool>,
}

impl Inbox {
    fn open(
        context: &zmq::Context,
        kind: zmq::SocketType,
        endpoint: &str,
        attach: impl FnOnce(&zmq::Socket) -> Result<(), zmq::Error>,
    ) -> Result<Self> {
        let open = || {
            let socket = context.socket(kind)?;
            socket.set_sndhwm(0)?;
            socket.set_rcvhwm(0)?;
            socket.set_linger(200)?; // last words are sent, but nobody waits for a peer that is gone
            attach(&socket)?;
            let changes = socket.get_fd()?;
            Ok(Self { socket, changes, unread: Cell::new(true) })
        };
        open().map_err(|source| Error::Socket { endpoint: endpoint.to_owned(), source })
    }

    /// The next part of a message; None if nothing is there.
    fn receive(&self) -> Result<Option<zmq::Message>> {
        if !self.unread.get() {
            return Ok(None);
        }
        let mut part = zmq::Message::new();
        loop {
            match self.socket.recv(&mut part, zmq::DONTWAIT) {
                Ok(()) => return Ok(Some(part)),
                Err(zmq::Error::EAGAIN) => {
                    self.unread.set(false);
                    return Ok(None);
                }
                Err(zmq::Error::EINTR) => {}
                Err(error) => return Err(Error::Broken(error)),
            }
        }
    }

    /// Sleeps until something may have come to one of `inboxes`, or for `timeout_ms` (-1: for ever).
    pub fn wait(inboxes: &[&Self], timeout_ms: i32) -> Result<()> {
        if inboxes.iter().any(|inbox| inbox.unread.get()) {
            return Ok(());
        }
        let watched = |inbox: &&Self| libc::pollfd { fd: inbox.changes, events: libc::POLLIN, revents: 0 };
        let mut watched: Vec<libc::pollfd> = inboxes.iter().map(watched).collect();
        // SAFETY: the pointer and the length are those of a vector that lives through the call.
        let code = unsafe { libc::poll(watched.as_mut_ptr(), watched.len() as libc::nfds_t, timeout_ms) };
        if code < 0 {
            let error = std::io::Error::last_os_error();
            return if error.kind() == std::io::ErrorKind::Interrupted { Ok(()) } else { Err(Error::Wait(error)) };
        }
        for (inbox, watched) in inboxes.iter().zip(&watched) {
            inbox.unread.set(watched.revents != 0);
        }
        Ok(())
    }
}

/// A ROUTER: many peers, told apart by their identities.
pub struct Peers(Inbox);

impl Peers {
    /// Reports peers that are gone instead of dropping their frames.
    fn bind(context: &zmq::Context, endpoint: &str) -> Result<Self> {
        let attach = |socket: &zmq::Socket| {
            socket.set_router_mandatory(true)?;
            socket.set_router_handover(true)?;
            socket.bind(endpoint)
        };
        Ok(Self(Inbox::open(context, zmq::ROUTER, endpoint, attach)?))
    }

    pub fn inbox(&self) -> &Inbox {
        &self.0
    }

    /// The next frame: who sent it, and the frame.
    pub fn receive(&self) -> Result<Option<(zmq::Message, zmq::Message)>> {
        let Some(identity) = self.0.receive()? else { return Ok(None) };
        let mut frame = zmq::Message::new();
        let mut more = identity.get_more();
        while more {
            frame = self.0.receive()?.expect("the parts of a message come together");
            more = frame.get_more();
        }
        Ok(Some((identity, frame)))
    }

    /// Queues a frame for a peer; false if the peer is gone.
    pub fn send(&self, peer: &[u8], frame: &[u8]) -> Result<bool> {
        self.0.unread.set(true);
        match self.0.socket.send_multipart([peer, frame], zmq::DONTWAIT) {
            Ok(()) => Ok(true),
            Err(zmq::Error::EHOSTUNREACH | zmq::Error::EAGAIN) => Ok(false),
            Err(error) => Err(Error::Broken(error)),
        }
    }
}

/// A DEALER: one peer.
pub struct Line(Inbox);

impl Line {
    fn connect(context: &zmq::Context, endpoint: &str, identity: &str) -> Result<Self> {
        let attach = |socket: &zmq::Socket| {
            socket.set_identity(identity.as_bytes())?;
            socket.connect(endpoint)
        };
        Ok(Self(Inbox::open(context, zmq::DEALER, endpoint, attach)?))
    }

    pub fn inbox(&self) -> &Inbox {
        &self.0
    }

    /// The next frame.
    pub fn receive(&self) -> Result<Option<zmq::Message>> {
        self.0.receive()
    }

    /// Queues a frame. Reports to a server that is down may be dropped; it starts from the next one.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        self.0.unread.set(true);
        match self.0.socket.send(frame, zmq::DONTWAIT) {
            Ok(()) | Err(zmq::Error::EAGAIN) => Ok(()),
            Err(error) => Err(Error::Broken(error)),
        }
    }
}
