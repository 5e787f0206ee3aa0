//! Nothing starves, whatever else comes and goes on coming.

use lightllm_router::{OrderConfig, Request, ScheduleMode, SchedulerConfig};
use proptest::prelude::*;

use crate::server::{SECOND, Server, config, request};

const STEP_NS: u64 = SECOND / 4;
/// An age of the order in all of these.
const AGE_NS: u64 = 2 * SECOND;
/// Priorities are from 0 to this.
const WORST: i32 = 5;
/// Requests that wait, kept up by the stream.
const WAITING: usize = 12;
/// Prompts and outputs are at most this long.
const LONGEST: u32 = 120;

/// One kind of request in the stream.
#[derive(Clone, Debug)]
struct Kind {
    priority: i32,
    /// None: a tenant of its own for each request.
    tenant: Option<u64>,
    /// Milliseconds until its deadline.
    deadline_ms: Option<u64>,
    prompt: u32,
    max_tokens: u32,
}

impl Kind {
    fn request(&self, number: u64, now: u64) -> Request {
        Request {
            priority: self.priority,
            tenant: self.tenant.unwrap_or(1000 + number),
            deadline: self.deadline_ms.map(|ms| now + ms * 1_000_000),
            ..request(number, self.prompt, self.max_tokens)
        }
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    let length = || prop_oneof![3 => 1u32..20, 1 => Just(LONGEST)];
    let deadline = prop_oneof![Just(None), (0u64..20_000).prop_map(Some), Just(Some(10_000_000))];
    (0..=WORST, prop::option::of(0u64..3), deadline, length(), length()).prop_map(
        |(priority, tenant, deadline_ms, prompt, max_tokens)| Kind {
            priority,
            tenant,
            deadline_ms,
            prompt,
            max_tokens,
        },
    )
}

fn any_order() -> impl Strategy<Value = OrderConfig> {
    (16u32..200, prop_oneof![Just(0), Just(3 * SECOND)], 0u32..20).prop_map(
        |(tenant_quantum, ttft_target_ns, bypass_limit)| OrderConfig {
            priority_age_ns: AGE_NS,
            tenant_quantum,
            ttft_target_ns,
            bypass_limit,
            ..OrderConfig::default()
        },
    )
}

fn any_mode() -> impl Strategy<Value = ScheduleMode> {
    prop_oneof![Just(ScheduleMode::Chunked), Just(ScheduleMode::PrefillFirst), Just(ScheduleMode::DecodeFirst)]
}

/// Steps within which every request is done that waits in such a stream: it is on the best level after `WORST` ages,
/// and the first in its tenant's order after a minute. From then on nothing that comes goes before it, but those of
/// other tenants in the rounds until its own is paid off; so many requests, each as long as they get.
fn bound(order: &OrderConfig) -> usize {
    let waits = (WORST as u64 * AGE_NS + 60 * SECOND) / STEP_NS;
    let debt = (2 * WAITING as u32 * LONGEST).div_ceil(order.tenant_quantum) as usize + 2;
    let rounds = debt.min(WAITING) * WAITING;
    waits as usize + rounds.min(4 * WAITING) * LONGEST as usize
}

/// Serves a stream for some steps; into its middle come some requests that are not of it. The longest that one of
/// these took, or has taken so far.
fn longest(config: SchedulerConfig, stream: &[Kind], others: &[Kind], steps: usize) -> usize {
    let mut server = Server::new(config, STEP_NS);
    let mut number = 0;
    let mut watched = Vec::new();
    while server.steps < steps {
        let waiting = watched.iter().filter(|id| server.track(**id).admitted.is_none()).count();
        while server.queued() < WAITING + waiting {
            let kind = &stream[number % stream.len()];
            server.add(kind.request(number as u64, server.now));
            number += 1;
        }
        if server.steps == 20 {
            let add = |(index, kind): (usize, &Kind)| server.add(kind.request(3000 + index as u64, server.now));
            watched = others.iter().enumerate().map(add).collect();
        }
        server.step();
    }
    let took = watched.iter().map(|id| server.track(*id)).map(|t| t.finished.unwrap_or(server.steps) - t.added);
    took.max().expect("others came")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Under any mix of priorities, tenants, deadlines and sizes.
    #[test]
    fn every_request_is_done_in_time(
        order in any_order(),
        mode in any_mode(),
        stream in prop::collection::vec(kind(), 1..8),
        others in prop::collection::vec(kind(), 1..4),
    ) {
        // Where no prompt ever leaves a slot taken, there is always another one, and in this mode prompts go first.
        prop_assume!(mode != ScheduleMode::PrefillFirst || stream.iter().any(|kind| kind.max_tokens > 1));
        let bound = bound(&order);
        let config = SchedulerConfig { mode, debug_checks: false, ..config(order) };
        let took = longest(config, &stream, &others, 2 * bound);
        prop_assert!(took <= bound, "a request took {} steps, more than {}", took, bound);
    }
}

/// The same stream starves its lower priority where nobody ages: so the test above is able to fail.
#[test]
fn without_ageing_the_lower_priority_starves() {
    let kind = |priority| Kind { priority, tenant: Some(0), deadline_ms: None, prompt: 8, max_tokens: 8 };
    let ages = OrderConfig { priority_age_ns: AGE_NS, ..OrderConfig::default() };
    let steps = 2 * bound(&ages);
    assert!(longest(config(ages), &[kind(0)], &[kind(1)], steps) < bound(&ages));
    let never = OrderConfig { priority_age_ns: 0, ..ages };
    assert!(longest(config(never), &[kind(0)], &[kind(1)], steps) == steps - 20);
}
