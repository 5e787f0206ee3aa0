use std::collections::{BTreeMap, HashMap};

use lightllm_router::RequestId;
use lightllm_wire::Sampling;

/// What the router remembers of a live request beside the scheduler.
pub struct Live {
    /// The HTTP process that asked.
    pub client: Vec<u8>,
    /// Its own id of the request.
    pub id: u64,
    pub sampling: Sampling,
}

/// One HTTP process.
struct Client {
    name: String,
    /// Its id of a live request to ours.
    requests: BTreeMap<u64, RequestId>,
    /// Bytes of output frames sent to it.
    sent: u64,
    /// Bytes that it says it has taken in.
    received: u64,
    /// Requests ended because it did not take in their output; told when it does.
    overrun: Vec<u64>,
}

/// HTTP processes and their live requests.
pub struct Clients {
    /// By the identity of their sockets.
    known: HashMap<Vec<u8>, Client>,
    live: HashMap<RequestId, Live>,
    next: u64,
    bound: u64,
}

impl Clients {
    /// `bound`: bytes of output that may be under way to one client.
    pub fn new(bound: u64) -> Self {
        Self { known: HashMap::new(), live: HashMap::new(), next: 0, bound }
    }

    /// A client says hello. Returns the requests of a former process of the same name: nobody waits for them.
    pub fn hello(&mut self, identity: &[u8], name: &str) -> Vec<RequestId> {
        let former: Vec<Vec<u8>> = self
            .known
            .iter()
            .filter(|(other, client)| client.name == name && other.as_slice() != identity)
            .map(|(other, _)| other.clone())
            .collect();
        let mut orphans: Vec<RequestId> = former.iter().flat_map(|other| self.gone(other)).collect();
        orphans.extend(self.gone(identity));
        let client =
            Client { name: name.to_owned(), requests: BTreeMap::new(), sent: 0, received: 0, overrun: Vec::new() };
        self.known.insert(identity.to_vec(), client);
        orphans
    }

    /// Forgets a client. Returns its live requests.
    pub fn gone(&mut self, identity: &[u8]) -> Vec<RequestId> {
        let Some(client) = self.known.remove(identity) else { return Vec::new() };
        let orphans: Vec<RequestId> = client.requests.into_values().collect();
        for request in &orphans {
            self.live.remove(request);
        }
        orphans
    }

    /// Whether the client has said hello.
    pub fn knows(&self, identity: &[u8]) -> bool {
        self.known.contains_key(identity)
    }

    /// The id that a new request of the client gets; None if the client has a live request of the same id.
    pub fn add(&mut self, identity: &[u8], id: u64, sampling: Sampling) -> Option<RequestId> {
        let client = self.known.get_mut(identity)?;
        let request = RequestId(self.next);
        match client.requests.entry(id) {
            std::collections::btree_map::Entry::Occupied(_) => return None,
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert(request),
        };
        self.next += 1;
        self.live.insert(request, Live { client: identity.to_vec(), id, sampling });
        Some(request)
    }

    /// Our id of the client's request, which is forgotten.
    pub fn abort(&mut self, identity: &[u8], id: u64) -> Option<RequestId> {
        let request = self.known.get_mut(identity)?.requests.remove(&id)?;
        self.live.remove(&request);
        Some(request)
    }

    pub fn get(&self, request: RequestId) -> Option<&Live> {
        self.live.get(&request)
    }

    /// The request has ended.
    pub fn end(&mut self, request: RequestId) -> Option<Live> {
        let live = self.live.remove(&request)?;
        if let Some(client) = self.known.get_mut(&live.client) {
            client.requests.remove(&live.id);
        }
        Some(live)
    }

    /// Bytes of output were sent. Returns requests to abort if the client has not taken in enough of what it got.
    pub fn sent(&mut self, identity: &[u8], bytes: usize) -> Vec<RequestId> {
        let Some(client) = self.known.get_mut(identity) else { return Vec::new() };
        client.sent += bytes as u64;
        if client.sent.saturating_sub(client.received) <= self.bound {
            return Vec::new();
        }
        let (ids, requests): (Vec<u64>, Vec<RequestId>) = std::mem::take(&mut client.requests).into_iter().unzip();
        client.overrun.extend(ids);
        for request in &requests {
            self.live.remove(request);
        }
        requests
    }

    /// The client has taken in `total` bytes. Returns its ids of requests that ended while it did not.
    pub fn received(&mut self, identity: &[u8], total: u64) -> Vec<u64> {
        let Some(client) = self.known.get_mut(identity) else { return Vec::new() };
        client.received = client.received.max(total.min(client.sent));
        if client.sent - client.received > self.bound { Vec::new() } else { std::mem::take(&mut client.overrun) }
    }

    /// Whether the client may add requests now.
    pub fn overrun(&self, identity: &[u8]) -> bool {
        self.known.get(identity).is_some_and(|client| client.sent.saturating_sub(client.received) > self.bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampling() -> Sampling {
        Sampling {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            seed: 0,
            presence: 0.0,
            frequency: 0.0,
            repetition: 1.0,
            min_tokens: 0,
            logprobs: -1,
            prompt_logprobs: -1,
            end_ids: Vec::new().into(),
            bias_ids: Vec::new().into(),
            bias_values: serde_bytes::ByteBuf::new(),
        }
    }

    #[test]
    fn a_restarted_client_orphans_the_requests_of_the_former_one() {
        let mut clients = Clients::new(100);
        assert!(clients.hello(b"http-0.10", "http-0").is_empty());
        assert!(clients.hello(b"http-1.11", "http-1").is_empty());
        let first = clients.add(b"http-0.10", 7, sampling()).expect("new id");
        let other = clients.add(b"http-1.11", 7, sampling()).expect("ids are the client's own");
        assert_eq!(clients.add(b"http-0.10", 7, sampling()), None, "a live id is not taken twice");
        assert_eq!(clients.hello(b"http-0.12", "http-0"), vec![first]);
        assert!(clients.get(first).is_none());
        assert!(clients.get(other).is_some());
        assert!(!clients.knows(b"http-0.10"));
    }

    #[test]
    fn a_client_that_takes_nothing_in_loses_its_requests_and_learns_it_later() {
        let mut clients = Clients::new(100);
        clients.hello(b"a", "http-0");
        let request = clients.add(b"a", 1, sampling()).expect("new id");
        assert!(clients.sent(b"a", 100).is_empty());
        assert_eq!(clients.sent(b"a", 1), vec![request]);
        assert!(clients.overrun(b"a"));
        assert!(clients.received(b"a", 0).is_empty());
        assert_eq!(clients.received(b"a", 50), vec![1]);
        assert!(!clients.overrun(b"a"));
        assert!(clients.received(b"a", u64::MAX).is_empty(), "told once; a wild total is capped");
    }
}
