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
    pub fn next(&mut self, slots: &Slots) -> Option<(Take, Vec<Slot>)> {
        if self.queue.is_empty() {
            return None;
        }
        let take = self.takes.pop_front()?;
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
