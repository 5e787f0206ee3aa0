use std::sync::Arc;
use std::time::Duration;

use lightllm_cache::{Bounds, Key};
use lightllm_wire::cache::{
    self as wire, Acquire, CacheReply, CacheRequest, Fail, Granted, Keep, LeaseReady, Publish, PublishFeatures,
    STATE_PENDING, StatsQuery, Take, Wait,
};
use serde_bytes::{ByteArray, ByteBuf};

use super::connection::Shared;
use super::{Client, Error, Interrupt, Lease, Result, State};

/// An item that somebody needs.
#[derive(Debug, Clone)]
pub struct Want {
    /// Its name.
    pub key: Key,
    /// Bytes of the original.
    pub data_len: u64,
    /// Bytes of the features.
    pub feature_len: u64,
    /// As the model sees it; what an encoder's bound sums up.
    pub pixels: u64,
    /// Of the original: what decoding it costs, and what goes by it in the queue.
    pub original_pixels: u64,
    /// What the encoder has to know beside the bytes.
    pub recipe: Vec<u8>,
}

/// A call that is answered.
pub enum Call {
    /// Leases of all items, reserving those that are not there: [`Outcome::Leased`] when there is room for all.
    Acquire(Vec<Want>),
    /// The data of these is written: [`Outcome::Done`].
    Publish(Vec<Arc<Lease>>),
    /// [`Outcome::Decided`] when none of these is pending, or one is to be written.
    Wait(Vec<Arc<Lease>>),
    /// [`Outcome::Leased`] with written items to encode, when there are some.
    Take(Bounds),
    /// [`Outcome::Kept`]: which of these, that were taken, somebody still waits for; the leases of the others end.
    Keep(Vec<Arc<Lease>>),
    /// The features of these are written, and their leases end: [`Outcome::Done`].
    PublishFeatures(Vec<Arc<Lease>>),
    /// This can't be encoded, and the lease ends: [`Outcome::Done`].
    Fail(Arc<Lease>, String),
    /// [`Outcome::Found`]: leases of those that are ready.
    LeaseReady(Vec<Key>),
    /// [`Outcome::Stats`].
    Stats,
}

/// What a call has come to.
pub enum Outcome {
    /// Nothing more to say.
    Done,
    /// All of these.
    Leased(Vec<Arc<Lease>>),
    /// An entry for each key.
    Found(Vec<Option<Arc<Lease>>>),
    /// A state of each lease; if one is to be written, others may be pending.
    Decided(Vec<State>),
    /// Whether somebody waits for each; if not, its lease has ended.
    Kept(Vec<bool>),
    /// Figures by name.
    Stats(Vec<(String, u64)>),
}

impl Client {
    /// Does a call and blocks until it is answered, for `patience` at most.
    ///
    /// # Errors
    /// Those of [`Error`]. After an error the call has changed nothing, and what it still brings is given back.
    pub fn call(&self, call: &Call, patience: Option<Duration>, interrupt: Interrupt) -> Result<Outcome> {
        call.check(&self.0)?;
        let reply = self.0.call(|number| call.message(number), patience, interrupt)?;
        call.outcome(&self.0, reply)
    }

    /// Begins a call; its number comes again in [`Client::finished`].
    ///
    /// # Errors
    /// As of [`Client::call`].
    pub fn begin(&self, call: &Call) -> Result<u64> {
        call.check(&self.0)?;
        self.0.begin(|number| call.message(number))
    }

    /// Answers to calls that were begun. `find` gives the call with a number, and None for one that was withdrawn.
    ///
    /// # Errors
    /// [`Error::System`] if the connection broke.
    pub fn finished(&self, mut find: impl FnMut(u64) -> Option<Call>) -> Result<Vec<(u64, Result<Outcome>)>> {
        let mut finished = Vec::new();
        for (number, reply) in self.0.take_finished()? {
            if let Some(call) = find(number) {
                finished.push((number, reply.and_then(|reply| call.outcome(&self.0, reply))));
            }
        }
        Ok(finished)
    }

    /// Nobody waits for this call any more; what it still brings is given back.
    ///
    /// # Errors
    /// [`Error::System`] if the connection broke.
    pub fn withdraw(&self, number: u64) -> Result<()> {
        self.0.withdraw(number)
    }

    /// Gives leases back, with one frame.
    ///
    /// # Errors
    /// [`Error::System`] if the connection broke.
    pub fn release(&self, leases: &[Arc<Lease>]) -> Result<()> {
        if leases.iter().any(|lease| !lease.is_of(&self.0)) {
            return Err(of_another());
        }
        let ended: Vec<u64> = leases.iter().filter(|lease| lease.end()).map(|lease| lease.id()).collect();
        if ended.is_empty() { Ok(()) } else { self.0.release(ended) }
    }
}

impl Call {
    /// What can be seen to be wrong on this side.
    fn check(&self, shared: &Arc<Shared>) -> Result<()> {
        let leases = match self {
            Self::Publish(leases) | Self::Wait(leases) | Self::Keep(leases) | Self::PublishFeatures(leases) => {
                leases.as_slice()
            }
            Self::Fail(lease, _) => std::slice::from_ref(lease),
            _ => &[],
        };
        match leases.iter().find(|lease| !lease.is_of(shared) || lease.has_ended()) {
            Some(lease) if lease.is_of(shared) => {
                Err(Error::Refused(format!("the lease of the item {:?} has ended", lease.key())))
            }
            Some(_) => Err(of_another()),
            None => Ok(()),
        }
    }

    fn message(&self, request: u64) -> CacheRequest {
        let ids = |leases: &[Arc<Lease>]| leases.iter().map(|lease| lease.id()).collect();
        match self {
            Self::Acquire(wants) => Acquire { request, wants: wants.iter().map(want).collect() }.into(),
            Self::Publish(leases) => Publish { request, leases: ids(leases) }.into(),
            Self::Wait(leases) => Wait { request, leases: ids(leases) }.into(),
            Self::Take(bounds) => Take {
                request,
                max_items: bounds.items,
                max_pixels: bounds.pixels,
                max_original_pixels: bounds.original_pixels,
            }
            .into(),
            Self::Keep(leases) => Keep { request, leases: ids(leases) }.into(),
            Self::PublishFeatures(leases) => PublishFeatures { request, leases: ids(leases) }.into(),
            Self::Fail(lease, message) => Fail { request, lease: lease.id(), message: message.clone() }.into(),
            Self::LeaseReady(keys) => {
                LeaseReady { request, keys: keys.iter().map(|key| ByteArray::new(key.0)).collect() }.into()
            }
            Self::Stats => StatsQuery { request }.into(),
        }
    }

    fn outcome(&self, shared: &Arc<Shared>, reply: CacheReply) -> Result<Outcome> {
        match (self, reply) {
            (_, CacheReply::Refused(refused)) => Err(match refused.kind.as_str() {
                "too_large" => {
                    Error::TooLarge { message: refused.message, needed: refused.needed, total: refused.total }
                }
                _ => Error::Refused(refused.message),
            }),
            (Self::Acquire(_) | Self::Take(_), CacheReply::Leased(leased)) => {
                let items = leases(shared, leased.items, matches!(self, Self::Take(_)))?;
                let missing = || Error::Corrupt("the cache manager left an item out".to_owned());
                Ok(Outcome::Leased(items.into_iter().collect::<Option<_>>().ok_or_else(missing)?))
            }
            (Self::LeaseReady(_), CacheReply::Leased(leased)) => {
                Ok(Outcome::Found(leases(shared, leased.items, false)?))
            }
            (Self::Publish(leases), CacheReply::Done(_)) => {
                for lease in leases {
                    lease.decide(STATE_PENDING)?;
                }
                Ok(Outcome::Done)
            }
            (Self::PublishFeatures(leases), CacheReply::Done(_)) => {
                for lease in leases {
                    lease.end();
                }
                Ok(Outcome::Done)
            }
            (Self::Fail(lease, _), CacheReply::Done(_)) => {
                lease.end();
                Ok(Outcome::Done)
            }
            (Self::Wait(leases), CacheReply::Decided(decided)) if decided.states.len() == leases.len() => {
                for (index, reason) in decided.failures {
                    if let Some(lease) = leases.get(index as usize) {
                        lease.fail(reason);
                    }
                }
                let states = leases.iter().zip(decided.states.iter()).map(|(lease, state)| lease.decide(*state));
                Ok(Outcome::Decided(states.collect::<Result<_>>()?))
            }
            (Self::Keep(leases), CacheReply::Kept(answer)) if answer.kept.len() == leases.len() => {
                let kept: Vec<bool> = answer.kept.iter().map(|kept| *kept != 0).collect();
                for (lease, _) in leases.iter().zip(&kept).filter(|(_, kept)| !**kept) {
                    lease.end();
                }
                Ok(Outcome::Kept(kept))
            }
            (Self::Stats, CacheReply::StatsAnswer(answer)) => Ok(Outcome::Stats(answer.values)),
            (_, other) => Err(Error::System(format!("the cache manager answered another call: {other:?}"))),
        }
    }
}

/// Leases that have come. If one can't be used, all are given back.
fn leases(shared: &Arc<Shared>, items: Vec<Option<Granted>>, taken: bool) -> Result<Vec<Option<Arc<Lease>>>> {
    let mut leases = Vec::with_capacity(items.len());
    let mut failure = None;
    for item in items {
        // All become leases, also behind one that can't be used, so that all are given back.
        match item.map(|item| Lease::new(shared, item, taken)).transpose() {
            Ok(lease) => leases.push(lease.map(Arc::new)),
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(leases), Err)
}

fn want(want: &Want) -> wire::Want {
    wire::Want {
        key: ByteArray::new(want.key.0),
        data_len: want.data_len,
        feature_len: want.feature_len,
        pixels: want.pixels,
        original_pixels: want.original_pixels,
        recipe: ByteBuf::from(want.recipe.clone()),
    }
}

fn of_another() -> Error {
    Error::Refused("the lease is another client's".to_owned())
}
