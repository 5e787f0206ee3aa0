use std::collections::BTreeSet;
use std::rc::Rc;

use super::leases::End;
use super::{Answer, Cache, Granted, MAX_ITEMS, MAX_RECIPE_BYTES, Waiter, Want};
use crate::item::{ClientId, Key, LeaseId, LeaseState, RequestId, State};
use crate::slots::Slot;
use crate::waits::{Wait, WaitId};
use crate::work::{Bounds, Take};
use crate::{Error, Result};

impl Cache {
    /// A client comes.
    pub fn connect(&mut self, client: ClientId) {
        let before = self.clients.insert(client, BTreeSet::new());
        assert!(before.is_none(), "{client:?} is there twice");
    }

    /// A client goes: its calls are forgotten, its leases given back. `died`: an encoder that died may have died of what
    /// it encoded.
    pub fn disconnect(&mut self, client: ClientId, died: bool) {
        self.forget(client, None);
        let leases = self.clients.remove(&client).expect("the client is there");
        for lease in leases {
            self.end(lease, if died { End::Died } else { End::GivenBack });
        }
        self.settle();
    }

    /// Leases of all `wants`, when there is room for all that is new: an [`Answer::Leased`] with an entry for each.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if there is never room, [`Error::Invalid`] for a want that makes no sense.
    pub fn acquire(&mut self, client: ClientId, request: RequestId, wants: Vec<Want>) -> Result<()> {
        self.check_wants(&wants)?;
        let overtakes = self.bypassed < super::BYPASS_LIMIT && self.is_all_there(&wants);
        if self.waiters.is_empty() || overtakes {
            self.bypassed += u32::from(!self.waiters.is_empty());
            if let Some(granted) = self.grant(client, &wants)? {
                self.tell(client, request, Answer::Leased(granted));
                return Ok(());
            }
        }
        self.stats.waited += 1;
        self.waiters.push_back(Waiter { client, request, wants });
        Ok(())
    }

    /// The data of these items is written.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless the client is the writer of all of them.
    pub fn publish(&mut self, client: ClientId, leases: &[LeaseId]) -> Result<()> {
        let slots = self.all(client, leases, "to be written", |state, lease| match state {
            State::Reserved { writer } => *writer == lease,
            _ => false,
        })?;
        for slot in slots {
            let ticket = self.work.ticket();
            self.slots[slot].ticket = ticket;
            self.queue(slot);
        }
        self.settle();
        Ok(())
    }

    /// An [`Answer::Decided`] when none of these is pending, or one fell to the client to be written: were it told
    /// later, two that wait for one another's items would wait for ever.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a lease that the client does not have.
    pub fn wait(&mut self, client: ClientId, request: RequestId, leases: Vec<LeaseId>) -> Result<()> {
        let slots = self.all(client, &leases, "held", |_, _| true)?;
        let wait = self.waits.insert(Wait { client, request, leases });
        for slot in slots {
            self.slots[slot].waits.insert(wait);
        }
        self.decide(wait);
        Ok(())
    }

    /// An [`Answer::Leased`] with the next written items: the oldest and the smallest in turn.
    ///
    /// # Errors
    /// [`Error::Invalid`] if no item is asked for.
    pub fn take(&mut self, client: ClientId, request: RequestId, bounds: Bounds) -> Result<()> {
        if bounds.items == 0 {
            return Err(Error::Invalid("take one item at least".to_owned()));
        }
        self.work.ask(Take { client, request, bounds });
        self.settle();
        Ok(())
    }

    /// Which of these items somebody still waits for; the encoder's leases of the others end, and their pages are free.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless the client encodes all of them.
    pub fn keep(&mut self, client: ClientId, leases: &[LeaseId]) -> Result<Vec<bool>> {
        let slots = self.all(client, leases, "to be encoded", encodes)?;
        let kept: Vec<bool> = slots.iter().map(|slot| self.slots[*slot].holders.len() > 1).collect();
        for (lease, kept) in leases.iter().zip(&kept) {
            if !kept {
                self.end(*lease, End::GivenBack);
            }
        }
        self.settle();
        Ok(kept)
    }

    /// The features of these items are written; the encoder's leases end, and the pages of the originals are free.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless the client encodes all of them.
    pub fn publish_features(&mut self, client: ClientId, leases: &[LeaseId]) -> Result<()> {
        let slots = self.all(client, leases, "to be encoded", encodes)?;
        for (slot, lease) in slots.into_iter().zip(leases) {
            let data = std::mem::take(&mut self.slots[slot].data);
            self.pages.give_back(&data);
            self.slots.set_state(slot, State::Ready);
            self.stats.encoded += 1;
            self.end(*lease, End::GivenBack);
        }
        self.settle();
        Ok(())
    }

    /// An item can't be encoded; the encoder's lease ends, and whoever waits for the item learns `reason`.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless the client encodes it.
    pub fn fail(&mut self, client: ClientId, lease: LeaseId, reason: &str) -> Result<()> {
        let slot = self.all(client, &[lease], "to be encoded", encodes)?[0];
        self.fail_item(slot, Rc::from(reason));
        self.end(lease, End::GivenBack);
        self.settle();
        Ok(())
    }

    /// Leases of those of `keys` that are ready.
    ///
    /// # Errors
    /// [`Error::Invalid`] for too many keys.
    pub fn lease(&mut self, client: ClientId, keys: &[Key]) -> Result<Vec<Option<Granted>>> {
        if keys.len() > MAX_ITEMS {
            return Err(Error::Invalid(format!("{} keys, and {MAX_ITEMS} are allowed", keys.len())));
        }
        let ready = |cache: &Self, key| cache.slots.find(key).filter(|slot| cache.slots[*slot].state == State::Ready);
        let mut granted = Vec::with_capacity(keys.len());
        for key in keys {
            granted.push(ready(self, *key).map(|slot| self.hold(client, slot)));
        }
        Ok(granted)
    }

    /// Gives leases back. One that the client does not have is counted: it is no harm to others.
    pub fn release(&mut self, client: ClientId, leases: &[LeaseId]) {
        for lease in leases {
            if self.leases.get(lease).is_some_and(|known| known.client == client) {
                self.end(*lease, End::GivenBack);
            } else {
                self.stats.bad_releases += 1;
            }
        }
        self.settle();
    }

    /// Nobody waits for the answer to this call any more. If it has its answer already, nothing happens.
    pub fn cancel(&mut self, client: ClientId, request: RequestId) {
        self.forget(client, Some(request));
        self.settle();
    }

    fn forget(&mut self, client: ClientId, request: Option<RequestId>) {
        let first = self.waiters.front().map(|waiter| (waiter.client, waiter.request));
        let its = |waiter: &Waiter| waiter.client == client && request.is_none_or(|request| waiter.request == request);
        self.waiters.retain(|waiter| !its(waiter));
        if first != self.waiters.front().map(|waiter| (waiter.client, waiter.request)) {
            self.bypassed = 0;
        }
        for wait in self.waits.of(client, request) {
            self.end_wait(wait);
        }
        self.work.forget(client, request);
    }

    /// Decides a wait, if all it waits for is, or the caller has to do something about it.
    pub(super) fn decide(&mut self, wait: WaitId) {
        let Wait { client, request, ref leases } = *self.waits.get(wait);
        let state = |lease: &LeaseId| self.slots[self.leases[lease].slot].lease_state(*lease);
        let states: Vec<LeaseState> = leases.iter().map(state).collect();
        if states.contains(&LeaseState::Write) || !states.contains(&LeaseState::Pending) {
            self.end_wait(wait);
            self.tell(client, request, Answer::Decided(states));
        }
    }

    pub(super) fn end_wait(&mut self, id: WaitId) -> Wait {
        let wait = self.waits.remove(id);
        for lease in &wait.leases {
            self.slots[self.leases[lease].slot].waits.remove(&id);
        }
        wait
    }

    /// The items of these leases, if they are the client's, each is there once, and all are as they should be.
    fn all(
        &self,
        client: ClientId,
        leases: &[LeaseId],
        wanted: &str,
        fits: impl Fn(&State, LeaseId) -> bool,
    ) -> Result<Vec<Slot>> {
        let once: BTreeSet<&LeaseId> = leases.iter().collect();
        if leases.is_empty() || once.len() < leases.len() {
            return Err(Error::Invalid("name some leases, and each once".to_owned()));
        }
        let slot = |lease: &LeaseId| {
            let known = self.leases.get(lease).filter(|known| known.client == client);
            let slot = known.map(|known| known.slot).filter(|slot| fits(&self.slots[*slot].state, *lease));
            slot.ok_or_else(|| Error::Invalid(format!("lease {} is not {wanted} by this client", lease.0)))
        };
        leases.iter().map(slot).collect()
    }

    fn check_wants(&self, wants: &[Want]) -> Result<()> {
        if wants.is_empty() || wants.len() > MAX_ITEMS {
            return Err(Error::Invalid(format!("{} items, and 1 to {MAX_ITEMS} are allowed", wants.len())));
        }
        let mut needed = 0_u128;
        let mut first: std::collections::BTreeMap<Key, (u64, u64)> = std::collections::BTreeMap::new();
        for want in wants {
            if want.data_len == 0 || want.feature_len == 0 {
                return Err(Error::Invalid("an item has 1 byte of data and of features at least".to_owned()));
            }
            if want.recipe.len() > MAX_RECIPE_BYTES {
                let message = format!("a recipe of {} bytes, and {MAX_RECIPE_BYTES} are allowed", want.recipe.len());
                return Err(Error::Invalid(message));
            }
            let sizes = (want.data_len, want.feature_len);
            match first.insert(want.key, sizes) {
                None => {
                    needed += u128::from(self.pages_of(want.data_len)) + u128::from(self.pages_of(want.feature_len));
                }
                Some(before) if before == sizes => {}
                Some(_) => return Err(other_sizes(want.key)),
            }
        }
        if needed > u128::from(self.pages.total()) {
            let needed = (needed * u128::from(self.page_bytes)).try_into().unwrap_or(u64::MAX);
            return Err(Error::TooLarge { needed, total: u64::from(self.pages.total()) * self.page_bytes });
        }
        Ok(())
    }
}

/// A key stands for bytes and settings, so one that comes with other sizes was made wrongly.
pub(super) fn other_sizes(key: Key) -> Error {
    Error::Invalid(format!("the item {key:?} is known with other sizes: its key does not cover what it depends on"))
}

fn encodes(state: &State, lease: LeaseId) -> bool {
    matches!(state, State::Encoding { encoder } if *encoder == lease)
}
