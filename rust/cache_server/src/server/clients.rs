use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};

use lightllm_cache::ClientId;

use crate::peer::Watched;

/// A client that has said hello.
struct Peer {
    identity: Vec<u8>,
    process: Watched,
}

/// All clients, and the processes that they are of.
#[derive(Default)]
pub struct Clients {
    by_id: BTreeMap<ClientId, Peer>,
    by_identity: BTreeMap<Vec<u8>, ClientId>,
    next: u64,
}

impl Clients {
    /// A new client.
    pub fn insert(&mut self, identity: &[u8], process: Watched) -> ClientId {
        let id = ClientId(self.next);
        self.next += 1;
        let before = self.by_identity.insert(identity.to_vec(), id);
        assert!(before.is_none(), "a former client with this name was forgotten before");
        self.by_id.insert(id, Peer { identity: identity.to_vec(), process });
        id
    }

    pub fn forget(&mut self, id: ClientId) {
        let peer = self.by_id.remove(&id).expect("the client is known");
        self.by_identity.remove(&peer.identity);
    }

    pub fn find(&self, identity: &[u8]) -> Option<ClientId> {
        self.by_identity.get(identity).copied()
    }

    pub fn identity(&self, id: ClientId) -> Option<&[u8]> {
        self.by_id.get(&id).map(|peer| peer.identity.as_slice())
    }

    /// Each client, and a descriptor that is readable when its process has ended.
    pub fn ends(&self) -> (Vec<ClientId>, Vec<BorrowedFd<'_>>) {
        self.by_id.iter().map(|(id, peer)| (*id, peer.process.as_fd())).unzip()
    }
}
