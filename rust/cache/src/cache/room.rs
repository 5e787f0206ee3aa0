use std::collections::BTreeSet;

use super::calls::other_sizes;
use super::{Answer, Cache, Granted, Want};
use crate::Result;
use crate::item::{ClientId, Item, Key, LeaseId, LeaseState, State};
use crate::slots::Slot;
use crate::work::{Hands, Take};

impl Cache {
    /// Whether none of `wants` needs room.
    pub(super) fn is_all_there(&self, wants: &[Want]) -> bool {
        wants.iter().all(|want| self.slots.find(want.key).is_some())
    }

    /// Leases of all `wants`; None, and no change, while there is no room for those that are new.
    pub(super) fn grant(&mut self, client: ClientId, wants: &[Want]) -> Result<Option<Vec<Granted>>> {
        let (mut new, mut own_idle) = (BTreeSet::new(), BTreeSet::new());
        let (mut needed, mut own_pages) = (0, 0);
        for want in wants {
            let Some(slot) = self.slots.find(want.key) else {
                if new.insert(want.key) {
                    needed += self.pages_of(want.data_len) + self.pages_of(want.feature_len);
                }
                continue;
            };
            let item = &self.slots[slot];
            if (item.data_len, item.feature_len) != (want.data_len, want.feature_len) {
                return Err(other_sizes(want.key));
            }
            if item.idle_since.is_some() && own_idle.insert(slot) {
                own_pages += held_pages(item);
            }
        }
        // What this call is about to hold can't make room for it.
        let pages = u64::from(self.pages.free() + self.idle_pages - own_pages);
        let slots = self.slots.empty() + self.idle.len() - own_idle.len();
        if needed > pages || new.len() > slots {
            return Ok(None);
        }
        let mut granted: Vec<Option<Granted>> = wants.iter().map(|want| self.join(client, want.key)).collect();
        while u64::from(self.pages.free()) < needed || self.slots.empty() < new.len() {
            self.evict();
        }
        for (place, want) in granted.iter_mut().zip(wants) {
            if place.is_none() {
                // A key that comes twice is there the second time.
                *place = self.join(client, want.key).or_else(|| Some(self.reserve(client, want)));
            }
        }
        let granted: Vec<Granted> = granted.into_iter().map(|item| item.expect("all are there now")).collect();
        self.stats.queries += granted.len() as u64;
        self.stats.hits += granted.iter().filter(|item| item.state == LeaseState::Ready).count() as u64;
        self.stats.joins += granted.iter().filter(|item| item.state == LeaseState::Pending).count() as u64;
        Ok(Some(granted))
    }

    /// A lease of an item that is there.
    fn join(&mut self, client: ClientId, key: Key) -> Option<Granted> {
        self.slots.find(key).map(|slot| self.hold(client, slot))
    }

    /// A new item, which the client writes.
    fn reserve(&mut self, client: ClientId, want: &Want) -> Granted {
        let mut take = |bytes: u64| {
            let pages = self.pages_of(bytes) as u32;
            self.pages.take(pages).expect("room was made before")
        };
        let (data, features) = (take(want.data_len), take(want.feature_len));
        let writer = LeaseId(self.next_lease);
        let slot = self.slots.insert(Item {
            key: want.key,
            generation: 0,
            state: State::Reserved { writer },
            data_len: want.data_len,
            feature_len: want.feature_len,
            pixels: want.pixels,
            original_pixels: want.original_pixels,
            recipe: want.recipe.clone(),
            data,
            features,
            holders: BTreeSet::new(),
            waits: BTreeSet::new(),
            ticket: 0,
            deaths: 0,
            idle_since: None,
        });
        self.hold(client, slot)
    }

    /// Removes the item that nobody has held for longest.
    fn evict(&mut self) {
        let (_, slot) = self.idle.first_key_value().expect("it was counted that there are enough");
        self.remove(*slot);
        self.stats.evictions += 1;
    }

    /// Removes an item that nobody holds.
    pub(super) fn remove(&mut self, slot: Slot) {
        let item = self.slots.remove(slot);
        assert!(item.holders.is_empty() && item.waits.is_empty(), "somebody holds {:?}", item.key);
        if let Some(moment) = item.idle_since {
            self.idle.remove(&moment);
            self.idle_pages -= held_pages(&item);
        }
        self.pages.give_back(&item.data);
        self.pages.give_back(&item.features);
    }

    /// Lets those go on who can: first who waits for room, in order, then the encoders.
    pub(super) fn settle(&mut self) {
        while let Some(waiter) = self.waiters.pop_front() {
            let answer = match self.grant(waiter.client, &waiter.wants) {
                Ok(Some(granted)) => Answer::Leased(granted),
                Err(error) => Answer::Refused(error), // another's item came with the same key
                Ok(None) => {
                    self.waiters.push_front(waiter);
                    break;
                }
            };
            self.bypassed = 0;
            self.tell(waiter.client, waiter.request, answer);
        }
        while let Some((take, slots)) = self.next_work() {
            let granted = slots.into_iter().map(|slot| self.encode(take.client, slot)).collect();
            self.tell(take.client, take.request, Answer::Leased(granted));
        }
    }

    fn next_work(&mut self) -> Option<(Take, Vec<Slot>)> {
        let (slots, leases, clients) = (&self.slots, &self.leases, &self.clients);
        let hands = |client: ClientId| {
            clients[&client].iter().fold(Hands::Empty, |hands, lease| {
                let item = &slots[leases[lease].slot];
                match item.state {
                    State::Encoding { encoder } if encoder == *lease && item.deaths > 0 => Hands::Suspect,
                    State::Encoding { encoder } if encoder == *lease && hands == Hands::Empty => Hands::Full,
                    _ => hands,
                }
            })
        };
        self.work.next(slots, hands)
    }

    fn encode(&mut self, client: ClientId, slot: Slot) -> Granted {
        let granted = self.hold(client, slot);
        self.slots.set_state(slot, State::Encoding { encoder: granted.lease });
        Granted { recipe: self.slots[slot].recipe.clone(), ..granted }
    }
}

/// Pages that an item has.
pub(super) fn held_pages(item: &Item) -> u32 {
    item.data.iter().chain(&item.features).map(|extent| extent.pages).sum()
}
