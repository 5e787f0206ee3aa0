use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::item::{ClientId, Item, RequestId};
use crate::slots::{Slot, Slots};

/// Of what an encoder takes at once. All but the number of items may be passed by the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most items, 1 at least.
    pub items: u32,
    /// Most pixels as the model sees them, in all; 0 for no bound.
    pub pixels: u64,
    /// Most pixels of the originals, in all; 0 for no bound.
    pub original_pixels: u64,
}

/// An encoder that asks for work.
#[derive(Debug)]
pub struct Take {
    pub client: ClientId,
    pub request: RequestId,
    pub bounds: Bounds,
}

/// What an encoder is encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hands {
    Empty,
    Full,
    /// With an item at which another encoder died.
    Suspect,
}

/// Written items, and encoders that ask for some.
///
/// Items are picked by age and by size in turn: first the oldest, then the one with the smallest original, and so on.
/// Of two picks in a row one is the oldest item that there is, so nobody waits for more than twice as many picks as were
/// written before theirs, whatever comes later. And of two picks in a row one is the smallest, so small items wait for
/// one large one each at most, however many of them somebody has sent before.
#[derive(Debug, Default)]
pub struct Work {
    /// Slots by ticket.
    queue: BTreeMap<u64, Slot>,
    /// Pixels of the original, and ticket, of each of them.
    sizes: BTreeSet<(u64, u64)>,
    /// The next pick is the smallest, not the oldest.
    by_size: bool,
    takes: VecDeque<Take>,
    next_ticket: u64,
}

impl Work {
    pub fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    pub fn push(&mut self, slot: Slot, item: &Item) {
        self.queue.insert(item.ticket, slot);
        self.sizes.insert((item.original_pixels, item.ticket));
    }

    pub fn remove(&mut self, item: &Item) {
        self.queue.remove(&item.ticket).expect("a written item is in the queue");
        let by_size = self.sizes.remove(&(item.original_pixels, item.ticket));
        assert!(by_size, "a written item is there by its size too");
    }

    pub fn ask(&mut self, take: Take) {
        self.takes.push_back(take);
    }

    /// Forgets what a client asked for, or one call of it.
    pub fn forget(&mut self, client: ClientId, request: Option<RequestId>) {
        self.takes.retain(|take| take.client != client || request.is_some_and(|request| take.request != request));
    }

    /// The next items for the encoder that has asked first; None if there are none, or nobody asks.
    ///
    /// An item at which an encoder died shares the next one with no other, or they would share its end: it goes to one
    /// whose hands are empty, and that one gets nothing else meanwhile.
    pub fn next(&mut self, slots: &Slots, hands: impl Fn(ClientId) -> Hands) -> Option<(Take, Vec<Slot>)> {
        let alone = slots[self.pick()?].deaths > 0;
        let index = self.takes.iter().position(|take| match hands(take.client) {
            Hands::Empty => true,
            Hands::Full => !alone,
            Hands::Suspect => false,
        })?;
        let take = self.takes.remove(index).expect("it was just found there");
        let (mut chosen, mut sum) = (Vec::new(), Sum::default());
        while let Some(slot) = self.pick() {
            let item = &slots[slot];
            sum.add(item);
            if !chosen.is_empty() && (item.deaths > 0 || !take.bounds.allow(&sum)) {
                break; // it stays the next pick
            }
            self.remove(item);
            self.by_size = !self.by_size;
            chosen.push(slot);
            if item.deaths > 0 {
                break;
            }
        }
        Some((take, chosen))
    }

    /// Whose turn it is.
    fn pick(&self) -> Option<Slot> {
        let (_, oldest) = self.queue.first_key_value()?;
        let (_, smallest) = self.sizes.first()?;
        Some(if self.by_size { self.queue[smallest] } else { *oldest })
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn slots(&self) -> impl Iterator<Item = (u64, Slot)> {
        self.queue.iter().map(|(ticket, slot)| (*ticket, *slot))
    }

    pub fn sizes(&self) -> &BTreeSet<(u64, u64)> {
        &self.sizes
    }
}

/// Of the items of one take.
#[derive(Debug, Default)]
struct Sum {
    items: u32,
    pixels: u64,
    original_pixels: u64,
}

impl Sum {
    fn add(&mut self, item: &Item) {
        self.items += 1;
        self.pixels = self.pixels.saturating_add(item.pixels);
        self.original_pixels = self.original_pixels.saturating_add(item.original_pixels);
    }
}

impl Bounds {
    fn allow(&self, sum: &Sum) -> bool {
        let within = |bound: u64, pixels: u64| bound == 0 || pixels <= bound;
        sum.items <= self.items && within(self.pixels, sum.pixels) && within(self.original_pixels, sum.original_pixels)
    }
}
