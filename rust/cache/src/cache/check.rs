use std::collections::{BTreeMap, BTreeSet};

use super::Cache;
use super::room::held_pages;
use crate::item::{LeaseId, State};
use crate::slots::Slot;
use crate::waits::WaitId;

impl Cache {
    /// Panics unless all books agree: pages, slots, records, leases, waits, the queue of work and what may be evicted.
    pub fn check(&self) {
        self.slots.check();
        let items = || self.slots.iter().map(|(_, item)| item);
        self.pages.check(items().flat_map(|item| item.data.iter().chain(&item.features).copied()));
        self.check_leases();
        for (slot, item) in self.slots.iter() {
            let (data, features) = match item.state {
                State::Ready => (0, item.feature_len),
                State::Failed(_) => (0, 0),
                _ => (item.data_len, item.feature_len),
            };
            assert_eq!(
                u64::from(held_pages(item)),
                self.pages_of(data) + self.pages_of(features),
                "the pages of slot {slot} do not fit its state"
            );
            assert_eq!(
                item.idle_since.is_some(),
                item.state == State::Ready && item.holders.is_empty(),
                "slot {slot} is idle, or is not"
            );
            match item.state {
                State::Reserved { writer: holder } | State::Encoding { encoder: holder } => {
                    assert!(item.holders.contains(&holder), "slot {slot} is worked at by nobody");
                }
                State::Ready => {}
                State::Written | State::Failed(_) => assert!(!item.holders.is_empty(), "nobody wants slot {slot}"),
            }
        }
        let idle = self.slots.iter().filter_map(|(slot, item)| item.idle_since.map(|moment| (moment, slot)));
        assert_eq!(idle.collect::<BTreeMap<u64, Slot>>(), self.idle, "the order of eviction is wrong");
        let idle_pages: u32 = items().filter(|item| item.idle_since.is_some()).map(held_pages).sum();
        assert_eq!(idle_pages, self.idle_pages, "the count of pages that may be evicted is wrong");
        let written = self.slots.iter().filter(|(_, item)| item.state == State::Written);
        let written: BTreeMap<u64, Slot> = written.map(|(slot, item)| (item.ticket, slot)).collect();
        assert_eq!(written, self.work.slots().collect(), "the queue of work is wrong");
        let sizes = written.iter().map(|(ticket, slot)| (self.slots[*slot].original_pixels, *ticket));
        assert_eq!(&sizes.collect::<BTreeSet<_>>(), self.work.sizes(), "the order by size is wrong");
        assert!(self.waiters.iter().all(|waiter| self.clients.contains_key(&waiter.client)), "a waiter is gone");
    }

    fn check_leases(&self) {
        let mut of_slots: BTreeMap<Slot, BTreeSet<LeaseId>> = BTreeMap::new();
        let mut of_clients: BTreeMap<_, BTreeSet<LeaseId>> =
            self.clients.keys().map(|client| (*client, BTreeSet::new())).collect();
        for (id, lease) in &self.leases {
            of_slots.entry(lease.slot).or_default().insert(*id);
            of_clients.entry(lease.client).or_default().insert(*id);
        }
        assert_eq!(of_clients, self.clients, "clients and leases do not agree");
        let mut of_waits: BTreeMap<Slot, BTreeSet<WaitId>> = BTreeMap::new();
        for (id, wait) in self.waits.iter() {
            for lease in &wait.leases {
                of_waits.entry(self.leases[lease].slot).or_default().insert(id);
            }
        }
        for (slot, item) in self.slots.iter() {
            assert_eq!(item.holders, of_slots.remove(&slot).unwrap_or_default(), "the holders of slot {slot}");
            assert_eq!(item.waits, of_waits.remove(&slot).unwrap_or_default(), "the waits for slot {slot}");
        }
        assert!(of_slots.is_empty() && of_waits.is_empty(), "a lease has no item");
    }
}
