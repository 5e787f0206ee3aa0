use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lightllm_cache::{Extent, Key, View};
use lightllm_wire::cache::{Granted, STATE_FAILED, STATE_PENDING, STATE_READY, STATE_WRITE};

use super::connection::Shared;
use super::{Error, Result};

/// What the holder of a lease may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Write the data, and publish it.
    Write = STATE_WRITE,
    /// Wait; or encode it, if it was taken.
    Pending = STATE_PENDING,
    /// Read the features.
    Ready = STATE_READY,
    /// Read why not.
    Failed = STATE_FAILED,
}

impl State {
    fn from_wire(state: u8) -> Result<Self> {
        match state {
            STATE_WRITE => Ok(Self::Write),
            STATE_PENDING => Ok(Self::Pending),
            STATE_READY => Ok(Self::Ready),
            STATE_FAILED => Ok(Self::Failed),
            other => Err(Error::Corrupt(format!("the cache manager knows a state {other}, and this process does not"))),
        }
    }
}

/// The right to use an item, given back when it is dropped.
pub struct Lease {
    shared: Arc<Shared>,
    id: u64,
    key: Key,
    data_len: u64,
    feature_len: u64,
    pixels: u64,
    recipe: Vec<u8>,
    data: Vec<Extent>,
    features: Vec<Extent>,
    /// To encode it.
    taken: bool,
    state: AtomicU8,
    failure: Mutex<String>,
    ended: AtomicBool,
}

impl Lease {
    /// A lease that has just come. The record in the arena must say the same of the item.
    pub(super) fn new(shared: &Arc<Shared>, granted: Granted, taken: bool) -> Result<Self> {
        let key = Key(granted.key.into_array());
        let lease = Self {
            shared: Arc::clone(shared),
            id: granted.lease,
            key,
            data_len: granted.data_len,
            feature_len: granted.feature_len,
            pixels: granted.pixels,
            recipe: granted.recipe.into_vec(),
            data: extents(&granted.data.0)?,
            features: extents(&granted.features.0)?,
            taken,
            state: AtomicU8::new(State::from_wire(granted.state)? as u8),
            failure: Mutex::new(String::new()),
            ended: AtomicBool::new(false),
        };
        shared.arena.verify(granted.slot, granted.generation, key, granted.data_len, granted.feature_len)?;
        Ok(lease)
    }

    /// Name of the item.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Bytes of the original.
    pub fn data_len(&self) -> u64 {
        self.data_len
    }

    /// Bytes of the features.
    pub fn feature_len(&self) -> u64 {
        self.feature_len
    }

    /// As wanted.
    pub fn pixels(&self) -> u64 {
        self.pixels
    }

    /// What the encoder has to know, in a lease that it took.
    pub fn recipe(&self) -> &[u8] {
        &self.recipe
    }

    /// What its holder may do, as far as this process knows: waiting tells more.
    pub fn state(&self) -> State {
        State::from_wire(self.state.load(Ordering::Acquire)).expect("it was one of them when it was stored")
    }

    /// Why the item failed; empty if it did not.
    pub fn failure(&self) -> String {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it was given back, or ended with what it was for.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The original: to write it, or to encode it.
    pub fn data(&self) -> Result<View> {
        if self.taken || self.state() == State::Write {
            return self.view(&self.data, self.data_len);
        }
        Err(self.not_now("its original belongs to who writes or encodes it"))
    }

    /// The features: to read them, or for the encoder to write them.
    pub fn features(&self) -> Result<View> {
        if self.taken || self.state() == State::Ready {
            return self.view(&self.features, self.feature_len);
        }
        Err(self.not_now("its features are not there: wait for it"))
    }

    /// Whether this lease may write the original.
    pub fn writes_data(&self) -> bool {
        !self.taken && self.state() == State::Write
    }

    /// Whether this lease may write the features.
    pub fn writes_features(&self) -> bool {
        self.taken
    }

    fn view(&self, extents: &[Extent], len: u64) -> Result<View> {
        if self.has_ended() {
            return Err(self.not_now("its lease has ended"));
        }
        Ok(self.shared.arena.view(extents, len)?)
    }

    fn not_now(&self, why: &str) -> Error {
        Error::Refused(format!("the item {:?} can't be used so: {why}", self.key))
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn decide(&self, state: u8) -> Result<State> {
        let state = State::from_wire(state)?;
        self.state.store(state as u8, Ordering::Release);
        Ok(state)
    }

    pub(super) fn fail(&self, reason: String) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// It ends; whether it had not before.
    pub(super) fn end(&self) -> bool {
        !self.ended.swap(true, Ordering::AcqRel)
    }

    pub(super) fn is_of(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    /// Gives it back now. Its views must not be used any more.
    pub fn release(&self) -> Result<()> {
        if self.end() { self.shared.release(vec![self.id]) } else { Ok(()) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // If the cache manager can't be told, it has ended, or will see this process end.
        let _ = self.release();
    }
}

fn extents(words: &[u32]) -> Result<Vec<Extent>> {
    let (pairs, rest) = words.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Error::Corrupt("the cache manager names half an extent".to_owned()));
    }
    Ok(pairs.iter().map(|[first, pages]| Extent { first: *first, pages: *pages }).collect())
}
