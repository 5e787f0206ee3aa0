//! A request that does not fit: others overtake it, but not for ever.

use lightllm_router::{OrderConfig, PolicyConfig, Request, SchedulerConfig};
use proptest::prelude::*;

use crate::server::{SECOND, Server, config, request};

/// Where a big request comes into a stream of small ones: how many come to run between its arrival and its admission,
/// though they came later.
fn overtakers(bypass_limit: u32, policy: PolicyConfig, small: &[(u32, u32)]) -> usize {
    let order = OrderConfig { bypass_limit, ..OrderConfig::default() };
    let config = SchedulerConfig { slots: 4, policy, ..config(order) };
    let mut server = Server::new(config, SECOND / 1000);
    let mut number = 0;
    let mut big = None;
    while server.steps < 6000 {
        while server.queued() < 6 {
            let (prompt, max_tokens) = small[number % small.len()];
            server.add(request(number as u64, prompt, max_tokens));
            number += 1;
        }
        if server.steps == 20 {
            // All of the cache but one page.
            big = Some(server.add(request(4000, 240, 10)));
        }
        server.step();
        if let Some(big) = big
            && let Some(place) = server.track(big).admitted
        {
            return server.admitted[..place].iter().filter(|other| **other > big).count();
        }
    }
    panic!("the big request is starved by small ones: {:?}", server.scheduler.stats());
}

fn any_policy() -> impl Strategy<Value = PolicyConfig> {
    let names = prop::sample::select(vec!["conservative", "aggressive", "ema", "past_future"]);
    names.prop_map(|name| PolicyConfig::from_name(name).expect("a name of the list"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// It is overtaken by as many as the limit says, and then it runs.
    #[test]
    fn the_big_one_is_not_starved(
        bypass_limit in 0u32..40,
        policy in any_policy(),
        small in prop::collection::vec((1u32..30, 1u32..30), 1..5),
    ) {
        let overtaken = overtakers(bypass_limit, policy, &small);
        prop_assert!(overtaken <= bypass_limit as usize, "{} overtook it", overtaken);
    }
}

#[test]
fn small_ones_are_not_blocked_meanwhile() {
    let small = [(8, 8), (12, 12)];
    assert_eq!(overtakers(0, PolicyConfig::Conservative, &small), 0);
    assert_eq!(overtakers(25, PolicyConfig::Conservative, &small), 25);
}

/// Behind one that never stops being too big, the same numbers go through again and again, as each big one is served.
#[test]
fn a_stream_of_both_goes_on() {
    let order = OrderConfig { bypass_limit: 5, ..OrderConfig::default() };
    let mut server = Server::new(config(order), SECOND / 1000);
    for number in 0..60 {
        let big = number % 6 == 0;
        server.add(if big { request(number, 200, 40) } else { request(number, 8, 8) });
    }
    server.finish();
    let places = |big: bool| {
        let tracks = server.tracks.iter().filter(move |(id, _)| (id.0 % 6 == 0) == big);
        tracks.map(|(_, track)| track.admitted.expect("all were served")).collect::<Vec<_>>()
    };
    assert!(places(true).is_sorted() && places(false).is_sorted(), "equals go in the order in which they came");
    for (index, place) in places(true).into_iter().enumerate() {
        assert!(place <= index * 6 + 5, "big one {index} was the {place}th");
    }
}

#[test]
fn who_is_ahead_in_order_is_no_overtaker() {
    let order = OrderConfig { bypass_limit: 1, ..OrderConfig::default() };
    let mut server = Server::new(config(order), SECOND / 1000);
    server.add(request(0, 100, 100));
    server.step();
    let big = server.add(request(1, 200, 40));
    let urgent: Vec<_> = (2..8).map(|n| server.add(Request { priority: -1, ..request(n, 8, 8) })).collect();
    server.finish();
    let last = server.track(*urgent.last().expect("six")).admitted;
    assert!(last < server.track(big).admitted, "a better priority needs no bypass");
}
