//! The cache against a naive model: lists that are searched, and counts of pages.

use lightllm_cache::{
    Answer, BYPASS_LIMIT, Bounds, Cache, ClientId, Event, Granted, Key, LeaseId, LeaseState, MAX_DEATHS, Record,
    RequestId, Want,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const PAGES: u64 = 12;
const PAGE_BYTES: u64 = 4096;
const KEYS: u8 = 7;
const CLIENTS: u64 = 3;

/// Of the original with this key; two keys have the same.
fn original_pixels(key: u8) -> u64 {
    u64::from(key * 3 % 7 / 2)
}

/// Pages of data and of features of the item with this key, and its pixels.
fn sizes(key: u8) -> (u64, u64, u64) {
    (1 + u64::from(key % 3), 1 + u64::from(key % 2) * 2, u64::from(key))
}

fn want(key: u8) -> Want {
    let (data, features, pixels) = sizes(key);
    let data_len = (data - 1) * PAGE_BYTES + 1; // the last page is not full
    let feature_len = features * PAGE_BYTES;
    let original_pixels = original_pixels(key);
    Want { key: Key([key; 16]), data_len, feature_len, pixels, original_pixels, recipe: [key].into() }
}

#[derive(Debug, Clone, PartialEq)]
enum Doing {
    Reserved(u64),
    Written,
    Encoding(u64),
    Ready,
    Failed,
}

#[derive(Debug, Clone)]
struct Item {
    id: u64,
    key: u8,
    doing: Doing,
    published: u64,
    deaths: u32,
    last_held: u64,
}

impl Item {
    fn pages(&self) -> u64 {
        let (data, features, _) = sizes(self.key);
        match self.doing {
            Doing::Ready => features,
            Doing::Failed => 0,
            _ => data + features,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Said {
    Leased(Vec<(u64, u8, State)>),
    Decided(Vec<State>),
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Write,
    Pending,
    Ready,
    Failed,
}

#[derive(Debug, Default)]
struct Model {
    items: Vec<Item>,
    /// Lease, client, item.
    leases: Vec<(u64, u64, u64)>,
    /// Client, call, keys.
    waiters: Vec<(u64, u64, Vec<u8>)>,
    overtaken: u32,
    /// Client, call, leases.
    waits: Vec<(u64, u64, Vec<u64>)>,
    /// Client, call, bounds.
    takes: Vec<(u64, u64, Bounds)>,
    /// Items that were picked to be encoded.
    picks: u64,
    said: Vec<(u64, u64, Said)>,
    next_lease: u64,
    next_item: u64,
    clock: u64,
}

impl Model {
    fn find(&self, key: u8) -> Option<usize> {
        self.items.iter().position(|item| item.key == key && item.doing != Doing::Failed)
    }

    fn of(&mut self, lease: u64) -> &mut Item {
        let id = self.leases.iter().find(|known| known.0 == lease).expect("live").2;
        self.items.iter_mut().find(|item| item.id == id).expect("held")
    }

    fn is_held(&self, id: u64) -> bool {
        self.leases.iter().any(|lease| lease.2 == id)
    }

    fn free(&self) -> u64 {
        PAGES - self.items.iter().map(Item::pages).sum::<u64>()
    }

    fn state(&mut self, lease: u64) -> State {
        match self.of(lease).doing {
            Doing::Reserved(writer) if writer == lease => State::Write,
            Doing::Ready => State::Ready,
            Doing::Failed => State::Failed,
            _ => State::Pending,
        }
    }

    fn hold(&mut self, client: u64, index: usize) -> (u64, u8, State) {
        let lease = self.next_lease;
        self.next_lease += 1;
        self.leases.push((lease, client, self.items[index].id));
        (lease, self.items[index].key, self.state(lease))
    }

    fn grant(&mut self, client: u64, keys: &[u8]) -> Option<Vec<(u64, u8, State)>> {
        let there: Vec<u8> = keys.iter().copied().filter(|key| self.find(*key).is_some()).collect();
        let mut new: Vec<u8> = keys.iter().copied().filter(|key| !there.contains(key)).collect();
        new.sort_unstable();
        new.dedup();
        let needed: u64 = new.iter().map(|key| sizes(*key).0 + sizes(*key).1).sum();
        // What is left if all goes that may go.
        let goes = |model: &Self, item: &Item| {
            item.doing == Doing::Ready && !model.is_held(item.id) && !there.contains(&item.key)
        };
        let mut left = self.items.clone();
        left.retain(|item| !goes(self, item));
        let pages: u64 = left.iter().map(Item::pages).sum();
        if pages + needed > PAGES || left.len() + new.len() > PAGES as usize {
            return None;
        }
        let mut leased: Vec<Option<(u64, u8, State)>> = Vec::new();
        for key in keys {
            leased.push(self.find(*key).map(|index| self.hold(client, index)));
        }
        while self.free() < needed || self.items.len() + new.len() > PAGES as usize {
            let old = self.items.iter().filter(|item| goes(self, item)).min_by_key(|item| item.last_held);
            let id = old.expect("enough may go").id;
            self.items.retain(|item| item.id != id);
        }
        for (place, key) in leased.iter_mut().zip(keys) {
            if place.is_none() {
                if self.find(*key).is_none() {
                    let (id, doing) = (self.next_item, Doing::Reserved(self.next_lease));
                    self.next_item += 1;
                    self.items.push(Item { id, key: *key, doing, published: 0, deaths: 0, last_held: 0 });
                }
                let index = self.find(*key).expect("just made");
                *place = Some(self.hold(client, index));
            }
        }
        Some(leased.into_iter().map(|lease| lease.expect("all are there")).collect())
    }

    fn acquire(&mut self, client: u64, call: u64, keys: Vec<u8>) {
        let all_there = keys.iter().all(|key| self.find(*key).is_some());
        if !self.waiters.is_empty() {
            if !all_there || self.overtaken >= BYPASS_LIMIT {
                self.waiters.push((client, call, keys));
                return;
            }
            self.overtaken += 1;
        }
        match self.grant(client, &keys) {
            Some(leased) => self.said.push((client, call, Said::Leased(leased))),
            None => self.waiters.push((client, call, keys)),
        }
    }

    fn settle(&mut self) {
        while let Some((client, call, keys)) = self.waiters.first().cloned() {
            let Some(leased) = self.grant(client, &keys) else { break };
            self.said.push((client, call, Said::Leased(leased)));
            self.waiters.remove(0);
            self.overtaken = 0;
        }
        while let Some(first) = self.pick() {
            // One that has a suspect at hand gets nothing, and a suspect goes to one that has nothing.
            let may = |take: &(u64, u64, Bounds)| {
                let at_hand = |item: &&Item| match item.doing {
                    Doing::Encoding(lease) => self.leases.iter().any(|known| known.0 == lease && known.1 == take.0),
                    _ => false,
                };
                let at_hand: Vec<&Item> = self.items.iter().filter(at_hand).collect();
                at_hand.is_empty() || (self.items[first].deaths == 0 && at_hand.iter().all(|item| item.deaths == 0))
            };
            let Some(asked) = self.takes.iter().position(may) else { break };
            let (client, call, bounds) = self.takes.remove(asked);
            let (mut pixels, mut original) = (0, 0);
            let mut leased = Vec::new();
            while let Some(index) = self.pick() {
                let (key, deaths) = (self.items[index].key, self.items[index].deaths);
                pixels += sizes(key).2;
                original += original_pixels(key);
                let full = leased.len() == bounds.items as usize
                    || (bounds.pixels > 0 && pixels > bounds.pixels)
                    || (bounds.original_pixels > 0 && original > bounds.original_pixels);
                if !leased.is_empty() && (full || deaths > 0) {
                    break;
                }
                let (lease, key, _) = self.hold(client, index);
                self.items[index].doing = Doing::Encoding(lease);
                self.picks += 1;
                leased.push((lease, key, State::Pending));
                if deaths > 0 {
                    break;
                }
            }
            self.said.push((client, call, Said::Leased(leased)));
        }
    }

    /// The oldest and the smallest written item in turn.
    fn pick(&self) -> Option<usize> {
        let written = (0..self.items.len()).filter(|index| self.items[*index].doing == Doing::Written);
        let age = |index: &usize| self.items[*index].published;
        if self.picks.is_multiple_of(2) {
            written.min_by_key(age)
        } else {
            written.min_by_key(|index| (original_pixels(self.items[*index].key), age(index)))
        }
    }

    fn decide(&mut self) {
        let mut index = 0;
        while index < self.waits.len() {
            let (client, call, leases) = self.waits[index].clone();
            let states: Vec<State> = leases.iter().map(|lease| self.state(*lease)).collect();
            if states.contains(&State::Pending) && !states.contains(&State::Write) {
                index += 1;
            } else {
                self.said.push((client, call, Said::Decided(states)));
                self.waits.remove(index);
            }
        }
    }

    fn end(&mut self, lease: u64, died: bool) {
        let broken: Vec<_> = self.waits.iter().filter(|wait| wait.2.contains(&lease)).cloned().collect();
        self.waits.retain(|wait| !wait.2.contains(&lease));
        self.said.extend(broken.into_iter().map(|(client, call, _)| (client, call, Said::Refused)));
        let id = self.of(lease).id;
        self.leases.retain(|known| known.0 != lease);
        let next = self.leases.iter().filter(|known| known.2 == id).map(|known| known.0).min();
        self.clock += 1;
        let clock = self.clock;
        let item = self.items.iter_mut().find(|item| item.id == id).expect("it was held");
        item.last_held = clock;
        if item.doing == Doing::Encoding(lease) {
            item.deaths += u32::from(died);
            item.doing = if item.deaths >= MAX_DEATHS { Doing::Failed } else { Doing::Written };
        } else if item.doing == Doing::Reserved(lease)
            && let Some(next) = next
        {
            item.doing = Doing::Reserved(next);
        }
        if next.is_none() && item.doing != Doing::Ready {
            self.items.retain(|item| item.id != id);
        }
        self.decide();
    }
}

#[derive(Debug, Clone)]
enum Step {
    Acquire(u64, Vec<u8>),
    Publish(usize, usize),
    Wait(usize, usize),
    Take(u64, Bounds),
    Keep(usize, usize),
    Features(usize, usize),
    Fail(usize),
    Lease(u64, Vec<u8>),
    Release(usize, usize),
    Cancel(u64),
    Leave(u64, bool),
}

fn bounds() -> impl Strategy<Value = Bounds> {
    (1_u32..4, 0_u64..12, 0_u64..6).prop_map(|(items, pixels, original_pixels)| Bounds {
        items,
        pixels,
        original_pixels,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    let keys = |most| prop::collection::vec(0..KEYS, 1..most);
    prop_oneof![
        6 => (client.clone(), keys(5)).prop_map(|(client, keys)| Step::Acquire(client, keys)),
        4 => (0_usize..50, 1_usize..4).prop_map(|(first, count)| Step::Publish(first, count)),
        3 => (0_usize..50, 1_usize..4).prop_map(|(first, count)| Step::Wait(first, count)),
        4 => (client.clone(), bounds()).prop_map(|(client, bounds)| Step::Take(client, bounds)),
        4 => (0_usize..50, 1_usize..4).prop_map(|(first, count)| Step::Keep(first, count)),
        4 => (0_usize..50, 1_usize..4).prop_map(|(first, count)| Step::Features(first, count)),
        1 => (0_usize..50).prop_map(Step::Fail),
        2 => (client.clone(), keys(4)).prop_map(|(client, keys)| Step::Lease(client, keys)),
        7 => (0_usize..50, 1_usize..4).prop_map(|(first, count)| Step::Release(first, count)),
        1 => (0_u64..400).prop_map(Step::Cancel),
        1 => (client, any::<bool>()).prop_map(|(client, died)| Step::Leave(client, died)),
    ]
}

/// The cache and the model, driven with the same calls.
struct Pair {
    cache: Cache,
    model: Model,
    /// Present number of each client: who left comes back as another.
    clients: Vec<u64>,
    calls: u64,
}

impl Pair {
    fn new() -> Self {
        let records: Vec<Record> = (0..PAGES).map(|_| Record::new()).collect();
        let mut cache = Cache::new(PAGES as u32, PAGE_BYTES, Box::new(records));
        let clients: Vec<u64> = (0..CLIENTS).collect();
        for client in &clients {
            cache.connect(ClientId(*client));
        }
        Self { cache, model: Model::default(), clients, calls: 0 }
    }

    fn call(&mut self) -> (u64, RequestId) {
        self.calls += 1;
        (self.calls, RequestId(self.calls))
    }

    /// Some leases of the client that has the one at `first`, among those that `fits`.
    fn choose(&mut self, first: usize, count: usize, fits: impl Fn(&Doing, u64) -> bool) -> Option<(u64, Vec<u64>)> {
        let all: Vec<(u64, u64)> = self.model.leases.iter().map(|lease| (lease.0, lease.1)).collect();
        let fitting: Vec<(u64, u64)> = all.into_iter().filter(|(id, _)| fits(&self.model.of(*id).doing, *id)).collect();
        let client = fitting.get(first % fitting.len().max(1))?.1;
        let its: Vec<u64> = fitting.into_iter().filter(|lease| lease.1 == client).map(|lease| lease.0).collect();
        let begin = first % its.len();
        Some((client, its[begin..its.len().min(begin + count)].to_vec()))
    }

    fn step(&mut self, step: Step) {
        let (call, request) = self.call();
        match step {
            Step::Acquire(client, keys) => {
                let client = self.clients[client as usize];
                let mut distinct = keys.clone();
                distinct.sort_unstable();
                distinct.dedup();
                let needed: u64 = distinct.iter().map(|key| sizes(*key).0 + sizes(*key).1).sum();
                let answer = self.cache.acquire(ClientId(client), request, keys.iter().map(|key| want(*key)).collect());
                assert_eq!(answer.is_err(), needed > PAGES, "{answer:?}");
                if answer.is_ok() {
                    self.model.acquire(client, call, keys);
                }
            }
            Step::Publish(first, count) => {
                let fits = |doing: &Doing, lease| *doing == Doing::Reserved(lease);
                let Some((client, leases)) = self.choose(first, count, fits) else { return };
                self.cache.publish(ClientId(client), &ids(&leases)).expect("it writes them");
                self.cache.publish(ClientId(client), &ids(&leases)).expect_err("only once");
                for lease in leases {
                    self.model.clock += 1;
                    let clock = self.model.clock;
                    let item = self.model.of(lease);
                    (item.doing, item.published) = (Doing::Written, clock);
                }
            }
            Step::Wait(first, count) => {
                let Some((client, leases)) = self.choose(first, count, |_, _| true) else { return };
                self.cache.wait(ClientId(client), request, ids(&leases)).expect("it holds them");
                self.model.waits.push((client, call, leases));
                self.model.decide();
            }
            Step::Take(client, bounds) => {
                let client = self.clients[client as usize];
                self.cache.take(ClientId(client), request, bounds).expect("some are asked for");
                self.model.takes.push((client, call, bounds));
            }
            Step::Keep(first, count) => {
                let fits = |doing: &Doing, lease| *doing == Doing::Encoding(lease);
                let Some((client, leases)) = self.choose(first, count, fits) else { return };
                let kept = self.cache.keep(ClientId(client), &ids(&leases)).expect("it encodes them");
                for (lease, kept) in leases.into_iter().zip(kept) {
                    let id = self.model.leases.iter().find(|known| known.0 == lease).expect("live").2;
                    let others = self.model.leases.iter().any(|known| known.2 == id && known.0 != lease);
                    assert_eq!(kept, others, "an item is kept if somebody else holds it");
                    if !kept {
                        self.model.end(lease, false);
                    }
                }
            }
            Step::Features(first, count) => {
                let fits = |doing: &Doing, lease| *doing == Doing::Encoding(lease);
                let Some((client, leases)) = self.choose(first, count, fits) else { return };
                self.cache.publish_features(ClientId(client), &ids(&leases)).expect("it encodes them");
                for lease in leases {
                    self.model.of(lease).doing = Doing::Ready;
                    self.model.end(lease, false);
                }
            }
            Step::Fail(first) => {
                let fits = |doing: &Doing, lease| *doing == Doing::Encoding(lease);
                let Some((client, leases)) = self.choose(first, 1, fits) else { return };
                self.cache.fail(ClientId(client), LeaseId(leases[0]), "no image").expect("it encodes it");
                self.model.of(leases[0]).doing = Doing::Failed;
                self.model.decide();
                self.model.end(leases[0], false);
            }
            Step::Lease(client, keys) => {
                let client = self.clients[client as usize];
                let wanted: Vec<Key> = keys.iter().map(|key| Key([*key; 16])).collect();
                let granted = self.cache.lease(ClientId(client), &wanted).expect("few keys");
                for (granted, key) in granted.iter().zip(keys) {
                    let index = self.model.find(key).filter(|index| self.model.items[*index].doing == Doing::Ready);
                    let expected = index.map(|index| self.model.hold(client, index));
                    assert_eq!(granted.as_ref().map(told), expected);
                }
            }
            Step::Release(first, count) => {
                let Some((client, leases)) = self.choose(first, count, |_, _| true) else { return };
                let before = self.cache.stats();
                self.cache.release(ClientId(client + 1000), &ids(&leases));
                assert_eq!(self.cache.stats().bad_releases, before.bad_releases + leases.len() as u64);
                self.cache.release(ClientId(client), &ids(&leases));
                for lease in leases {
                    self.model.end(lease, false);
                }
            }
            Step::Cancel(call) => {
                for client in self.clients.clone() {
                    self.cache.cancel(ClientId(client), RequestId(call));
                    self.forget(client, Some(call));
                    self.model.settle();
                }
            }
            Step::Leave(client, died) => self.leave(client as usize, died),
        }
        self.model.settle();
        self.compare();
    }

    fn leave(&mut self, index: usize, died: bool) {
        let client = self.clients[index];
        self.cache.disconnect(ClientId(client), died);
        self.forget(client, None);
        let leases: Vec<u64> =
            self.model.leases.iter().filter(|lease| lease.1 == client).map(|lease| lease.0).collect();
        for lease in leases {
            self.model.end(lease, died);
        }
        self.clients[index] += CLIENTS;
        self.cache.connect(ClientId(self.clients[index]));
    }

    fn forget(&mut self, client: u64, call: Option<u64>) {
        let other = |of: u64, its: u64| of != client || call.is_some_and(|call| call != its);
        let first = self.model.waiters.first().cloned();
        self.model.waiters.retain(|waiter| other(waiter.0, waiter.1));
        if first.as_ref() != self.model.waiters.first() {
            self.model.overtaken = 0;
        }
        self.model.waits.retain(|wait| other(wait.0, wait.1));
        self.model.takes.retain(|take| other(take.0, take.1));
    }

    fn compare(&mut self) {
        self.cache.check();
        let mut said: Vec<(u64, u64, Said)> = self.cache.take_events().iter().map(heard).collect();
        let mut expected = std::mem::take(&mut self.model.said);
        // Several waits that one change decides are answered in any order.
        said.sort_by_key(|event| event.1);
        expected.sort_by_key(|event| event.1);
        assert_eq!(said, expected);
        let stats = self.cache.stats();
        assert_eq!(stats.used_bytes, (PAGES - self.model.free()) * PAGE_BYTES);
        assert_eq!(stats.leases, self.model.leases.len() as u64);
        assert_eq!(stats.items, self.model.items.len() as u64);
        assert_eq!(stats.waiters, self.model.waiters.len() as u64);
        assert_eq!(stats.waits, self.model.waits.len() as u64);
    }
}

fn ids(leases: &[u64]) -> Vec<LeaseId> {
    leases.iter().copied().map(LeaseId).collect()
}

fn state(state: &LeaseState) -> State {
    match state {
        LeaseState::Write => State::Write,
        LeaseState::Pending => State::Pending,
        LeaseState::Ready => State::Ready,
        LeaseState::Failed(_) => State::Failed,
    }
}

fn told(granted: &Granted) -> (u64, u8, State) {
    (granted.lease.0, granted.key.0[0], state(&granted.state))
}

fn heard(event: &Event) -> (u64, u64, Said) {
    let said = match &event.answer {
        Answer::Leased(items) => Said::Leased(items.iter().map(told).collect()),
        Answer::Decided(states) => Said::Decided(states.iter().map(state).collect()),
        Answer::Refused(_) => Said::Refused,
    };
    (event.client.0, event.request.0, said)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn the_cache_does_what_the_model_does(steps in prop::collection::vec(step(), 1..150)) {
        let mut pair = Pair::new();
        for step in steps {
            pair.step(step);
        }
        for index in 0..CLIENTS as usize {
            pair.leave(index, index == 0);
            pair.model.settle();
            pair.compare();
        }
        let stats = pair.cache.stats();
        prop_assert_eq!((stats.leases, stats.waiters, stats.waits, stats.queued), (0, 0, 0, 0));
        prop_assert_eq!(stats.used_bytes, stats.idle_bytes, "only what is ready stays");
    }
}

#[test]
fn a_sabotaged_model_is_found_out() {
    let found = std::panic::catch_unwind(|| {
        let mut pair = Pair::new();
        pair.step(Step::Acquire(0, vec![1]));
        pair.model.items[0].key = 2;
        pair.step(Step::Acquire(1, vec![1]));
    });
    assert!(found.is_err(), "the comparison sees nothing");
}

#[test]
fn random_steps_come_everywhere() {
    let mut runner = TestRunner::deterministic();
    let mut sum = [0; 8];
    for _ in 0..200 {
        let steps = prop::collection::vec(step(), 150).new_tree(&mut runner).expect("steps").current();
        let mut pair = Pair::new();
        let mut overtaken = 0;
        for step in steps {
            pair.step(step);
            overtaken = overtaken.max(pair.model.overtaken);
        }
        let stats = pair.cache.stats();
        let counts = [stats.hits, stats.joins, stats.encoded, stats.failures, stats.evictions, stats.waited];
        for (sum, count) in sum.iter_mut().zip(counts.into_iter().chain([stats.abandoned, overtaken.into()])) {
            *sum += count;
        }
    }
    assert!(
        sum.iter().all(|count| *count >= 100),
        "rare: hits, joins, encoded, failures, evictions, waited, abandoned {sum:?}"
    );
}
