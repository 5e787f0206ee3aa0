//! Tenants that always have something waiting are served alike.

use lightllm_router::{ImageSpan, OrderConfig, Request, SchedulerConfig};
use proptest::prelude::*;

use crate::server::{SECOND, Server, Track, config, request};

/// Sizes of a tenant's requests.
type Sizes = Vec<(u32, u32)>;

fn sizes() -> impl Strategy<Value = Sizes> {
    prop::collection::vec((1u32..60, 1u32..60), 1..5)
}

/// Serves tenants that each keep five requests waiting, more than can be taken at once, so that none of them is ever
/// without. The largest difference, over all steps, between the tokens that any two of them were served.
fn largest_difference(tenants: &[Sizes], config: SchedulerConfig, steps: usize) -> u64 {
    let mut server = Server::new(config, SECOND / 100);
    let mut counts = vec![0; tenants.len()];
    let mut largest = 0;
    for _ in 0..steps {
        for (tenant, sizes) in tenants.iter().enumerate() {
            let tracks = server.tracks.values().filter(|track| track.request.tenant == tenant as u64);
            let waiting = tracks.filter(|track| track.admitted.is_none()).count();
            for _ in waiting..5 {
                let (prompt, max_tokens) = sizes[counts[tenant] % sizes.len()];
                let number = (counts[tenant] * tenants.len() + tenant) as u64;
                server.add(Request { tenant: tenant as u64, ..request(number, prompt, max_tokens) });
                counts[tenant] += 1;
            }
        }
        server.step();
        let tokens = || (0..tenants.len() as u64).map(|tenant| server.served.get(&tenant).copied().unwrap_or(0));
        largest = largest.max(tokens().max().unwrap_or(0) - tokens().min().unwrap_or(0));
    }
    largest
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Where there are pages for all, no two tenants are ever further apart than a quantum and what one request can
    /// cost, or as many requests as can run, since they are paid for as they generate.
    #[test]
    fn tenants_stay_together(
        tenants in prop::collection::vec(sizes(), 2..5),
        tenant_quantum in 1u32..200,
        slots in 1u32..4,
    ) {
        let order = OrderConfig { tenant_quantum, priority_age_ns: 0, ..OrderConfig::default() };
        let config = SchedulerConfig { slots, pages: 256, debug_checks: false, ..config(order) };
        let costs = tenants.iter().flatten().map(|(prompt, max_tokens)| prompt + max_tokens);
        let bound = u64::from(tenant_quantum + slots * costs.max().expect("there are requests"));
        let difference = largest_difference(&tenants, config, 1500);
        prop_assert!(difference <= bound, "{} tokens apart, more than {}", difference, bound);
    }
}

/// Where one tenant's requests do not fit, those of another overtake them, but no more than eight quanta long.
#[test]
fn what_does_not_fit_is_overtaken_but_not_forgotten() {
    let tenants = [vec![(42, 55)], vec![(31, 26)]];
    let difference = |tenant_quantum| {
        let order = OrderConfig { tenant_quantum, priority_age_ns: 0, ..OrderConfig::default() };
        largest_difference(&tenants, SchedulerConfig { slots: 3, ..config(order) }, 1500)
    };
    assert!(difference(1) <= (1 + 8) + 3 * 97);
    assert!(difference(100) <= (1 + 8) * 100 + 3 * 97);
    assert!(difference(100) > 4 * 100 + 3 * 97, "it is overtaken");
}

/// Of one tenant each prompt is admitted twice, the first time for what comes before an image: it pays for each token
/// once. Both have the same requests otherwise, and always several that could run.
#[test]
fn who_waits_for_images_pays_once() {
    let order = OrderConfig { tenant_quantum: 20, priority_age_ns: 0, ..OrderConfig::default() };
    let config = SchedulerConfig { prefix_cache: true, pages: 512, ..config(order) };
    let mut server = Server::new(config, SECOND / 100);
    let (mut count, mut largest) = (0, 0);
    for _ in 0..1500 {
        for tenant in 0..2 {
            let unfinished = |it: &&Track| it.request.tenant == tenant && it.finished.is_none();
            for _ in server.tracks.values().filter(unfinished).count()..10 {
                let images = vec![ImageSpan { start: 40, tokens: 10, ready: tenant == 1 }];
                server.add(Request { tenant, images, ..request(count, 60, 10) });
                count += 1;
            }
        }
        server.step();
        let ran: Vec<_> =
            server.tracks.iter().filter(|(_, track)| track.admitted.is_some()).map(|(id, _)| *id).collect();
        for id in ran {
            server.scheduler.image_ready(id, 0, server.now).expect("it has an image");
        }
        let tokens = |tenant| server.served.get(&tenant).copied().unwrap_or(0);
        largest = largest.max(u64::abs_diff(tokens(0), tokens(1)));
    }
    assert!(server.scheduler.stats().totals.ahead > 50);
    assert!(largest <= 20 + 4 * 70, "{largest} tokens apart");
}

/// Equal numbers of requests are not equal shares: the test above is able to fail.
#[test]
fn first_come_first_served_is_not_fair() {
    let tenants = [vec![(50, 50)], vec![(5, 5)]];
    let one_tenant_each = |tenant_quantum| OrderConfig { tenant_quantum, ..OrderConfig::default() };
    let fair = config(one_tenant_each(20));
    assert!(largest_difference(&tenants, fair, 1000) <= 20 + 2 * 100);
    // With such a quantum nobody's turn ever ends.
    let first_come = config(one_tenant_each(1 << 30));
    assert!(largest_difference(&tenants, first_come, 1000) > 1000);
}
