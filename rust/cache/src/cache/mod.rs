//! The book of the cache. Calls are in `calls`, room is made in `room`, and `leases` is what happens when one ends.

mod calls;
mod check;
mod leases;
mod room;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::item::{ClientId, Key, LeaseId, LeaseState, RequestId};
use crate::pages::Pages;
use crate::record::Record;
use crate::slots::{Slot, Slots};
use crate::waits::Waits;
use crate::work::Work;
use crate::{Error, Extent};

/// Calls that need no room may overtake one that waits for it so many times. Without a bound they could hold what it
/// waits for among them for ever.
pub const BYPASS_LIMIT: u32 = 16;

/// Most items of one call.
pub const MAX_ITEMS: usize = 4096;

/// Most bytes of [`Want::recipe`].
pub const MAX_RECIPE_BYTES: usize = 4096;

/// An item that somebody needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Its name.
    pub key: Key,
    /// Bytes of the original, 1 at least.
    pub data_len: u64,
    /// Bytes of the features, 1 at least.
    pub feature_len: u64,
    /// As the model sees it; what an encoder's bound sums up.
    pub pixels: u64,
    /// Of the original: what decoding it costs, and what goes by it in the queue.
    pub original_pixels: u64,
    /// What the encoder has to know beside the bytes.
    pub recipe: Box<[u8]>,
}

/// A new lease, and where the item is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The lease.
    pub lease: LeaseId,
    /// The item's name.
    pub key: Key,
    /// What its holder may do now.
    pub state: LeaseState,
    /// The item's record.
    pub slot: u32,
    /// Of the record.
    pub generation: u32,
    /// Bytes of the original.
    pub data_len: u64,
    /// Bytes of the features.
    pub feature_len: u64,
    /// As wanted.
    pub pixels: u64,
    /// To encoders only.
    pub recipe: Box<[u8]>,
    /// Where the original is; nowhere once the item is ready.
    pub data: Vec<Extent>,
    /// Where the features are, or will be.
    pub features: Vec<Extent>,
}

/// What a call has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To acquire and take.
    Leased(Vec<Granted>),
    /// To wait: what each lease allows; none of them is pending, unless one is to be written.
    Decided(Vec<LeaseState>),
    /// To an acquire that waited for room, and can't be done any more.
    Refused(Error),
}

/// An answer, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Who called.
    pub client: ClientId,
    /// Which call.
    pub request: RequestId,
    /// The answer.
    pub answer: Answer,
}

/// Figures. The counts are since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Items that were asked for.
    pub queries: u64,
    /// Of these, ready when they were.
    pub hits: u64,
    /// Of these, being written or encoded for somebody else.
    pub joins: u64,
    /// Items that became ready.
    pub encoded: u64,
    /// Items that could not be encoded.
    pub failures: u64,
    /// Items given up before they were encoded, since nobody waited for them any more.
    pub abandoned: u64,
    /// Items that went to make room.
    pub evictions: u64,
    /// Calls that had to wait for room.
    pub waited: u64,
    /// Leases that somebody gave back without having them.
    pub bad_releases: u64,
    /// Items there are.
    pub items: u64,
    /// Items that are ready.
    pub ready: u64,
    /// Leases there are.
    pub leases: u64,
    /// Clients there are.
    pub clients: u64,
    /// Calls that wait for room.
    pub waiters: u64,
    /// Calls that wait for items.
    pub waits: u64,
    /// Written items that no encoder has taken.
    pub queued: u64,
    /// Bytes of all pages.
    pub total_bytes: u64,
    /// Bytes of pages that items have.
    pub used_bytes: u64,
    /// Of these, of items that may be evicted.
    pub idle_bytes: u64,
}

/// Who has a lease, and of what.
#[derive(Debug, Clone, Copy)]
struct Lease {
    client: ClientId,
    slot: Slot,
}

/// A call that waits for room. It holds nothing meanwhile.
#[derive(Debug)]
struct Waiter {
    client: ClientId,
    request: RequestId,
    wants: Vec<Want>,
}

/// Items, leases and those who wait.
///
/// Answers that may come later come as events, also if they come at once: [`Cache::take_events`].
pub struct Cache {
    page_bytes: u64,
    pages: Pages,
    slots: Slots,
    leases: BTreeMap<LeaseId, Lease>,
    clients: BTreeMap<ClientId, BTreeSet<LeaseId>>,
    next_lease: u64,
    /// Ready items that nobody holds, by when that began: the first is evicted first.
    idle: BTreeMap<u64, Slot>,
    idle_pages: u32,
    /// Counts ends of holding.
    moment: u64,
    waiters: VecDeque<Waiter>,
    /// Calls that have overtaken the first waiter.
    bypassed: u32,
    waits: Waits,
    work: Work,
    events: Vec<Event>,
    stats: Stats,
}

impl Cache {
    /// An empty cache of `pages` pages.
    ///
    /// `records`: in the arena, one for each page; or for tests, anywhere.
    pub fn new(pages: u32, page_bytes: u64, records: Box<dyn AsRef<[Record]>>) -> Self {
        assert_eq!((*records).as_ref().len(), pages as usize, "there is a record for each page");
        Self {
            page_bytes,
            pages: Pages::new(pages),
            slots: Slots::new(records),
            leases: BTreeMap::new(),
            clients: BTreeMap::new(),
            next_lease: 0,
            idle: BTreeMap::new(),
            idle_pages: 0,
            moment: 0,
            waiters: VecDeque::new(),
            bypassed: 0,
            waits: Waits::default(),
            work: Work::default(),
            events: Vec::new(),
            stats: Stats::default(),
        }
    }

    /// Answers since the last call, in order.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Present figures.
    pub fn stats(&self) -> Stats {
        let bytes = |pages: u32| u64::from(pages) * self.page_bytes;
        Stats {
            items: self.slots.iter().count() as u64,
            ready: self.slots.iter().filter(|(_, item)| item.state == crate::item::State::Ready).count() as u64,
            leases: self.leases.len() as u64,
            clients: self.clients.len() as u64,
            waiters: self.waiters.len() as u64,
            waits: self.waits.len() as u64,
            queued: self.work.len() as u64,
            total_bytes: bytes(self.pages.total()),
            used_bytes: bytes(self.pages.total() - self.pages.free()),
            idle_bytes: bytes(self.idle_pages),
            ..self.stats
        }
    }

    /// Pages of so many bytes.
    fn pages_of(&self, bytes: u64) -> u64 {
        bytes.div_ceil(self.page_bytes)
    }

    fn tell(&mut self, client: ClientId, request: RequestId, answer: Answer) {
        self.events.push(Event { client, request, answer });
    }
}
