//! The running requests, by slot and in order of admission.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::SlotId;
use crate::memory::Holding;
use crate::sequence::Sequence;

/// A request that has a slot and pages.
#[derive(Debug)]
pub(crate) struct Running {
    pub sequence: Sequence,
    pub holding: Holding,
    /// Pages that the backend has been told of.
    pub told_pages: usize,
    /// Positions that were known when it was admitted: they are prefilled, later ones decoded.
    pub prefill_len: usize,
    /// Positions in rows so far, cached ones included.
    pub planned: usize,
    /// Outputs known or in rows without a result.
    pub planned_outputs: u32,
}

impl Running {
    /// Positions left to prefill.
    pub fn prefill_left(&self) -> usize {
        self.prefill_len.saturating_sub(self.planned)
    }

    /// It is through with its prefill, and has tokens left to generate that no row is planned for.
    pub fn wants_decode(&self) -> bool {
        self.prefill_left() == 0 && self.planned_outputs < self.sequence.max_tokens
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct RunningSet {
    slots: Vec<Option<(u64, Running)>>,
    /// Lowest first, so that few requests use few and always the same slots.
    free: BTreeSet<SlotId>,
    /// Slots by admission, counted.
    order: BTreeMap<u64, SlotId>,
    next_admission: u64,
}

impl RunningSet {
    pub fn new(slots: u32) -> Self {
        Self {
            slots: (0..slots).map(|_| None).collect(),
            free: (0..slots).map(SlotId).collect(),
            order: BTreeMap::new(),
            next_admission: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub fn has_free_slot(&self) -> bool {
        !self.free.is_empty()
    }

    pub fn free_slots(&self) -> usize {
        self.free.len()
    }

    /// Takes the lowest free slot. The caller knows that there is one.
    pub fn insert(&mut self, running: Running) -> SlotId {
        let slot = self.free.pop_first().expect("a free slot was seen");
        self.order.insert(self.next_admission, slot);
        self.slots[slot.index()] = Some((self.next_admission, running));
        self.next_admission += 1;
        slot
    }

    /// Empties a slot, which may be used again at once.
    pub fn remove(&mut self, slot: SlotId) -> Option<Running> {
        let (admission, running) = self.slots[slot.index()].take()?;
        self.order.remove(&admission);
        self.free.insert(slot);
        Some(running)
    }

    pub fn get(&self, slot: SlotId) -> Option<&Running> {
        self.slots[slot.index()].as_ref().map(|(_, running)| running)
    }

    pub fn get_mut(&mut self, slot: SlotId) -> Option<&mut Running> {
        self.slots[slot.index()].as_mut().map(|(_, running)| running)
    }

    /// The slot that was admitted last.
    pub fn last_admitted(&self) -> Option<SlotId> {
        self.order.last_key_value().map(|(_, slot)| *slot)
    }

    /// In order of admission.
    pub fn iter(&self) -> impl Iterator<Item = (SlotId, &Running)> {
        self.order.values().map(|slot| {
            let (_, running) = self.slots[slot.index()].as_ref().expect("an ordered slot is taken");
            (*slot, running)
        })
    }

    pub fn check_invariants(&self) {
        let taken = self.slots.iter().filter(|slot| slot.is_some()).count();
        assert_eq!(taken, self.order.len(), "taken slots are in the order");
        assert_eq!(taken + self.free.len(), self.slots.len(), "every slot is taken or free");
        for (admission, slot) in &self.order {
            let entry = self.slots[slot.index()].as_ref();
            assert_eq!(entry.map(|(admission, _)| *admission), Some(*admission), "slot {slot} in the order");
            assert!(!self.free.contains(slot), "slot {slot} is both taken and free");
        }
    }
}
