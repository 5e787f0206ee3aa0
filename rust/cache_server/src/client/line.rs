use std::collections::HashMap;
use std::os::fd::OwnedFd;

use lightllm_process::Line;
use lightllm_wire::cache::{CacheReply, CacheRequest, Cancel, Goodbye, Leased, Release};
use lightllm_wire::{decode, encode};
use rustix::event::{EventfdFlags, eventfd};

use super::{Error, Result};

/// Who takes the answer of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taker {
    /// A thread that blocks.
    Thread,
    /// Whoever asks what is finished.
    Loop,
    /// Nobody any more; what it brings is given back.
    Nobody,
}

/// The connection, as one thread at a time has it.
pub struct Wire {
    line: Line,
    /// Calls without an answer.
    open: HashMap<u64, Taker>,
    /// Answers that threads wait for.
    answers: HashMap<u64, CacheReply>,
    /// Answers for an event loop, in order.
    finished: Vec<(u64, Result<CacheReply>)>,
    next: u64,
    /// The cache manager has ended.
    pub gone: bool,
    /// A thread sleeps on the connection, for all that block.
    pub sleeping: bool,
    /// Readable while something is finished.
    pub news: Signal,
    /// Wakes the thread that sleeps.
    pub wake: Signal,
    /// Closed after the line.
    _context: zmq::Context,
}

impl Wire {
    pub fn new(context: zmq::Context, line: Line) -> Result<Self> {
        Ok(Self {
            line,
            open: HashMap::new(),
            answers: HashMap::new(),
            finished: Vec::new(),
            next: 1,
            gone: false,
            sleeping: false,
            news: Signal::new()?,
            wake: Signal::new()?,
            _context: context,
        })
    }

    /// Sends a call; `message` is made with its number.
    pub fn send(&mut self, taker: Taker, message: impl FnOnce(u64) -> CacheRequest) -> Result<u64> {
        if self.gone {
            return Err(Error::Gone);
        }
        let call = self.next;
        self.next += 1;
        self.line.send(&encode(&message(call)))?;
        self.open.insert(call, taker);
        self.receive()?; // sending may have swallowed the change that tells of an answer
        Ok(call)
    }

    /// Sends what is not answered.
    pub fn post(&mut self, message: &CacheRequest) -> Result<()> {
        if !self.gone {
            self.line.send(&encode(message))?;
            self.receive()?;
        }
        Ok(())
    }

    /// The connection's descriptor was readable.
    pub fn look(&mut self) -> Result<()> {
        self.line.inbox().look();
        self.receive()
    }

    /// Takes in all answers that are there.
    fn receive(&mut self) -> Result<()> {
        let mut for_threads = false;
        while let Some(frame) = self.line.receive()? {
            // Both are of one version, or the hello would have told.
            let reply: CacheReply = decode(&frame).map_err(|error| Error::System(error.to_string()))?;
            let Some(call) = number(&reply) else { continue };
            match self.open.remove(&call) {
                Some(Taker::Thread) => {
                    self.answers.insert(call, reply);
                    for_threads = true;
                }
                Some(Taker::Loop) => {
                    self.finished.push((call, Ok(reply)));
                    self.news.set();
                }
                Some(Taker::Nobody) => self.give_back(reply)?,
                None => {}
            }
        }
        if for_threads && self.sleeping {
            self.wake.set();
        }
        Ok(())
    }

    /// An answer that nobody takes may have brought leases.
    fn give_back(&mut self, reply: CacheReply) -> Result<()> {
        if let CacheReply::Leased(Leased { items, .. }) = reply {
            let leases: Vec<u64> = items.into_iter().flatten().map(|item| item.lease).collect();
            if !leases.is_empty() {
                self.line.send(&encode(&CacheRequest::from(Release { leases })))?;
            }
        }
        Ok(())
    }

    pub fn take_answer(&mut self, call: u64) -> Option<CacheReply> {
        self.answers.remove(&call)
    }

    /// What is finished for an event loop since the last time.
    pub fn take_finished(&mut self) -> Vec<(u64, Result<CacheReply>)> {
        self.news.clear();
        std::mem::take(&mut self.finished)
    }

    /// Nobody waits for this call any more.
    pub fn withdraw(&mut self, call: u64) -> Result<()> {
        if let Some(taker) = self.open.get_mut(&call) {
            *taker = Taker::Nobody;
            return self.post(&Cancel { requests: vec![call] }.into());
        }
        if let Some(reply) = self.answers.remove(&call) {
            self.give_back(reply)?;
        }
        if let Some(index) = self.finished.iter().position(|(finished, _)| *finished == call)
            && let Ok(reply) = self.finished.remove(index).1
        {
            self.give_back(reply)?;
        }
        Ok(())
    }

    /// The cache manager has ended: all that is open ends with it.
    pub fn end(&mut self) {
        self.gone = true;
        if self.sleeping {
            self.wake.set();
        }
        for (call, taker) in self.open.drain() {
            if taker == Taker::Loop {
                self.finished.push((call, Err(Error::Gone)));
                self.news.set();
            }
        }
    }

    pub fn say_goodbye(&mut self) {
        if !self.gone {
            // If it can't be said, the end of this process says it.
            let _ = self.line.send(&encode(&CacheRequest::from(Goodbye {})));
            self.end();
        }
    }
}

/// Whose answer it is; None for an answer to a hello.
fn number(reply: &CacheReply) -> Option<u64> {
    match reply {
        CacheReply::CacheWelcome(_) => None,
        CacheReply::Done(reply) => Some(reply.request),
        CacheReply::Leased(reply) => Some(reply.request),
        CacheReply::Decided(reply) => Some(reply.request),
        CacheReply::Kept(reply) => Some(reply.request),
        CacheReply::Refused(reply) => Some(reply.request),
        CacheReply::StatsAnswer(reply) => Some(reply.request),
    }
}

/// A descriptor that is readable while it is set.
pub struct Signal(pub OwnedFd);

impl Signal {
    fn new() -> Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub fn set(&self) {
        rustix::io::write(&self.0, &1_u64.to_ne_bytes()).expect("a count of few does not overflow");
    }

    pub fn clear(&self) {
        // It may not be set.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}
