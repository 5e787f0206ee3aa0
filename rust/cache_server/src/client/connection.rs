use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lightllm_cache::SharedArena;
use lightllm_process::{Inbox, Line};
use lightllm_wire::cache::{CacheHello, CacheReply, CacheRequest, CacheWelcome, Release};
use lightllm_wire::{PROTOCOL, decode, encode};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

use super::line::{Taker, Wire};
use super::{Error, Result};
use crate::peer::{Watched, started};

/// Asked when a signal came while a thread blocks: whether it is wanted back.
pub type Interrupt<'a> = &'a mut dyn FnMut() -> bool;

/// Longest sleep; nobody waits for longer.
const MOST_SECONDS: u64 = 1 << 31;

/// Clients that this process has made; part of their names.
static MADE: AtomicU64 = AtomicU64::new(0);

/// A connection to the cache manager with its arena mapped. Dropped, it gives all back.
pub struct Client(pub(super) Arc<Shared>);

/// What a client, its leases and its views have in common.
pub struct Shared {
    wire: Mutex<Wire>,
    /// An answer has come for a thread that does not sleep on the connection itself.
    came: Condvar,
    pub arena: SharedArena,
    server: Watched,
    server_pid: u32,
    /// Readable when an event loop should ask what is finished.
    readable: OwnedFd,
    changes: RawFd,
}

impl Client {
    /// Says hello and maps the arena. `name` tells clients of different processes apart for people.
    ///
    /// # Errors
    /// [`Error::Timeout`] if nobody answers in `patience`.
    pub fn connect(endpoint: &str, name: &str, patience: Duration) -> Result<Self> {
        let context = zmq::Context::new();
        let pid = std::process::id();
        let identity = format!("{name}.{pid}.{}", MADE.fetch_add(1, Ordering::Relaxed));
        let line = Line::connect(&context, endpoint, &identity)?;
        let hello = CacheHello { protocol: PROTOCOL, name: name.to_owned(), pid, started: started(pid)? };
        line.send(&encode(&CacheRequest::from(hello)))?;
        let welcome = hear_welcome(&line, patience)?;
        if welcome.protocol != PROTOCOL {
            return Err(Error::Protocol { ours: PROTOCOL, theirs: welcome.protocol });
        }
        let server = Watched::find(welcome.pid, welcome.started)?.ok_or(Error::Gone)?;
        let arena = SharedArena::open(Path::new(&welcome.arena))
            .map_err(|error| if server.has_ended() { Error::Gone } else { error.into() })?;
        let changes = line.inbox().changes();
        let wire = Wire::new(context, line)?;
        let readable = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // SAFETY: the descriptor is libzmq's, and open as long as the socket is, which is longer than this call.
        let socket = unsafe { BorrowedFd::borrow_raw(changes) };
        for source in [socket, server.as_fd(), wire.news.0.as_fd()] {
            epoll::add(&readable, source, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        }
        let (wire, came, server_pid) = (Mutex::new(wire), Condvar::new(), welcome.pid);
        let shared = Shared { wire, came, arena, server, server_pid, readable, changes };
        shared.lock().look()?; // what came before the descriptor was watched
        Ok(Self(Arc::new(shared)))
    }

    /// Readable when [`Client::finished`] should be called.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.readable.as_fd()
    }

    /// Process of the cache manager.
    pub fn server_pid(&self) -> u32 {
        self.0.server_pid
    }

    /// The arena's size, and that of a page.
    pub fn layout(&self) -> lightllm_cache::Layout {
        self.0.arena.layout()
    }

    /// Gives all back. Later calls find the cache manager gone.
    pub fn close(&self) {
        self.0.lock().say_goodbye();
        self.0.came.notify_all();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.lock().say_goodbye();
    }
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, Wire> {
        // Nothing that can panic leaves the wire half changed.
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a call and sleeps until its answer is there.
    pub fn call(
        &self,
        message: impl FnOnce(u64) -> CacheRequest,
        patience: Option<Duration>,
        interrupt: Interrupt,
    ) -> Result<CacheReply> {
        let deadline = patience.map(|patience| Instant::now() + patience);
        let mut wire = self.lock();
        let call = wire.send(Taker::Thread, message)?;
        loop {
            if let Some(reply) = wire.take_answer(call) {
                return Ok(reply);
            }
            if wire.gone {
                return Err(Error::Gone);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                wire.withdraw(call)?;
                return Err(Error::Timeout);
            }
            if wire.sleeping {
                // Another thread sleeps on the connection, and tells when something has come.
                wire = match left {
                    Some(left) => self.came.wait_timeout(wire, left).unwrap_or_else(PoisonError::into_inner).0,
                    None => self.came.wait(wire).unwrap_or_else(PoisonError::into_inner),
                };
                continue;
            }
            wire.sleeping = true;
            let wake = wire.wake.0.as_raw_fd();
            drop(wire);
            let slept = self.sleep(wake, left);
            wire = self.lock();
            wire.sleeping = false;
            self.came.notify_all(); // somebody else sleeps on it from now on, if this thread does not
            let ended = match slept {
                Ok(woken) => {
                    if woken.by_thread {
                        wire.wake.clear();
                    }
                    woken.by_end
                }
                Err(rustix::io::Errno::INTR) => {
                    drop(wire);
                    let wanted = interrupt();
                    wire = self.lock();
                    if wanted {
                        wire.withdraw(call)?;
                        return Err(Error::Interrupted);
                    }
                    false
                }
                Err(error) => {
                    wire.withdraw(call)?;
                    return Err(error.into());
                }
            };
            wire.look()?;
            if ended {
                self.end(&mut wire);
            }
        }
    }

    /// The cache manager has ended. Its end and its socket are watched no more: nobody looks at them again, and an event
    /// loop would find them readable for ever.
    fn end(&self, wire: &mut Wire) {
        wire.end();
        // SAFETY: the socket is open as long as the wire.
        let socket = unsafe { BorrowedFd::borrow_raw(self.changes) };
        for source in [socket, self.server.as_fd()] {
            // Another thread may have seen the end, too.
            let _ = epoll::delete(&self.readable, source);
        }
    }

    fn sleep(&self, wake: RawFd, left: Option<Duration>) -> rustix::io::Result<Woken> {
        // SAFETY: both are open as long as the wire, which is as long as this value.
        let (socket, wake) = unsafe { (BorrowedFd::borrow_raw(self.changes), BorrowedFd::borrow_raw(wake)) };
        let watch = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
        let mut watched = [watch(socket), watch(wake), watch(self.server.as_fd())];
        let left = left.map(|left| Timespec {
            tv_sec: left.as_secs().min(MOST_SECONDS).cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        });
        poll(&mut watched, left.as_ref())?;
        let [_, by_thread, by_end] = watched.map(|watched| !watched.revents().is_empty());
        Ok(Woken { by_thread, by_end })
    }

    /// Sends a call whose answer an event loop takes.
    pub fn begin(&self, message: impl FnOnce(u64) -> CacheRequest) -> Result<u64> {
        self.lock().send(Taker::Loop, message)
    }

    /// What is finished for an event loop.
    pub fn take_finished(&self) -> Result<Vec<(u64, Result<CacheReply>)>> {
        let mut wire = self.lock();
        if !wire.gone {
            wire.look()?;
            if self.server.has_ended() {
                self.end(&mut wire);
                self.came.notify_all();
            }
        }
        Ok(wire.take_finished())
    }

    /// Nobody waits for this call any more.
    pub fn withdraw(&self, call: u64) -> Result<()> {
        self.lock().withdraw(call)
    }

    /// Gives leases back.
    pub fn release(&self, leases: Vec<u64>) -> Result<()> {
        self.lock().post(&Release { leases }.into())
    }
}

/// Why a sleep is over, beside an answer.
struct Woken {
    /// Another thread took in an answer.
    by_thread: bool,
    /// The cache manager has ended.
    by_end: bool,
}

fn hear_welcome(line: &Line, patience: Duration) -> Result<CacheWelcome> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(frame) = line.receive()? {
            match decode(&frame).map_err(|error| Error::System(error.to_string()))? {
                CacheReply::CacheWelcome(welcome) => return Ok(welcome),
                other => return Err(Error::System(format!("it answered a hello with {other:?}"))),
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::Timeout);
        }
        Inbox::wait(&[line.inbox()], left.as_millis().clamp(1, 60_000) as i32)?;
    }
}
