//! The running requests, by slot and in order of admission.

use std::collections::BTreeSet;

use crate::ids::SlotId;
use crate::memory::Holding;
use crate::sequence::Sequence;

/// A request that has a slot and pages.
///
/// The fields that each step touches come first, and next to each other: with thousands of requests the time of a step
/// is that of fetching them.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Running {
    /// Positions in rows so far, cached ones included.
    pub planned: usize,
    /// Positions that are prefilled: those that were known when it was admitted, or less if it is `ahead`. Later ones are
    /// decoded.
    pub prefill_len: usize,
    /// Pages that the backend has been told of.
    pub told_pages: usize,
    /// Outputs known or in rows without a result.
    pub planned_outputs: u32,
    /// The backend has been told of it.
    pub attached: bool,
    /// It only computes a part of its prompt, and goes back to the queue to wait for an image. If it has siblings, they
    /// wait with it.
    pub ahead: bool,
    pub holding: Holding,
    pub sequence: Sequence,
    /// When it was admitted, as a count.
    pub admission: u64,
    /// Its part in a group whose prompt isn't computed yet.
    pub part: Part,
}

/// What one member of a group (n > 1) does until the prompt is computed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Part {
    /// It is in no group, or the prompt is computed.
    #[default]
    Alone,
    /// It computes the prompt for these.
    Leads(Vec<SlotId>),
    /// It waits for the one in this slot to compute the prompt. Of pages it has only the one that the prompt's last
    /// token will be in.
    Awaits(SlotId),
}

impl Running {
    /// One that the backend knows nothing of yet. Its first `cached` positions are in its pages; it is computed up to
    /// its reach.
    pub fn new(sequence: Sequence, holding: Holding, cached: usize, part: Part) -> Self {
        Self {
            holding,
            attached: false,
            told_pages: 0,
            prefill_len: sequence.reach,
            ahead: sequence.is_ahead(),
            planned: cached,
            planned_outputs: sequence.outputs(),
            admission: 0,
            part,
            sequence,
        }
    }

    /// Positions left to prefill.
    pub fn prefill_left(&self) -> usize {
        if matches!(self.part, Part::Awaits(_)) { 0 } else { self.prefill_len.saturating_sub(self.planned) }
    }

    /// It is through with its prefill, and has tokens left to generate that no row is planned for.
    pub fn wants_decode(&self) -> bool {
        self.planned >= self.prefill_len && self.planned_outputs < self.sequence.max_tokens && !self.ahead
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct RunningSet {
    slots: Vec<Option<Running>>,
    /// Lowest first, so that few requests use few and always the same slots.
    free: BTreeSet<SlotId>,
    /// Slots that are taken, ascending: in this order memory is read forwards.
    taken: Vec<SlotId>,
    /// Admissions and their slots, in order.
    order: Vec<(u64, SlotId)>,
    /// Those whose prefill has rows to plan or results to come, in the order in which it began.
    prefilling: Vec<SlotId>,
    /// Those that the backend knows nothing of yet.
    unattached: usize,
    next_admission: u64,
}

impl RunningSet {
    pub fn new(slots: u32) -> Self {
        Self {
            slots: (0..slots).map(|_| None).collect(),
            free: (0..slots).map(SlotId).collect(),
            taken: Vec::with_capacity(slots as usize),
            order: Vec::with_capacity(slots as usize),
            prefilling: Vec::new(),
            unattached: 0,
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
        if !matches!(running.part, Part::Awaits(_)) {
            self.prefilling.push(slot);
        }
        self.taken.insert(self.taken.partition_point(|taken| *taken < slot), slot);
        self.order.push((self.next_admission, slot));
        self.slots[slot.index()] = Some(Running { admission: self.next_admission, ..running });
        self.next_admission += 1;
        self.unattached += 1;
        slot
    }

    /// Empties a slot, which may be used again at once.
    pub fn remove(&mut self, slot: SlotId) -> Option<Running> {
        let running = self.slots[slot.index()].take()?;
        let index = self.order.binary_search(&(running.admission, slot)).expect("a taken slot is in the order");
        self.order.remove(index);
        self.taken.remove(self.taken.binary_search(&slot).expect("a taken slot is in the list"));
        self.end_prefill(slot);
        self.unattached -= usize::from(!running.attached);
        self.free.insert(slot);
        Some(running)
    }

    pub fn unattached(&self) -> usize {
        self.unattached
    }

    /// The plan in the making tells the backend of this one.
    pub fn attach(&mut self, slot: SlotId) {
        let running = self.get_mut(slot).expect("the slot is taken");
        assert!(!std::mem::replace(&mut running.attached, true), "slot {slot} is attached once");
        self.unattached -= 1;
    }

    /// One that waited for its prompt has something to prefill.
    pub fn begin_prefill(&mut self, slot: SlotId) {
        self.prefilling.push(slot);
    }

    /// The last result of its prefill has come.
    pub fn end_prefill(&mut self, slot: SlotId) {
        if let Some(index) = self.prefilling.iter().position(|other| *other == slot) {
            self.prefilling.remove(index);
        }
    }

    pub fn prefilling(&self) -> &[SlotId] {
        &self.prefilling
    }

    pub fn get(&self, slot: SlotId) -> Option<&Running> {
        self.slots[slot.index()].as_ref()
    }

    pub fn get_mut(&mut self, slot: SlotId) -> Option<&mut Running> {
        self.slots[slot.index()].as_mut()
    }

    /// The slot with this place among those that are taken, in order of their numbers. The caller knows that so many
    /// run.
    pub fn nth(&self, index: usize) -> SlotId {
        self.taken[index]
    }

    /// In order of admission.
    pub fn iter(&self) -> impl Iterator<Item = (SlotId, &Running)> {
        self.order.iter().map(|(_, slot)| (*slot, self.get(*slot).expect("an ordered slot is taken")))
    }

    pub fn check_invariants(&self) {
        let taken = self.slots.iter().filter(|slot| slot.is_some()).count();
        assert_eq!(taken, self.order.len(), "taken slots are in the order");
        assert_eq!(taken + self.free.len(), self.slots.len(), "every slot is taken or free");
        assert!(self.order.is_sorted(), "the order is that of admission");
        let slots = self.slots.iter().enumerate().filter(|(_, slot)| slot.is_some());
        assert!(self.taken.iter().map(|slot| slot.index()).eq(slots.map(|(index, _)| index)), "taken slots in order");
        for (admission, slot) in &self.order {
            assert_eq!(self.get(*slot).map(|running| running.admission), Some(*admission), "slot {slot} in the order");
            assert!(!self.free.contains(slot), "slot {slot} is both taken and free");
        }
        let unattached = self.iter().filter(|(_, running)| !running.attached).count();
        assert_eq!(self.unattached, unattached, "count of those that are not attached");
        for (slot, running) in self.iter() {
            let times = self.prefilling.iter().filter(|other| **other == slot).count();
            assert!(times <= 1 && (times == 1 || running.prefill_left() == 0), "slot {slot} prefills");
        }
        assert!(self.prefilling.iter().all(|slot| self.get(*slot).is_some()), "those that prefill run");
    }
}
