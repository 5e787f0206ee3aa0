//! Deadlines: earliest feasible first, and refusals where the operator asks for them.

use lightllm_router::{Error, OrderConfig, Request, RequestId, SchedulerConfig};
use proptest::prelude::*;

use crate::server::{SECOND, Server, config, request};

const STEP_NS: u64 = SECOND / 100;

fn server(refuse_late: bool, ttft_target_ns: u64) -> Server {
    let order = OrderConfig { refuse_late, ttft_target_ns, ..OrderConfig::default() };
    Server::new(SchedulerConfig { slots: 1, ..config(order) }, STEP_NS)
}

fn due(server: &Server, number: u64, steps: u64) -> Request {
    Request { deadline: Some(server.now + steps * STEP_NS), ..request(number, 8, 8) }
}

#[test]
fn late_ones_are_refused_before_they_cost_anything() {
    let mut server = server(true, 0);
    let running = server.add(request(0, 8, 100));
    server.step();
    let (late, patient, own_time) =
        (server.add(due(&server, 1, 50)), server.add(due(&server, 2, 1000)), server.add(request(3, 8, 8)));
    server.finish();
    assert!(server.track(late).refused && server.track(late).admitted.is_none());
    assert_eq!(server.scheduler.stats().totals.refused_late, 1);
    for served in [running, patient, own_time] {
        assert!(server.track(served).finished.is_some() && !server.track(served).refused);
    }
}

#[test]
fn what_cannot_be_computed_in_time_is_refused_at_once() {
    let mut server = server(true, 0);
    let warm = server.add(request(0, 64, 1));
    server.finish();
    assert_eq!(server.track(warm).finished, Some(2), "two steps of 32 tokens: they give the pace");
    let long = |server: &Server, number, steps| Request {
        deadline: Some(server.now + steps * STEP_NS),
        ..request(number, 160, 1)
    };
    let hopeless = server.add(long(&server, 1, 4));
    server.step();
    assert!(server.track(hopeless).refused, "it takes five steps");
    let feasible = server.add(long(&server, 2, 6));
    server.finish();
    assert!(server.track(feasible).finished.is_some());
}

#[test]
fn what_comes_too_late_is_not_queued() {
    for refuse_late in [true, false] {
        let mut server = server(refuse_late, 0);
        server.add(request(0, 8, 4));
        server.finish();
        let late = Request { id: RequestId(100), deadline: Some(server.now - 1), ..request(1, 8, 1) };
        let answer = server.scheduler.add(late, server.now);
        if refuse_late {
            assert!(matches!(answer, Err(Error::DeadlineMissed { retry_after_s: 1..=60 })), "{answer:?}");
            assert!(!server.scheduler.has_work());
            assert_eq!(server.scheduler.stats().totals.refused_late, 1);
        } else {
            assert_eq!((answer, server.queued()), (Ok(()), 1));
        }
    }
}

#[test]
fn the_operators_target_is_a_deadline() {
    let mut server = server(true, 30 * STEP_NS);
    server.add(request(0, 8, 100));
    server.step();
    let (late, own) = (server.add(request(1, 8, 8)), server.add(due(&server, 2, 500)));
    server.finish();
    assert!(server.track(late).refused);
    assert!(server.track(own).finished.is_some(), "a request's own deadline counts instead");
}

#[test]
fn nothing_is_refused_unless_asked_for() {
    let mut server = server(false, STEP_NS);
    let ids: Vec<_> = (0..10).map(|number| server.add(due(&server, number, number % 3))).collect();
    server.finish();
    assert!(ids.iter().all(|id| server.track(*id).finished.is_some()));
    assert_eq!(server.scheduler.stats().totals.refused_late, 0);
}

/// A server with a pace of 32 tokens a step that computes a prompt of 128 tokens, and one that begins like it and
/// must have its first token within so many steps.
fn behind_its_like(refuse_late: bool, group_tokens: u32, steps: u64) -> (Server, RequestId) {
    let order = OrderConfig { refuse_late, group_tokens, ..OrderConfig::default() };
    let config = SchedulerConfig { prefix_cache: true, ..config(order) };
    let mut server = Server::new(config, STEP_NS);
    server.add(request(0, 64, 1));
    server.finish();
    server.add(request(1, 128, 20));
    server.step();
    let like = Request { deadline: Some(server.now + steps * STEP_NS), ..request(1, 136, 1) };
    let like = server.add(like);
    (server, like)
}

#[test]
fn one_that_waits_for_anothers_pages_is_not_refused_for_them() {
    // Three steps for the rest of the other's prompt, and one for its own; five if it computed all itself.
    let (mut server, like) = behind_its_like(true, 32, 4);
    server.finish();
    assert!(server.track(like).finished.is_some(), "{:?}", server.track(like));
    let (mut server, like) = behind_its_like(true, 0, 3);
    server.finish();
    assert!(server.track(like).refused, "nobody waits for a prefix: all that isn't cached counts");
}

#[test]
fn what_became_cached_meanwhile_does_not_count() {
    for refuse_late in [true, false] {
        let order = OrderConfig { refuse_late, group_tokens: 0, ..OrderConfig::default() };
        let config = SchedulerConfig { prefix_cache: true, slots: 1, ..config(order) };
        let mut server = Server::new(config, STEP_NS);
        server.add(request(0, 64, 1));
        server.finish();
        let first = server.add(request(1, 128, 20));
        server.step();
        // It needs five steps as long as nothing is cached, and the other runs for 22 steps more.
        let like = Request { deadline: Some(server.now + 24 * STEP_NS), ..request(1, 136, 1) };
        let like = server.add(like);
        let other = Request { deadline: Some(server.now + 40 * STEP_NS), ..request(2, 8, 1) };
        let other = server.add(other);
        server.finish();
        assert!(server.track(first).finished.is_some() && server.track(other).finished.is_some());
        assert!(server.track(like).finished.is_some(), "{:?}", server.track(like));
        assert!(server.track(like).admitted < server.track(other).admitted, "its deadline is the first");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Every request is either refused or served, never both; nobody is refused who has time left to be computed; and
    /// nobody is served whose deadline had passed when the step was planned.
    #[test]
    fn refused_or_in_time(
        deadlines in prop::collection::vec(prop::option::of(0u64..400), 1..30),
        arrivals in prop::collection::vec(0usize..20, 30),
        slots in 1u32..4,
    ) {
        let order = OrderConfig { refuse_late: true, ..OrderConfig::default() };
        let mut server = Server::new(SchedulerConfig { slots, ..config(order) }, STEP_NS);
        let mut ids = Vec::new();
        for (number, deadline) in deadlines.iter().enumerate() {
            let plain = request(number as u64, 16, 12);
            let deadline = deadline.map(|steps| server.now + steps * STEP_NS);
            ids.push(server.add(Request { deadline, ..plain }));
            for _ in 0..arrivals[number] {
                let before: Vec<_> = ids.iter().filter(|id| server.track(**id).admitted.is_none()).copied().collect();
                let planned_at = server.now;
                server.step();
                for id in before {
                    let track = server.track(id);
                    let passed = track.request.deadline.is_some_and(|deadline| deadline < planned_at);
                    prop_assert!(!(passed && track.admitted.is_some()), "{id} is served too late");
                    // A prompt of 16 tokens never takes more than 16 steps.
                    let has_time = track.request.deadline.is_none_or(|deadline| deadline > planned_at + 17 * STEP_NS);
                    prop_assert!(!(has_time && track.refused), "{id} is refused too early");
                }
            }
        }
        server.finish();
        for id in ids {
            let track = server.track(id);
            prop_assert!(track.finished.is_some() != track.refused, "{id}: {track:?}");
        }
    }
}
