use std::rc::Rc;

use super::room::held_pages;
use super::{Answer, Cache, Granted, Lease};
use crate::Error;
use crate::item::{ClientId, LeaseId, MAX_DEATHS, State};
use crate::slots::Slot;
use crate::waits::Wait;

/// How a lease ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    GivenBack,
    /// Its holder died.
    Died,
}

impl Cache {
    /// A new lease of an item.
    pub(super) fn hold(&mut self, client: ClientId, slot: Slot) -> Granted {
        let lease = LeaseId(self.next_lease);
        self.next_lease += 1;
        self.leases.insert(lease, Lease { client, slot });
        self.clients.get_mut(&client).expect("the client is there").insert(lease);
        let item = &mut self.slots[slot];
        item.holders.insert(lease);
        if let Some(moment) = item.idle_since.take() {
            self.idle.remove(&moment);
            self.idle_pages -= held_pages(item);
        }
        Granted {
            lease,
            key: item.key,
            state: item.lease_state(lease),
            slot,
            generation: item.generation,
            data_len: item.data_len,
            feature_len: item.feature_len,
            pixels: item.pixels,
            recipe: Box::default(),
            data: item.data.clone(),
            features: item.features.clone(),
        }
    }

    /// A lease ends, and with it what only its holder could do.
    pub(super) fn end(&mut self, lease: LeaseId, end: End) {
        let slot = self.leases[&lease].slot;
        let item = &self.slots[slot];
        let waits: Vec<_> =
            item.waits.iter().copied().filter(|id| self.waits.get(*id).leases.contains(&lease)).collect();
        for wait in waits {
            let Wait { client, request, .. } = self.end_wait(wait);
            let message = format!("lease {} was given back while its holder waited for the item", lease.0);
            self.tell(client, request, Answer::Refused(Error::Invalid(message)));
        }
        let Lease { client, .. } = self.leases.remove(&lease).expect("the lease is there");
        if let Some(leases) = self.clients.get_mut(&client) {
            leases.remove(&lease);
        }
        let item = &mut self.slots[slot];
        item.holders.remove(&lease);
        match item.state {
            State::Reserved { writer } if writer == lease => {
                if let Some(next) = item.holders.first().copied() {
                    self.slots.set_state(slot, State::Reserved { writer: next });
                }
            }
            State::Encoding { encoder } if encoder == lease => {
                item.deaths += u32::from(end == End::Died);
                if item.deaths >= MAX_DEATHS {
                    let reason = format!("visual servers died {MAX_DEATHS} times while they encoded this image");
                    self.fail_item(slot, Rc::from(reason));
                } else {
                    self.queue(slot);
                }
            }
            _ => {}
        }
        self.notify(slot);
        self.leave(slot);
    }

    /// Nobody may hold the item any more.
    fn leave(&mut self, slot: Slot) {
        let item = &mut self.slots[slot];
        if !item.holders.is_empty() {
            return;
        }
        match item.state {
            State::Ready => {
                self.moment += 1;
                item.idle_since = Some(self.moment);
                self.idle_pages += held_pages(item);
                self.idle.insert(self.moment, slot);
            }
            State::Written => {
                // Work that nobody waits for is not done.
                self.work.remove(&self.slots[slot]);
                self.remove(slot);
                self.stats.abandoned += 1;
            }
            State::Reserved { .. } => {
                self.remove(slot);
                self.stats.abandoned += 1;
            }
            State::Failed(_) => self.remove(slot),
            State::Encoding { .. } => unreachable!("its encoder holds it"),
        }
    }

    /// The item waits for an encoder, in its place.
    pub(super) fn queue(&mut self, slot: Slot) {
        self.slots.set_state(slot, State::Written);
        self.work.push(slot, &self.slots[slot]);
    }

    /// The item can't be encoded. Its memory is free at once: nobody may read it.
    pub(super) fn fail_item(&mut self, slot: Slot, reason: Rc<str>) {
        self.slots.hide(slot);
        let item = &mut self.slots[slot];
        let (data, features) = (std::mem::take(&mut item.data), std::mem::take(&mut item.features));
        self.pages.give_back(&data);
        self.pages.give_back(&features);
        self.slots.set_state(slot, State::Failed(reason));
        self.stats.failures += 1;
        self.notify(slot);
    }

    /// Tells those who wait for the item, if they now have all they wait for.
    pub(super) fn notify(&mut self, slot: Slot) {
        let waits: Vec<_> = self.slots[slot].waits.iter().copied().collect();
        for wait in waits {
            self.decide(wait);
        }
    }
}
