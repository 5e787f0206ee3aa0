//! The cache manager and its clients: HTTP processes, visual servers, backend ranks.

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::Words;

/// [`Granted::state`]: the lease's holder writes the data.
pub const STATE_WRITE: u8 = 0;
/// [`Granted::state`]: somebody else writes or encodes it.
pub const STATE_PENDING: u8 = 1;
/// [`Granted::state`]: the features are there.
pub const STATE_READY: u8 = 2;
/// [`Granted::state`]: it could not be encoded.
pub const STATE_FAILED: u8 = 3;

/// Name of an item: a hash of its bytes and of all settings that its features depend on.
pub type Key = ByteArray<16>;

union! {
    /// What the cache manager hears. `request` is the client's own number of a call; the answer carries it.
    CacheRequest {
        /// First frame of a client.
        "hello" => CacheHello {
            #[allow(missing_docs)] protocol: u32,
            #[allow(missing_docs)] name: String,
            /// The client's process, as the cache manager sees it.
            pid: u32,
            /// Clock ticks between the start of the system and that of the process: with `pid` it names one process.
            started: u64,
        }
        /// Leases of all items, reserving those that are not there; answered by [`Leased`] when there is room for all.
        "acquire" => Acquire { #[allow(missing_docs)] request: u64, #[allow(missing_docs)] wants: Vec<Want> }
        /// The data is written.
        "publish" => Publish { #[allow(missing_docs)] request: u64, #[allow(missing_docs)] leases: Vec<u64> }
        /// Answered by [`Decided`] when nothing is pending any more, or something is to be written.
        "wait" => Wait { #[allow(missing_docs)] request: u64, #[allow(missing_docs)] leases: Vec<u64> }
        /// Written items to encode; answered by [`Leased`] when there is one.
        "take" => Take {
            #[allow(missing_docs)] request: u64,
            #[allow(missing_docs)] max_items: u32,
            /// Sum of their pixels, of which the first item's may be more; 0 for no bound.
            max_pixels: u64,
            /// The same of their original pixels.
            max_original_pixels: u64,
        }
        /// Which of these, which the client encodes, somebody waits for; its leases of the others end. Answered by
        /// [`Kept`].
        "keep" => Keep { #[allow(missing_docs)] request: u64, #[allow(missing_docs)] leases: Vec<u64> }
        /// The features are written; the encoder's leases end.
        "features" => PublishFeatures { #[allow(missing_docs)] request: u64, #[allow(missing_docs)] leases: Vec<u64> }
        /// An item can't be encoded; the encoder's lease ends.
        "fail" => Fail {
            #[allow(missing_docs)] request: u64,
            #[allow(missing_docs)] lease: u64,
            /// For the caller of the API.
            message: String,
        }
        /// Leases of items that are ready.
        "lease" => LeaseReady { #[allow(missing_docs)] request: u64, #[allow(missing_docs)] keys: Vec<Key> }
        /// Gives leases back; not answered.
        "release" => Release { #[allow(missing_docs)] leases: Vec<u64> }
        /// The client no longer wants the answers to these; not answered.
        "cancel" => Cancel { #[allow(missing_docs)] requests: Vec<u64> }
        /// Present figures.
        "stats?" => StatsQuery { #[allow(missing_docs)] request: u64 }
        /// The client leaves and gives all back.
        "bye" => Goodbye {}
    }
}

union! {
    /// What a client of the cache manager hears.
    CacheReply {
        /// Answer to a hello.
        "hello" => CacheWelcome {
            #[allow(missing_docs)] protocol: u32,
            /// The cache manager's process, as [`CacheHello::pid`] and [`CacheHello::started`].
            pid: u32,
            #[allow(missing_docs)] started: u64,
            /// Path of the arena.
            arena: String,
        }
        /// The call is done.
        "done" => Done { #[allow(missing_docs)] request: u64 }
        /// An entry for each item asked for, or those taken; None for a key that is not ready.
        "leased" => Leased { #[allow(missing_docs)] request: u64, #[allow(missing_docs)] items: Vec<Option<Granted>> }
        /// One `STATE_` value a lease; none of them is pending, unless one is to be written.
        "decided" => Decided {
            #[allow(missing_docs)] request: u64,
            #[allow(missing_docs)] states: ByteBuf,
            /// Why an item failed: the index of its lease, and the reason.
            failures: Vec<(u32, String)>,
        }
        /// One byte a lease: 1 if somebody waits for the item, 0 if the lease has ended.
        "kept" => Kept { #[allow(missing_docs)] request: u64, #[allow(missing_docs)] kept: ByteBuf }
        /// The call changed nothing.
        "refused" => Refused {
            #[allow(missing_docs)] request: u64,
            /// "invalid" or "`too_large`".
            kind: String,
            #[allow(missing_docs)] message: String,
            /// Bytes that the call needs, and bytes that there are, for "`too_large`"; otherwise 0.
            needed: u64,
            #[allow(missing_docs)] total: u64,
        }
        /// Figures by name.
        "stats" => StatsAnswer { #[allow(missing_docs)] request: u64, #[allow(missing_docs)] values: Vec<(String, u64)> }
    }
}

/// An item that somebody needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    #[allow(missing_docs)]
    pub key: Key,
    /// Bytes of the original.
    pub data_len: u64,
    /// Bytes of the features.
    pub feature_len: u64,
    /// What [`Take::max_pixels`] sums up.
    pub pixels: u64,
    /// What [`Take::max_original_pixels`] sums up; the smallest goes before larger ones every other time.
    pub original_pixels: u64,
    /// What the encoder has to know beside the bytes; the cache manager does not read it.
    pub recipe: ByteBuf,
}

/// A lease, and where the item is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    #[allow(missing_docs)]
    pub lease: u64,
    #[allow(missing_docs)]
    pub key: Key,
    /// One of the `STATE_` values.
    pub state: u8,
    /// Its record in the arena.
    pub slot: u32,
    /// Of the record.
    pub generation: u32,
    #[allow(missing_docs)]
    pub data_len: u64,
    #[allow(missing_docs)]
    pub feature_len: u64,
    #[allow(missing_docs)]
    pub pixels: u64,
    /// To encoders only.
    pub recipe: ByteBuf,
    /// First page and number of pages of each extent of the data, one after the other. None once the item is ready.
    pub data: Words,
    /// The same of the features.
    pub features: Words,
}

/// Settings of the cache manager, written by `lightllm_rs.messages.cache`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheStart {
    /// Must equal [`crate::PROTOCOL`].
    pub protocol: u32,
    /// Name of the process in heartbeats and reports.
    pub process: String,
    /// Endpoint to bind for clients.
    pub clients: String,
    /// The supervisor's endpoint.
    pub control: String,
    /// The health server's endpoint; empty for none.
    pub health: String,
    /// The metric server's endpoint; empty for none.
    pub metrics: String,
    /// File of the arena, which must not be there.
    pub arena: String,
    /// Bytes of it; 0: as many as is usual.
    pub bytes: u64,
    /// Check the cache's invariants after each frame.
    pub debug_checks: bool,
}
