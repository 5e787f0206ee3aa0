use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use lightllm_router::RequestId;
use lightllm_wire::{ImageSpan, Sampling, Sibling};

/// An HTTP process that has said hello: its number among all that did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(u64);

/// What the choices of one prompt have in common, for the backend.
#[derive(Debug)]
pub struct Shared {
    /// The seed is that of the first.
    pub sampling: Sampling,
    pub images: Vec<ImageSpan>,
    pub position_offset: i64,
}

/// What the router remembers of a live request beside the scheduler.
#[derive(Debug)]
pub struct Live {
    /// The HTTP process that asked.
    pub client: ClientId,
    /// Its own id of the request.
    pub id: u64,
    pub shared: Rc<Shared>,
    seed: u64,
}

impl Live {
    /// How its tokens are drawn.
    pub fn sampling(&self) -> Sampling {
        Sampling { seed: self.seed, ..self.shared.sampling.clone() }
    }
}

/// One HTTP process.
struct Client {
    identity: Vec<u8>,
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
    known: BTreeMap<ClientId, Client>,
    live: HashMap<RequestId, Live, BuildHasherDefault<Counted>>,
    next: u64,
    next_client: u64,
    bound: u64,
}

impl Clients {
    /// `bound`: bytes of output that may be under way to one client.
    pub fn new(bound: u64) -> Self {
        Self { known: BTreeMap::new(), live: HashMap::default(), next: 0, next_client: 0, bound }
    }

    /// A client says hello. Returns the requests of a former process of the same name: nobody waits for them.
    pub fn hello(&mut self, identity: &[u8], name: &str) -> Vec<RequestId> {
        let former: Vec<ClientId> = self
            .known
            .iter()
            .filter(|(_, client)| client.name == name || client.identity == identity)
            .map(|(id, _)| *id)
            .collect();
        let orphans = former.into_iter().flat_map(|id| self.gone(id)).collect();
        let client = Client {
            identity: identity.to_vec(),
            name: name.to_owned(),
            requests: BTreeMap::new(),
            sent: 0,
            received: 0,
            overrun: Vec::new(),
        };
        self.known.insert(ClientId(self.next_client), client);
        self.next_client += 1;
        orphans
    }

    /// Forgets a client. Returns its live requests.
    pub fn gone(&mut self, id: ClientId) -> Vec<RequestId> {
        let Some(client) = self.known.remove(&id) else { return Vec::new() };
        let orphans: Vec<RequestId> = client.requests.into_values().collect();
        for request in &orphans {
            self.live.remove(request);
        }
        orphans
    }

    /// The client with this socket, if it has said hello.
    pub fn find(&self, identity: &[u8]) -> Option<ClientId> {
        self.known.iter().find(|(_, client)| client.identity == identity).map(|(id, _)| *id)
    }

    /// The identity of its socket.
    pub fn identity(&self, id: ClientId) -> Option<&[u8]> {
        self.known.get(&id).map(|client| client.identity.as_slice())
    }

    /// The ids that a new request of the client and its siblings get; an error is the first id that is in use.
    pub fn add(
        &mut self,
        client: ClientId,
        id: u64,
        shared: Shared,
        siblings: &[Sibling],
    ) -> Result<Vec<RequestId>, u64> {
        let requests = &mut self.known.get_mut(&client).expect("the client was found").requests;
        let seed = shared.sampling.seed;
        let shared = Rc::new(shared);
        let members = std::iter::once(Sibling { request: id, seed }).chain(siblings.iter().copied());
        let mut added = Vec::with_capacity(1 + siblings.len());
        for member in members {
            let request = RequestId(self.next);
            if let Some(in_use) = requests.insert(member.request, request) {
                requests.insert(member.request, in_use);
                for request in added {
                    let live: Live = self.live.remove(&request).expect("it was just added");
                    requests.remove(&live.id);
                }
                return Err(member.request);
            }
            self.next += 1;
            let shared = Rc::clone(&shared);
            self.live.insert(request, Live { client, id: member.request, shared, seed: member.seed });
            added.push(request);
        }
        Ok(added)
    }

    /// Our id of the client's request, which is forgotten.
    pub fn abort(&mut self, client: ClientId, id: u64) -> Option<RequestId> {
        let request = self.known.get_mut(&client)?.requests.remove(&id)?;
        self.live.remove(&request);
        Some(request)
    }

    /// Our id of the client's live request.
    pub fn find_request(&self, client: ClientId, id: u64) -> Option<RequestId> {
        self.known.get(&client)?.requests.get(&id).copied()
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
    pub fn sent(&mut self, id: ClientId, bytes: usize) -> Vec<RequestId> {
        let Some(client) = self.known.get_mut(&id) else { return Vec::new() };
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
    pub fn received(&mut self, id: ClientId, total: u64) -> Vec<u64> {
        let Some(client) = self.known.get_mut(&id) else { return Vec::new() };
        client.received = client.received.max(total.min(client.sent));
        if client.sent - client.received > self.bound { Vec::new() } else { std::mem::take(&mut client.overrun) }
    }

    /// Whether the client may not add requests now.
    pub fn overrun(&self, id: ClientId) -> bool {
        self.known.get(&id).is_some_and(|client| client.sent.saturating_sub(client.received) > self.bound)
    }
}

/// Hashes request ids: they are our own count, so nobody can choose them to collide.
#[derive(Default)]
struct Counted(u64);

impl Hasher for Counted {
    fn write(&mut self, _: &[u8]) {
        unreachable!("request ids are hashed as whole numbers");
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15); // spreads neighbours over all bits
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> Shared {
        let sampling = Sampling {
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
        };
        Shared { sampling, images: Vec::new(), position_offset: 0 }
    }

    fn find(clients: &Clients, identity: &[u8]) -> ClientId {
        clients.find(identity).expect("it said hello")
    }

    #[test]
    fn a_group_is_taken_whole_or_not_at_all() {
        let mut clients = Clients::new(100);
        clients.hello(b"a", "http-0");
        let a = find(&clients, b"a");
        let siblings = [Sibling { request: 2, seed: 20 }, Sibling { request: 3, seed: 30 }];
        let twice = [Sibling { request: 4, seed: 0 }, Sibling { request: 4, seed: 0 }];
        assert_eq!(clients.add(a, 5, shared(), &twice), Err(4));
        let group = clients.add(a, 1, shared(), &siblings).expect("new ids");
        let seeds: Vec<u64> = group.iter().map(|id| clients.get(*id).expect("live").sampling().seed).collect();
        assert_eq!(seeds, [0, 20, 30]);
        assert_eq!(clients.add(a, 9, shared(), &siblings), Err(2));
        assert_eq!(clients.abort(a, 9), None, "nothing is left of a refused group");
        assert_eq!(clients.abort(a, 4), None);
        assert_eq!(clients.abort(a, 3), Some(group[2]));
    }

    #[test]
    fn a_restarted_client_orphans_the_requests_of_the_former_one() {
        let mut clients = Clients::new(100);
        assert!(clients.hello(b"http-0.10", "http-0").is_empty());
        assert!(clients.hello(b"http-1.11", "http-1").is_empty());
        let (zero, one) = (find(&clients, b"http-0.10"), find(&clients, b"http-1.11"));
        let first = clients.add(zero, 7, shared(), &[]).expect("new id")[0];
        let other = clients.add(one, 7, shared(), &[]).expect("ids are the client's own")[0];
        assert_eq!(clients.add(zero, 7, shared(), &[]), Err(7), "a live id is not taken twice");
        assert_eq!(clients.hello(b"http-0.12", "http-0"), vec![first]);
        assert!(clients.get(first).is_none());
        assert!(clients.get(other).is_some());
        assert!(clients.find(b"http-0.10").is_none());
    }

    #[test]
    fn a_client_that_takes_nothing_in_loses_its_requests_and_learns_it_later() {
        let mut clients = Clients::new(100);
        clients.hello(b"a", "http-0");
        let a = find(&clients, b"a");
        let request = clients.add(a, 1, shared(), &[]).expect("new id")[0];
        assert!(clients.sent(a, 100).is_empty());
        assert_eq!(clients.sent(a, 1), vec![request]);
        assert!(clients.overrun(a));
        assert!(clients.received(a, 0).is_empty());
        assert_eq!(clients.received(a, 50), vec![1]);
        assert!(!clients.overrun(a));
        assert!(clients.received(a, u64::MAX).is_empty(), "told once; a wild total is capped");
    }
}
