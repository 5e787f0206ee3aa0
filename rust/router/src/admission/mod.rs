//! Admission: whether requests that wait may run beside those that run.

mod aggressive;
mod config;
mod conservative;
mod draws;
mod ema;
mod forecast;
mod kinds;
mod oracle;
mod past_future;
mod peak;
mod window;

use std::fmt;

pub use aggressive::Aggressive;
pub use config::{ForecastConfig, PastFutureConfig, PolicyConfig};
pub use conservative::Conservative;
pub use ema::Ema;
pub use forecast::Forecast;
pub use oracle::Oracle;
pub use past_future::PastFuture;

/// What one sequence holds and may still want, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Which sequence this is: the same in all rounds, unlike any other's.
    pub id: u64,
    /// Room in the KV cache that this one alone keeps from being free, once the next step is done. For a candidate:
    /// what stops being free when it is admitted.
    pub held: u64,
    /// Length of the prompt.
    pub prompt: u32,
    /// Tokens generated so far.
    pub generated: u32,
    /// Tokens that it may generate in all.
    pub max_tokens: u32,
    /// Who asked.
    pub tenant: u64,
    /// Label of the kind of request, given by the client; 0 for none.
    pub class: u64,
    /// Tokens that it will generate in all, where that is known: in simulations only.
    pub expected: Option<u32>,
}

/// The KV cache as a round of admission finds it, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// All of it.
    pub capacity: u64,
    /// Held by several running requests at once. It is in no [`Demand::held`].
    pub shared: u64,
}

/// Decides who may run beside others. Slots, the step's budget and the pages of the prompt are the scheduler's
/// business; a policy says how much room running requests need for their output. It isn't asked while nothing runs:
/// then the first that waits is admitted.
///
/// A round is one `begin` and any number of `admits`; the candidates of an `admits` that said yes belong to those
/// that run for the rest of the round.
pub trait AdmissionPolicy: fmt::Debug + Send {
    /// A new round: these run, in order of admission.
    fn begin(&mut self, room: Room, running: &[Demand]);

    /// Whether all of these may run now, beside those of the round. All or none.
    fn admits(&mut self, candidates: &[Demand]) -> bool;

    /// A request ended by itself: `generated` is its length. Aborted and failed ones are not told.
    fn finished(&mut self, ended: &Demand);

    /// A running request had to give up its pages.
    fn evicted(&mut self, victim: &Demand);
}
