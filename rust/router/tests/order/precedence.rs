//! Aged priority, then the tenant, then the deadline, then the prefix group, then the arrival.

use lightllm_router::{Error, OrderConfig, Request, RequestId, SchedulerConfig};
use proptest::prelude::*;

use crate::server::{SECOND, Server, config, request};

/// What decides about a request.
#[derive(Clone, Copy, Debug)]
struct Keys {
    priority: i32,
    tenant: u64,
    /// Seconds to its deadline.
    deadline_s: Option<u64>,
    /// Which of some long prompts it begins with, if any.
    group: Option<u32>,
}

fn keys() -> impl Strategy<Value = Keys> {
    let deadline = prop::option::of(prop_oneof![Just(20u64), Just(30), Just(200)]);
    (-2i32..2, 0u64..3, deadline, prop::option::of(0u32..2)).prop_map(|(priority, tenant, deadline_s, group)| Keys {
        priority,
        tenant,
        deadline_s,
        group,
    })
}

/// Admissions where all come at once, and run one after the other.
fn admitted(order: OrderConfig, all: &[Keys]) -> Vec<usize> {
    let config = SchedulerConfig { slots: 1, prefix_cache: true, queue_requests: 1000, ..config(order) };
    let mut server = Server::new(config, SECOND / 1_000_000);
    for (number, keys) in all.iter().enumerate() {
        let plain = request(number as u64 + 100, 2, 1);
        let prefix = keys.group.map_or(0..0, |group| group << 20..(group << 20) + 8);
        server.add(Request {
            priority: keys.priority,
            tenant: keys.tenant,
            deadline: keys.deadline_s.map(|seconds| seconds * SECOND),
            prompt: prefix.chain(plain.prompt.iter().copied()).collect(),
            ..plain
        });
    }
    server.finish();
    server.admitted.iter().map(|id| id.0 as usize).collect()
}

/// The order as it is written down, for requests that came together and have not aged, with a quantum that nobody
/// spends: then tenants go in the order in which they came onto a level.
fn expected(all: &[Keys]) -> Vec<usize> {
    // What is due in a minute or later is due like the others that have no deadline.
    let due = |keys: &Keys| keys.deadline_s.unwrap_or(60).min(60);
    let first = |same: &dyn Fn(&Keys) -> bool| all.iter().position(same).expect("at least the one that asks");
    let key = |index: &usize| {
        let own = &all[*index];
        let tenant = first(&|other| (other.priority, other.tenant) == (own.priority, own.tenant));
        let in_group = |other: &Keys| {
            (other.priority, other.tenant, due(other), other.group) == (own.priority, own.tenant, due(own), own.group)
        };
        let rank = if own.group.is_some() { first(&in_group) } else { *index };
        (own.priority, tenant, due(own), rank, *index)
    };
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(key);
    order
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn each_key_counts_where_those_before_it_are_equal(all in prop::collection::vec(keys(), 1..40)) {
        let order = OrderConfig {
            tenant_quantum: 1 << 30,
            priority_age_ns: 0,
            group_tokens: 8,
            ..OrderConfig::default()
        };
        prop_assert_eq!(admitted(order, &all), expected(&all));
    }
}

#[test]
fn a_preempted_request_comes_back_before_other_tenants() {
    // Two that grow until only one fits, while a third, of another tenant, waits.
    let policy = lightllm_router::PolicyConfig::Aggressive { watermark: 1.0 };
    let order = OrderConfig { tenant_quantum: 1, ..OrderConfig::default() };
    let config = SchedulerConfig { pages: 16, context: 64, policy, ..config(order) };
    let mut server = Server::new(config, SECOND / 100);
    let grow = |number| Request { tenant: 1, ..request(number, 16, 40) };
    let ids = [server.add(grow(0)), server.add(grow(1))];
    server.step();
    let other = server.add(Request { tenant: 2, ..request(2, 16, 40) });
    server.finish();
    assert!(server.scheduler.stats().totals.preemptions > 0, "pages were short");
    assert_eq!(server.admitted[..4], [ids[0], ids[1], ids[1], other]);
}

#[test]
fn priorities_have_a_range() {
    let mut server = Server::new(config(OrderConfig::default()), SECOND);
    for (id, priority) in [-1001, -1000, 1000, 1001, i32::MIN, i32::MAX].into_iter().enumerate() {
        let request = Request { priority, id: RequestId(id as u64), ..request(1, 8, 1) };
        let answer = server.scheduler.add(request, 0);
        if priority.abs_diff(0) == 1000 {
            assert_eq!(answer, Ok(()));
        } else {
            assert_eq!(answer, Err(Error::PriorityOutOfRange { priority }));
        }
    }
    let error = Error::PriorityOutOfRange { priority: -1001 };
    assert_eq!(error.to_string(), "the priority is -1001: it must be from -1000 to 1000");
}
