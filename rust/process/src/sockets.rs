use std::cell::Cell;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use crate::{Error, Result};

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
        Self::wait_or(inboxes, &[], timeout_ms).map(drop)
    }

    /// The same, and until one of `others` can be read; returns which of them can.
    pub fn wait_or(inboxes: &[&Self], others: &[BorrowedFd], timeout_ms: i32) -> Result<Vec<usize>> {
        if inboxes.iter().any(|inbox| inbox.unread.get()) {
            return Ok(Vec::new()); // the others have their turn when the inboxes are empty
        }
        let watch = |fd: RawFd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let own = inboxes.iter().map(|inbox| inbox.changes);
        let mut watched: Vec<_> = own.chain(others.iter().map(AsRawFd::as_raw_fd)).map(watch).collect();
        // SAFETY: the pointer and the length are those of a vector that lives through the call.
        let code = unsafe { libc::poll(watched.as_mut_ptr(), watched.len() as libc::nfds_t, timeout_ms) };
        if code < 0 {
            let error = std::io::Error::last_os_error();
            let interrupted = error.kind() == std::io::ErrorKind::Interrupted;
            return if interrupted { Ok(Vec::new()) } else { Err(Error::Wait(error)) };
        }
        let (changed, readable) = watched.split_at(inboxes.len());
        for (inbox, changed) in inboxes.iter().zip(changed) {
            inbox.unread.set(changed.revents != 0);
        }
        Ok((0..others.len()).filter(|index| readable[*index].revents != 0).collect())
    }

    /// The descriptor to sleep on beside others, for who does not use [`Inbox::wait`]; readable when frames may have come.
    pub fn changes(&self) -> RawFd {
        self.changes
    }

    /// Frames may have come: it was slept on [`Inbox::changes`].
    pub fn look(&self) {
        self.unread.set(true);
    }
}

/// A ROUTER: many peers, told apart by their identities.
pub struct Peers(Inbox);

impl Peers {
    /// Binds. Reports peers that are gone instead of dropping their frames.
    pub fn bind(context: &zmq::Context, endpoint: &str) -> Result<Self> {
        let attach = |socket: &zmq::Socket| {
            socket.set_router_mandatory(true)?;
            socket.set_router_handover(true)?;
            socket.bind(endpoint)
        };
        Ok(Self(Inbox::open(context, zmq::ROUTER, endpoint, attach)?))
    }

    /// What to sleep on.
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
    /// Connects, also to where nobody has bound yet.
    pub fn connect(context: &zmq::Context, endpoint: &str, identity: &str) -> Result<Self> {
        let attach = |socket: &zmq::Socket| {
            socket.set_identity(identity.as_bytes())?;
            socket.connect(endpoint)
        };
        Ok(Self(Inbox::open(context, zmq::DEALER, endpoint, attach)?))
    }

    /// What to sleep on.
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
