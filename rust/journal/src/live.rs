//! What the recorder keeps of the requests that have not ended: a rolling hash of each.

use std::collections::BTreeMap;

use lightllm_router::{RequestId, SlotId};

use crate::hash::PrefixHash;

/// A request that has not ended.
pub(crate) struct Live {
    pub request: RequestId,
    /// None where token ids are written.
    pub hash: Option<PrefixHash>,
}

/// Place of a request in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u32);

/// All of them. Rows of plans name slots, so that a step looks nobody up by id.
#[derive(Default)]
pub(crate) struct LiveTable {
    entries: Vec<Option<Live>>,
    free: Vec<Place>,
    by_request: BTreeMap<RequestId, Place>,
    /// By slot: who got it last.
    by_slot: Vec<Option<Place>>,
}

impl LiveTable {
    /// A request was queued. One of the same id is over.
    pub fn insert(&mut self, live: Live) {
        let request = live.request;
        self.remove(request);
        let place = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            Place(self.entries.len() as u32 - 1)
        });
        self.entries[place.0 as usize] = Some(live);
        self.by_request.insert(request, place);
    }

    pub fn remove(&mut self, request: RequestId) {
        if let Some(place) = self.by_request.remove(&request) {
            self.entries[place.0 as usize] = None;
            self.free.push(place);
        }
    }

    /// A request got a slot. False if there is no such request.
    pub fn attach(&mut self, slot: SlotId, request: RequestId) -> bool {
        let place = self.by_request.get(&request).copied();
        let index = slot.0 as usize;
        if index >= self.by_slot.len() {
            self.by_slot.resize(index + 1, None);
        }
        self.by_slot[index] = place;
        place.is_some()
    }

    /// Who has a slot.
    pub fn in_slot(&self, slot: SlotId) -> Option<Place> {
        *self.by_slot.get(slot.0 as usize)?
    }

    /// The request at a place, if it is this one.
    pub fn get_mut(&mut self, place: Place, request: RequestId) -> Option<&mut Live> {
        self.entries[place.0 as usize].as_mut().filter(|live| live.request == request)
    }

    pub fn len(&self) -> usize {
        self.by_request.len()
    }
}
