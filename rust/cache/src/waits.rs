use std::collections::BTreeMap;

use crate::item::{ClientId, LeaseId, RequestId};

/// A call that waits for items to be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WaitId(u64);

#[derive(Debug)]
pub struct Wait {
    pub client: ClientId,
    pub request: RequestId,
    pub leases: Vec<LeaseId>,
}

/// All calls that wait for items.
#[derive(Debug, Default)]
pub struct Waits {
    live: BTreeMap<WaitId, Wait>,
    next: u64,
}

impl Waits {
    pub fn insert(&mut self, wait: Wait) -> WaitId {
        let id = WaitId(self.next);
        self.next += 1;
        self.live.insert(id, wait);
        id
    }

    pub fn get(&self, id: WaitId) -> &Wait {
        &self.live[&id]
    }

    pub fn remove(&mut self, id: WaitId) -> Wait {
        self.live.remove(&id).expect("the call waits")
    }

    /// Waits of a client, or one call of it.
    pub fn of(&self, client: ClientId, request: Option<RequestId>) -> Vec<WaitId> {
        let its = |wait: &Wait| wait.client == client && request.is_none_or(|request| wait.request == request);
        self.live.iter().filter(|(_, wait)| its(wait)).map(|(id, _)| *id).collect()
    }

    pub fn len(&self) -> usize {
        self.live.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (WaitId, &Wait)> {
        self.live.iter().map(|(id, wait)| (*id, wait))
    }
}
