use std::collections::{BTreeMap, VecDeque};

use crate::item::{ClientId, RequestId};
use crate::slots::{Slot, Slots};

/// An encoder that asks for work.
#[derive(Debug)]
pub struct Take {
    pub client: ClientId,
    pub request: RequestId,
    pub max_items: u32,
    pub max_pixels: u64,
}

/// What an encoder is encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hands {
    Empty,
    Full,
    /// With an item at which another encoder died.
    Suspect,
}

/// Written items in order, and encoders that ask for some.
#[derive(Debug, Default)]
pub struct Work {
    /// Slots by ticket.
    queue: BTreeMap<u64, Slot>,
    takes: VecDeque<Take>,
    next_ticket: u64,
}

impl Work {
    pub fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    pub fn push(&mut self, ticket: u64, slot: Slot) {
        self.queue.insert(ticket, slot);
    }

    pub fn remove(&mut self, ticket: u64) {
        self.queue.remove(&ticket).expect("a written item is in the queue");
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
        let first = self.queue.values().next()?;
        let alone = slots[*first].deaths > 0;
        let index = self.takes.iter().position(|take| match hands(take.client) {
            Hands::Empty => true,
            Hands::Full => !alone,
            Hands::Suspect => false,
        })?;
        let take = self.takes.remove(index).expect("it was just found there");
        let (mut chosen, mut pixels) = (Vec::new(), 0_u64);
        for slot in self.queue.values().copied() {
            let item = &slots[slot];
            pixels = pixels.saturating_add(item.pixels);
            let room = chosen.len() < take.max_items as usize && (take.max_pixels == 0 || pixels <= take.max_pixels);
            if !chosen.is_empty() && (item.deaths > 0 || !room) {
                break;
            }
            chosen.push(slot);
            if item.deaths > 0 {
                break;
            }
        }
        for slot in &chosen {
            self.remove(slots[*slot].ticket);
        }
        Some((take, chosen))
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn slots(&self) -> impl Iterator<Item = (u64, Slot)> {
        self.queue.iter().map(|(ticket, slot)| (*ticket, *slot))
    }
}
