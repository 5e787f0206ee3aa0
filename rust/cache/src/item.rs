use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

use crate::Extent;
use crate::record::Phase;
use crate::waits::WaitId;

/// Name of an item: a hash of its bytes and of all settings that its features depend on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub [u8; 16]);

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// A process that uses the cache, for as long as it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// A client's own number of one of its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// The right to use an item; none is given out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseId(pub u64);

/// What the holder of a lease may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseState {
    /// Write the data, and publish it.
    Write,
    /// Wait.
    Pending,
    /// Read the features.
    Ready,
    /// Read why not.
    Failed(Rc<str>),
}

/// Encoders that may die at an item before it is given up. After the first it is encoded alone, so that the items that
/// were beside it do not share its end; and a second time alone, since an encoder may also die of something else.
pub const MAX_DEATHS: u32 = 3;

/// What an item is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Reserved { writer: LeaseId },
    Written,
    Encoding { encoder: LeaseId },
    Ready,
    Failed(Rc<str>),
}

impl State {
    pub fn phase(&self) -> Phase {
        match self {
            Self::Reserved { .. } => Phase::Reserved,
            Self::Written => Phase::Written,
            Self::Encoding { .. } => Phase::Encoding,
            Self::Ready => Phase::Ready,
            Self::Failed(_) => Phase::Failed,
        }
    }
}

/// One image: its original, its features, and who holds it.
#[derive(Debug)]
pub struct Item {
    pub key: Key,
    pub generation: u32,
    pub state: State,
    pub data_len: u64,
    pub feature_len: u64,
    pub pixels: u64,
    pub original_pixels: u64,
    pub recipe: Box<[u8]>,
    pub data: Vec<Extent>,
    pub features: Vec<Extent>,
    /// All leases of it, an encoder's too.
    pub holders: BTreeSet<LeaseId>,
    /// Calls that wait for it.
    pub waits: BTreeSet<WaitId>,
    /// Its place in the queue of work: in order of publishing, also when it comes back from an encoder.
    pub ticket: u64,
    /// Encoders that died at it.
    pub deaths: u32,
    /// When it was last held, while nobody holds it and it may be evicted.
    pub idle_since: Option<u64>,
}

impl Item {
    /// What `lease`, one of its holders, may do.
    pub fn lease_state(&self, lease: LeaseId) -> LeaseState {
        match &self.state {
            State::Reserved { writer } if *writer == lease => LeaseState::Write,
            State::Ready => LeaseState::Ready,
            State::Failed(reason) => LeaseState::Failed(Rc::clone(reason)),
            _ => LeaseState::Pending,
        }
    }
}
