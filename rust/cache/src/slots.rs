use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

use crate::item::{Item, Key, State};
use crate::record::{Header, Record};

/// Number of an item's record in the arena.
pub type Slot = u32;

/// All items by slot and by key, and their records in the arena.
pub struct Slots {
    items: Vec<Option<Box<Item>>>,
    generations: Vec<u32>,
    /// Slots without an item, the next one last.
    empty: Vec<Slot>,
    /// A failed item is not here: the next one who wants its key tries anew.
    by_key: BTreeMap<Key, Slot>,
    records: Box<dyn AsRef<[Record]>>,
}

impl Slots {
    pub fn new(records: Box<dyn AsRef<[Record]>>) -> Self {
        let count = (*records).as_ref().len();
        Self {
            items: (0..count).map(|_| None).collect(),
            generations: vec![0; count],
            empty: (0..count as Slot).rev().collect(),
            by_key: BTreeMap::new(),
            records,
        }
    }

    pub fn empty(&self) -> usize {
        self.empty.len()
    }

    pub fn find(&self, key: Key) -> Option<Slot> {
        self.by_key.get(&key).copied()
    }

    /// Takes in an item with a new key; its generation is set here.
    pub fn insert(&mut self, mut item: Item) -> Slot {
        let slot = self.empty.pop().expect("a slot was counted before");
        item.generation = self.generations[slot as usize];
        let before = self.by_key.insert(item.key, slot);
        assert!(before.is_none(), "two items have the key {:?}", item.key);
        self.items[slot as usize] = Some(Box::new(item));
        self.write_record(slot);
        slot
    }

    /// Changes what an item is doing, in the arena too.
    pub fn set_state(&mut self, slot: Slot, state: State) {
        self[slot].state = state;
        self.write_record(slot);
    }

    /// Nobody finds the item by its key any more.
    pub fn hide(&mut self, slot: Slot) {
        let key = self[slot].key;
        if self.find(key) == Some(slot) {
            self.by_key.remove(&key);
        }
    }

    pub fn remove(&mut self, slot: Slot) -> Item {
        self.hide(slot);
        let generation = &mut self.generations[slot as usize];
        *generation = generation.wrapping_add(1);
        (*self.records).as_ref()[slot as usize].clear(*generation);
        self.empty.push(slot);
        *self.items[slot as usize].take().expect("the slot has an item")
    }

    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Item)> {
        (0..).zip(&self.items).filter_map(|(slot, item)| item.as_deref().map(|item| (slot, item)))
    }

    /// Panics unless slots, keys and records say the same.
    pub fn check(&self) {
        assert_eq!(self.iter().count() + self.empty.len(), self.items.len(), "a slot is lost");
        let visible = self.iter().filter(|(_, item)| !matches!(item.state, State::Failed(_)));
        let by_key: BTreeMap<Key, Slot> = visible.map(|(slot, item)| (item.key, slot)).collect();
        assert_eq!(by_key, self.by_key, "the index is wrong");
        for (slot, item) in self.iter() {
            assert_eq!((*self.records).as_ref()[slot as usize].read(), Ok(header(item)), "the record of slot {slot}");
        }
    }

    fn write_record(&self, slot: Slot) {
        (*self.records).as_ref()[slot as usize].write(&header(&self[slot]));
    }
}

fn header(item: &Item) -> Header {
    Header {
        generation: item.generation,
        phase: item.state.phase(),
        key: item.key,
        data_len: item.data_len,
        feature_len: item.feature_len,
    }
}

impl Index<Slot> for Slots {
    type Output = Item;

    fn index(&self, slot: Slot) -> &Item {
        self.items[slot as usize].as_deref().expect("the slot has an item")
    }
}

impl IndexMut<Slot> for Slots {
    fn index_mut(&mut self, slot: Slot) -> &mut Item {
        self.items[slot as usize].as_deref_mut().expect("the slot has an item")
    }
}
