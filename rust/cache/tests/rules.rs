//! The rules one by one, told as short stories.

use lightllm_cache::{
    Answer, BYPASS_LIMIT, Bounds, Cache, ClientId, Error, Granted, Key, LeaseId, LeaseState, Record, RequestId, Want,
};

const HTTP: ClientId = ClientId(1);
const OTHER: ClientId = ClientId(2);
const VISUAL: ClientId = ClientId(3);
const PAGE: u64 = 4096;

struct Story {
    cache: Cache,
    calls: u64,
}

impl Story {
    fn new(pages: u32) -> Self {
        let records: Vec<Record> = (0..pages).map(|_| Record::new()).collect();
        let mut cache = Cache::new(pages, PAGE, Box::new(records));
        for client in [HTTP, OTHER, VISUAL] {
            cache.connect(client);
        }
        Self { cache, calls: 0 }
    }

    fn call(&mut self) -> RequestId {
        self.calls += 1;
        RequestId(self.calls)
    }

    /// The only answer since the last look.
    fn answer(&mut self) -> Option<Answer> {
        self.cache.check();
        let mut events = self.cache.take_events();
        assert!(events.len() < 2, "{events:?}");
        events.pop().map(|event| event.answer)
    }

    fn acquire(&mut self, client: ClientId, wants: &[(u8, u64)]) -> Option<Vec<Granted>> {
        let request = self.call();
        let wants = wants.iter().map(|(key, pages)| want(*key, *pages)).collect();
        self.cache.acquire(client, request, wants).expect("it fits the arena");
        self.leased()
    }

    fn leased(&mut self) -> Option<Vec<Granted>> {
        match self.answer()? {
            Answer::Leased(items) => Some(items),
            other => panic!("{other:?}"),
        }
    }

    fn take(&mut self, items: u32, pixels: u64) -> Option<Vec<Granted>> {
        self.take_within(Bounds { items, pixels, original_pixels: 0 })
    }

    fn take_within(&mut self, bounds: Bounds) -> Option<Vec<Granted>> {
        let request = self.call();
        self.cache.take(VISUAL, request, bounds).expect("some");
        self.leased()
    }

    /// Written items whose originals have so many pixels, and the leases of their writer.
    fn write(&mut self, items: &[(u8, u64)]) -> Vec<LeaseId> {
        let request = self.call();
        let wants =
            items.iter().map(|(key, original_pixels)| Want { original_pixels: *original_pixels, ..want(*key, 1) });
        self.cache.acquire(HTTP, request, wants.collect()).expect("it fits the arena");
        let leases: Vec<LeaseId> = self.leased().expect("room").iter().map(|item| item.lease).collect();
        self.cache.publish(HTTP, &leases).expect("it writes");
        leases
    }

    /// Makes an item ready, and returns the lease of its writer.
    fn encode(&mut self, client: ClientId, key: u8, pages: u64) -> LeaseId {
        let writer = self.acquire(client, &[(key, pages)]).expect("there is room")[0].lease;
        self.cache.publish(client, &[writer]).expect("it writes");
        let encoder = self.take(1, 0).expect("there is work")[0].lease;
        self.cache.publish_features(VISUAL, &[encoder]).expect("it encodes");
        writer
    }

    fn decided(&mut self) -> Vec<LeaseState> {
        match self.answer().expect("an answer") {
            Answer::Decided(states) => states,
            other => panic!("{other:?}"),
        }
    }
}

/// An item of so many pages of features, and one of data.
fn want(key: u8, pages: u64) -> Want {
    let recipe = Box::from([key]);
    Want { key: Key([key; 16]), data_len: 1, feature_len: pages * PAGE, pixels: 10, original_pixels: 0, recipe }
}

#[test]
fn a_hundred_requests_for_one_image_are_one_encoding() {
    let mut it = Story::new(8);
    let first = it.acquire(HTTP, &[(1, 2)]).expect("room");
    assert_eq!(first[0].state, LeaseState::Write);
    let mut waiting = Vec::new();
    for _ in 0..99 {
        let item = &it.acquire(OTHER, &[(1, 2)]).expect("no room is needed")[0];
        assert_eq!(item.state, LeaseState::Pending);
        waiting.push(item.lease);
    }
    let request = it.call();
    it.cache.wait(OTHER, request, waiting).expect("held");
    assert!(it.answer().is_none());
    it.cache.publish(HTTP, &[first[0].lease]).expect("it writes");
    let taken = it.take(8, 0).expect("work");
    assert_eq!(taken.len(), 1);
    assert_eq!(*taken[0].recipe, [1]);
    assert!(it.take(8, 0).is_none(), "there is no more");
    it.cache.publish_features(VISUAL, &[taken[0].lease]).expect("it encodes");
    assert_eq!(it.decided(), vec![LeaseState::Ready; 99]);
    let stats = it.cache.stats();
    assert_eq!((stats.queries, stats.hits, stats.joins, stats.encoded), (100, 0, 99, 1));
    assert_eq!(stats.used_bytes, 2 * PAGE, "the original is gone");
    assert_eq!(it.acquire(HTTP, &[(1, 2)]).expect("a hit")[0].state, LeaseState::Ready);
}

#[test]
fn the_oldest_that_nobody_holds_goes_first() {
    let mut it = Story::new(9);
    let leases: Vec<LeaseId> = (1..=4).map(|key| it.encode(HTTP, key, 2)).collect();
    for index in [1, 0, 3] {
        it.cache.release(HTTP, &leases[index..=index]);
    }
    let new = it.acquire(OTHER, &[(5, 2)]).expect("two go");
    assert_eq!(new[0].state, LeaseState::Write);
    let keys: Vec<Key> = (1..=4).map(|key| Key([key; 16])).collect();
    let there: Vec<bool> = it.cache.lease(OTHER, &keys).expect("few").iter().map(Option::is_some).collect();
    assert_eq!(there, [true, false, true, true], "2 was given back first, 3 is held");
    assert_eq!(it.cache.stats().evictions, 1);
}

#[test]
fn who_waits_for_room_holds_nothing_and_is_served_in_order() {
    let mut it = Story::new(10);
    let held = [it.encode(HTTP, 1, 3), it.encode(HTTP, 4, 4)];
    assert!(it.acquire(OTHER, &[(1, 3), (2, 3)]).is_none(), "3 pages are free, and 4 are needed");
    assert!(it.acquire(OTHER, &[(3, 1)]).is_none(), "it would fit, but has to wait behind the first");
    assert_eq!(it.cache.stats().leases, 2, "the waiting call has no lease of what is there");
    for _ in 0..BYPASS_LIMIT {
        let hit = it.acquire(HTTP, &[(1, 3)]).expect("it needs no room")[0].lease;
        it.cache.release(HTTP, &[hit]);
    }
    assert!(it.acquire(HTTP, &[(1, 3)]).is_none(), "even those do not overtake for ever");
    assert_eq!((it.cache.stats().waiters, it.cache.stats().waited), (3, 3));
    it.cache.release(HTTP, &held[1..]);
    let order: Vec<Vec<LeaseState>> = it
        .cache
        .take_events()
        .into_iter()
        .map(|event| match event.answer {
            Answer::Leased(items) => items.into_iter().map(|item| item.state).collect(),
            other => panic!("{other:?}"),
        })
        .collect();
    let (write, ready) = (LeaseState::Write, LeaseState::Ready);
    assert_eq!(order, [vec![ready.clone(), write.clone()], vec![write], vec![ready]]);
}

#[test]
fn a_call_never_evicts_what_it_wants_itself() {
    let mut it = Story::new(8);
    for key in [1, 2] {
        let lease = it.encode(HTTP, key, 3);
        it.cache.release(HTTP, &[lease]);
    }
    let items = it.acquire(HTTP, &[(3, 3), (1, 3)]).expect("2 goes, though 1 is older");
    assert_eq!([&items[0].state, &items[1].state], [&LeaseState::Write, &LeaseState::Ready]);
}

#[test]
fn what_can_never_fit_is_refused_with_the_sum() {
    let mut it = Story::new(8);
    let error = it.cache.acquire(HTTP, RequestId(1), vec![want(1, 3), want(2, 4), want(1, 3)]).expect_err("9 pages");
    assert_eq!(error, Error::TooLarge { needed: 9 * PAGE, total: 8 * PAGE });
    assert!(error.to_string().contains("36864 bytes"), "{error}");
    let wild = Want { data_len: u64::MAX, feature_len: u64::MAX, ..want(1, 1) };
    assert!(matches!(it.cache.acquire(HTTP, RequestId(1), vec![wild]), Err(Error::TooLarge { .. })));
}

#[test]
fn when_the_writer_is_gone_the_next_holder_writes() {
    let mut it = Story::new(8);
    let writer = it.acquire(HTTP, &[(1, 1)]).expect("room")[0].lease;
    let next = it.acquire(OTHER, &[(1, 1)]).expect("there")[0].lease;
    let request = it.call();
    it.cache.wait(OTHER, request, vec![next]).expect("held");
    it.cache.disconnect(HTTP, true);
    assert_eq!(it.decided(), [LeaseState::Write]);
    assert!(it.cache.publish(HTTP, &[writer]).is_err());
    it.cache.publish(OTHER, &[next]).expect("it writes now");
    assert_eq!(it.take(1, 0).expect("work").len(), 1);
}

#[test]
fn an_item_that_kills_encoders_is_encoded_alone_and_then_given_up() {
    let mut it = Story::new(12);
    let leases: Vec<LeaseId> = (1..=3).map(|key| it.acquire(HTTP, &[(key, 1)]).expect("room")[0].lease).collect();
    it.cache.publish(HTTP, &leases).expect("it writes");
    assert_eq!(it.take(2, 0).expect("work").len(), 2);
    let request = it.call();
    it.cache.wait(HTTP, request, leases[..1].to_vec()).expect("held");
    for _ in 0..2 {
        it.cache.disconnect(VISUAL, true);
        it.cache.connect(VISUAL);
        let first = it.take(8, 0).expect("it has another try");
        assert_eq!((first.len(), first[0].key), (1, Key([1; 16])), "the two come back first, each alone");
        assert!(it.take(8, 0).is_none(), "nothing else is at hand when it kills");
    }
    it.cache.disconnect(VISUAL, true);
    it.cache.connect(VISUAL);
    assert!(matches!(&it.decided()[..], [LeaseState::Failed(reason)] if reason.contains("died 3 times")));
    let second = it.take(8, 0).expect("work");
    assert_eq!((second.len(), second[0].key), (1, Key([2; 16])));
    it.cache.publish_features(VISUAL, &[second[0].lease]).expect("it was not its fault");
    it.cache.disconnect(VISUAL, false);
    it.cache.connect(VISUAL);
    assert_eq!(it.acquire(OTHER, &[(1, 1)]).expect("room")[0].state, LeaseState::Write, "it may be tried anew");
}

/// An encoder asks for the next items while it has some: what it may have died of comes only when it has none.
#[test]
fn an_item_under_suspicion_waits_for_empty_hands() {
    let mut it = Story::new(12);
    it.cache.connect(ClientId(4));
    let leases: Vec<LeaseId> = (1..=4).map(|key| it.acquire(HTTP, &[(key, 1)]).expect("room")[0].lease).collect();
    it.cache.publish(HTTP, &leases[..1]).expect("it writes");
    let request = it.call();
    it.cache.take(ClientId(4), request, Bounds { items: 1, pixels: 0, original_pixels: 0 }).expect("some");
    assert_eq!(it.leased().expect("work")[0].key, Key([1; 16]));
    it.cache.publish(HTTP, &leases[1..3]).expect("it writes");
    let busy = it.take(1, 0).expect("work")[0].lease;
    it.cache.disconnect(ClientId(4), true);
    assert!(it.take(8, 0).is_none(), "the first is under suspicion, and these hands are full");
    it.cache.publish_features(VISUAL, &[busy]).expect("it encodes");
    let alone = it.leased().expect("its hands are empty");
    assert_eq!((alone.len(), alone[0].key), (1, Key([1; 16])));
    it.cache.connect(ClientId(5));
    let request = it.call();
    it.cache.take(ClientId(5), request, Bounds { items: 8, pixels: 0, original_pixels: 0 }).expect("some");
    assert_eq!(it.leased().expect("another goes on meanwhile")[0].key, Key([3; 16]));
    it.cache.publish(HTTP, &leases[3..]).expect("it writes");
    assert!(it.take(8, 0).is_none(), "nothing shares the end of what is under suspicion");
    it.cache.publish_features(VISUAL, &[alone[0].lease]).expect("it did no harm");
    assert_eq!(it.leased().expect("as before")[0].key, Key([4; 16]));
}

#[test]
fn an_encoder_that_stops_gives_its_items_back_unharmed() {
    let mut it = Story::new(8);
    for _ in 0..5 {
        let lease = it.acquire(HTTP, &[(1, 1)]).expect("room")[0].lease;
        it.cache.publish(HTTP, &[lease]).expect("it writes");
        for _ in 0..5 {
            let taken = it.take(1, 0).expect("work")[0].lease;
            it.cache.release(VISUAL, &[taken]);
        }
        it.cache.release(HTTP, &[lease]);
        assert_eq!(it.cache.stats().used_bytes, 0, "nobody wants it any more");
    }
}

/// Two that wait for both of two items, of which each is now to write one: neither may wait for the other to begin.
#[test]
fn who_is_to_write_is_told_though_other_items_are_pending() {
    let mut it = Story::new(8);
    for client in [ClientId(4), ClientId(5)] {
        it.cache.connect(client);
    }
    let (one, two) = (ClientId(4), ClientId(5));
    it.acquire(one, &[(1, 1)]).expect("room");
    it.acquire(two, &[(2, 1)]).expect("room");
    let first = it.acquire(HTTP, &[(1, 1)]).expect("there")[0].lease;
    let second = it.acquire(OTHER, &[(2, 1)]).expect("there")[0].lease;
    let other_two = it.acquire(HTTP, &[(2, 1)]).expect("there")[0].lease;
    let other_one = it.acquire(OTHER, &[(1, 1)]).expect("there")[0].lease;
    for (client, leases) in [(HTTP, vec![first, other_two]), (OTHER, vec![second, other_one])] {
        let request = it.call();
        it.cache.wait(client, request, leases).expect("held");
        assert!(it.answer().is_none());
    }
    for (writer, lease) in [(one, first), (two, second)] {
        it.cache.disconnect(writer, true);
        assert_eq!(it.decided(), [LeaseState::Write, LeaseState::Pending]);
        let heir = if lease == first { HTTP } else { OTHER };
        it.cache.publish(heir, &[lease]).expect("it writes");
    }
    assert_eq!(it.take(8, 0).expect("both").len(), 2);
}

#[test]
fn encoders_get_as_much_as_they_ask_for() {
    let mut it = Story::new(20);
    let leases: Vec<LeaseId> = (1..=6).map(|key| it.acquire(HTTP, &[(key, 1)]).expect("room")[0].lease).collect();
    it.cache.publish(HTTP, &leases).expect("it writes");
    let keys =
        |items: Option<Vec<Granted>>| -> Vec<u8> { items.expect("work").iter().map(|item| item.key.0[0]).collect() };
    assert_eq!(keys(it.take(10, 25)), [1, 2], "10 pixels each");
    assert_eq!(keys(it.take(10, 5)), [3], "the first may have more");
    assert_eq!(keys(it.take(1, 0)), [4]);
    assert_eq!(keys(it.take(10, 0)), [5, 6]);
    assert!(it.cache.take(VISUAL, RequestId(0), Bounds { items: 0, pixels: 0, original_pixels: 0 }).is_err());
}

#[test]
fn small_images_wait_for_one_large_one_each_at_most() {
    let mut it = Story::new(80);
    let huge: Vec<(u8, u64)> = (0..30).map(|key| (key, 50_000)).collect();
    it.write(&huge);
    it.write(&[(100, 10), (101, 30), (102, 20)]);
    let mut order = Vec::new();
    while let Some(taken) = it.take(1, 0) {
        order.push(taken[0].key.0[0]);
    }
    assert_eq!(order[..8], [0, 100, 1, 102, 2, 101, 3, 4], "by age and by size in turn");
    assert_eq!(order[8..], (5..30).collect::<Vec<u8>>());
}

#[test]
fn large_images_get_every_other_turn_however_many_small_ones_come() {
    let mut it = Story::new(80);
    it.write(&[(0, 50_000), (1, 60_000)]);
    let mut order = Vec::new();
    for key in 2..8 {
        it.write(&[(key, 10)]);
        order.push(it.take(1, 0).expect("work")[0].key.0[0]);
    }
    assert_eq!(order, [0, 2, 1, 3, 4, 5], "both large ones are among the first three");
}

#[test]
fn a_take_keeps_to_the_pixels_of_originals() {
    let mut it = Story::new(80);
    it.write(&[(0, 900), (1, 5), (2, 80), (3, 5), (4, 5)]);
    let bounds = Bounds { items: 9, pixels: 0, original_pixels: 100 };
    let mut taken = Vec::new();
    while let Some(items) = it.take_within(bounds) {
        taken.push(items.iter().map(|item| item.key.0[0]).collect::<Vec<u8>>());
    }
    assert_eq!(taken, [vec![0], vec![1, 2, 3, 4]], "the first may have more, and then it goes alone");
}

#[test]
fn an_item_that_nobody_waits_for_is_let_go_before_it_is_encoded() {
    let mut it = Story::new(20);
    let leases = it.write(&[(1, 10), (2, 10), (3, 10)]);
    let taken: Vec<LeaseId> = it.take(3, 0).expect("work").iter().map(|item| item.lease).collect();
    assert_eq!(it.cache.keep(VISUAL, &taken), Ok(vec![true; 3]));
    it.cache.release(HTTP, &leases[..2]);
    it.acquire(OTHER, &[(2, 1)]).expect("it is there"); // somebody else wants this one
    let before = it.cache.stats();
    assert_eq!(it.cache.keep(VISUAL, &taken), Ok(vec![false, true, true]));
    let after = it.cache.stats();
    assert_eq!((after.items, after.abandoned), (2, 1));
    assert_eq!(before.used_bytes - after.used_bytes, 2 * PAGE, "its pages are free at once");
    assert!(it.cache.keep(VISUAL, &taken[..1]).is_err() && it.cache.keep(HTTP, &taken[1..]).is_err());
    assert!(it.take(1, 0).is_none(), "it is not queued again");
    it.cache.publish_features(VISUAL, &taken[1..]).expect("it encodes the others");
}

#[test]
fn what_is_given_up_before_it_is_encoded_is_counted() {
    let mut it = Story::new(20);
    let abandoned = |it: &Story| it.cache.stats().abandoned;
    let reserved = it.acquire(HTTP, &[(1, 1)]).expect("room")[0].lease;
    it.cache.release(HTTP, &[reserved]);
    assert_eq!(abandoned(&it), 1, "never written");
    let written = it.write(&[(2, 10), (3, 10)]);
    it.cache.release(HTTP, &written[..1]);
    assert_eq!(abandoned(&it), 2, "never taken");
    it.take(1, 0).expect("work");
    it.cache.release(HTTP, &written[1..]);
    assert_eq!(abandoned(&it), 2, "its encoder has not asked");
    it.cache.disconnect(VISUAL, true);
    assert_eq!(abandoned(&it), 3, "its encoder died, and nobody waits for it");
    it.cache.connect(VISUAL);
    let ready = it.encode(HTTP, 4, 1);
    it.cache.release(HTTP, &[ready]);
    let failed = it.write(&[(5, 10)]);
    let encoder = it.take(1, 0).expect("work")[0].lease;
    it.cache.fail(VISUAL, encoder, "it is damaged").expect("it encodes it");
    it.cache.release(HTTP, &failed);
    assert_eq!(abandoned(&it), 3, "one was encoded, and one could not be");
}

#[test]
fn a_cancelled_call_leaves_nothing_behind() {
    let mut it = Story::new(4);
    let held = it.acquire(HTTP, &[(1, 3)]).expect("room")[0].lease;
    assert!(it.acquire(OTHER, &[(2, 1)]).is_none());
    it.cache.cancel(OTHER, RequestId(it.calls));
    assert!(it.take(1, 0).is_none());
    it.cache.cancel(VISUAL, RequestId(it.calls));
    let request = it.call();
    it.cache.wait(HTTP, request, vec![held]).expect("held");
    assert_eq!(it.decided(), [LeaseState::Write], "there is nothing to wait for: it writes");
    it.cache.publish(HTTP, &[held]).expect("it writes");
    let request = it.call();
    it.cache.wait(HTTP, request, vec![held]).expect("held");
    it.cache.cancel(HTTP, request);
    let stats = it.cache.stats();
    assert_eq!((stats.waiters, stats.waits, stats.queued), (0, 0, 1));
    assert!(it.answer().is_none());
}

#[test]
fn calls_that_break_the_contract_change_nothing() {
    let mut it = Story::new(8);
    let lease = it.acquire(HTTP, &[(1, 1)]).expect("room")[0].lease;
    let request = RequestId(99);
    let twice = [lease, lease];
    assert!(it.cache.publish(OTHER, &[lease]).is_err(), "another's");
    assert!(it.cache.publish(HTTP, &twice).is_err() && it.cache.publish(HTTP, &[]).is_err());
    assert!(it.cache.publish(HTTP, &[lease, LeaseId(77)]).is_err(), "all or none");
    assert!(it.cache.publish_features(HTTP, &[lease]).is_err() && it.cache.fail(HTTP, lease, "no").is_err());
    assert!(it.cache.wait(OTHER, request, vec![lease]).is_err());
    assert!(it.cache.acquire(HTTP, request, vec![]).is_err());
    assert!(it.cache.acquire(HTTP, request, vec![Want { data_len: 0, ..want(2, 1) }]).is_err());
    assert!(it.cache.acquire(HTTP, request, vec![Want { recipe: vec![0; 5000].into(), ..want(2, 1) }]).is_err());
    assert!(it.cache.acquire(HTTP, request, vec![want(1, 2)]).is_err(), "the key has other sizes");
    assert!(it.cache.acquire(HTTP, request, vec![want(2, 1), want(2, 2)]).is_err());
    assert!(it.answer().is_none());
    let stats = it.cache.stats();
    assert_eq!((stats.leases, stats.items, stats.waiters, stats.waits), (1, 1, 0, 0));
    it.cache.publish(HTTP, &[lease]).expect("it writes still");
}
