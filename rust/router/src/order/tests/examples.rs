//! By example.

use super::{Order, OrderConfig, SECOND, Ticket};

fn ticket(arrival: u64) -> Ticket {
    Ticket { arrival, added_ns: 0, priority: 0, deadline: None, tenant: 0, tokens: 10, group: None, resumes: false }
}

fn order(config: OrderConfig, tickets: &[Ticket]) -> Order {
    let mut order = Order::new(&config);
    for ticket in tickets {
        order.insert(*ticket);
    }
    order
}

fn tokens_of(tickets: &[Ticket], arrival: u64) -> u32 {
    tickets.iter().find(|ticket| ticket.arrival == arrival).expect("it was inserted").tokens
}

/// Takes all, each at what its ticket says.
fn drain(order: &mut Order, tickets: &[Ticket], now: u64) -> Vec<u64> {
    order.begin_round(now, |arrival| tokens_of(tickets, arrival));
    let taken = std::iter::from_fn(|| {
        let arrival = order.next()?;
        let ticket = tickets.iter().find(|ticket| ticket.arrival == arrival).expect("it was inserted");
        order.take(arrival, ticket.tokens.into());
        Some(arrival)
    });
    taken.collect()
}

#[test]
fn each_key_counts_only_where_those_before_it_are_equal() {
    let config = OrderConfig { tenant_quantum: 1000, ..OrderConfig::default() };
    let deadline = |ticket: Ticket, seconds: u64| Ticket { deadline: Some(seconds * SECOND), ..ticket };
    let tickets = [
        Ticket { priority: 1, resumes: true, ..ticket(0) },
        deadline(Ticket { priority: 1, ..ticket(1) }, 1),
        Ticket { tenant: 7, ..ticket(2) },
        deadline(Ticket { tenant: 8, ..ticket(3) }, 5),
        deadline(Ticket { tenant: 7, ..ticket(4) }, 30),
        deadline(Ticket { tenant: 7, group: Some(1), ..ticket(5) }, 20),
        deadline(Ticket { tenant: 7, ..ticket(6) }, 20),
        deadline(Ticket { tenant: 7, group: Some(1), ..ticket(7) }, 20),
        Ticket { tenant: 8, resumes: true, ..ticket(8) },
    ];
    let taken = drain(&mut order(config, &tickets), &tickets, 0);
    // 8 resumes; then tenant 7 by deadline, with 7 behind its like; tenant 8; and then the lower priority.
    assert_eq!(taken, [8, 5, 7, 6, 4, 2, 3, 0, 1]);
}

#[test]
fn tenants_take_turns_by_tokens() {
    let config = OrderConfig { tenant_quantum: 20, ..OrderConfig::default() };
    let big = (0..4).map(|arrival| Ticket { tokens: 20, ..ticket(arrival) });
    let small = (4..12).map(|arrival| Ticket { tenant: 1, tokens: 10, ..ticket(arrival) });
    let tickets: Vec<Ticket> = big.chain(small).collect();
    let taken = drain(&mut order(config, &tickets), &tickets, 0);
    assert_eq!(taken, [0, 4, 5, 1, 6, 7, 2, 8, 9, 3, 10, 11]);
}

#[test]
fn outputs_are_paid_for_and_idle_tenants_save_nothing() {
    let config = OrderConfig { tenant_quantum: 20, ..OrderConfig::default() };
    let mut tickets: Vec<Ticket> = (0..6).map(|arrival| Ticket { tenant: arrival % 2, ..ticket(arrival) }).collect();
    let mut order = order(config, &tickets);
    order.charge(0, 45);
    // Tenant 0 owes two quanta and more.
    assert_eq!(drain(&mut order, &tickets, 0), [1, 3, 5, 0, 2, 4]);
    // Nobody waited for a while. Both begin anew, in the order in which they come.
    for ticket in &mut tickets {
        ticket.arrival += 10;
        order.insert(*ticket);
    }
    assert_eq!(drain(&mut order, &tickets, 0), [10, 12, 11, 13, 14, 15]);
}

#[test]
fn who_waits_gets_better_but_not_than_the_best_that_was_asked_for() {
    let config = OrderConfig { priority_age_ns: SECOND, ..OrderConfig::default() };
    let tickets: Vec<Ticket> = [(0, 3, 0), (1, 0, 2), (2, 0, 3), (3, 3, 3)]
        .map(|(a, p, s)| Ticket { priority: p, added_ns: s * SECOND, ..ticket(a) })
        .into();
    let drain_at = |now| drain(&mut order(config, &tickets), &tickets, now);
    assert_eq!(drain_at(3 * SECOND - 1), [1, 2, 0, 3]);
    assert_eq!(drain_at(3 * SECOND), [0, 1, 2, 3], "it has waited for three levels, and its deadline is the first");
    assert_eq!(drain_at(5 * SECOND), [0, 1, 2, 3]);
    let alone = [tickets[3], Ticket { priority: 3, added_ns: 0, tenant: 1, ..ticket(4) }];
    let mut order = order(config, &alone);
    order.begin_round(100 * SECOND, |_| 10);
    assert_eq!(order.next(), Some(3), "equals do not age past each other: it was their tenants' order");
}

#[test]
fn a_deadline_that_is_missed_goes_behind_those_that_can_be_made() {
    let tickets = [
        Ticket { deadline: Some(2 * SECOND), ..ticket(0) },
        Ticket { deadline: Some(3 * SECOND), ..ticket(1) },
        Ticket { deadline: Some(3600 * SECOND), ..ticket(2) },
        Ticket { added_ns: SECOND, ..ticket(3) },
    ];
    let drain_at = |now, ns_per_token| {
        let mut order = order(OrderConfig::default(), &tickets);
        order.set_pace(ns_per_token);
        assert_eq!(order.take_late(now, |_| 10), None, "nothing is refused");
        drain(&mut order, &tickets, now)
    };
    assert_eq!(drain_at(2 * SECOND, 0), [0, 1, 2, 3]);
    assert_eq!(drain_at(2 * SECOND + 1, 0), [1, 0, 2, 3], "one who has an hour waits no longer than those without");
    assert_eq!(drain_at(SECOND, SECOND / 5), [0, 1, 2, 3], "the time to compute it was not known when it came");
}

#[test]
fn late_ones_are_refused_if_asked_for() {
    let config = OrderConfig { refuse_late: true, ttft_target_ns: 4 * SECOND, ..OrderConfig::default() };
    let mut order = order(config, &[ticket(0), Ticket { deadline: Some(2 * SECOND), ..ticket(1) }]);
    assert_eq!(order.take_late(0, |_| 10), None);
    order.set_pace(SECOND / 10);
    order.insert(Ticket { deadline: Some(2 * SECOND), ..ticket(2) });
    order.insert(Ticket { resumes: true, deadline: Some(0), ..ticket(3) });
    let late = |order: &mut Order, now| std::iter::from_fn(|| order.take_late(now, |_| 10)).collect::<Vec<_>>();
    assert_eq!(late(&mut order, SECOND), [], "ten tokens take a second");
    assert_eq!(late(&mut order, SECOND + 1), [2]);
    assert_eq!(late(&mut order, 2 * SECOND + 1), [1], "what was filed before the pace was known comes up later");
    assert_eq!(late(&mut order, 4 * SECOND + 1), [0]);
    assert_eq!(order.arrivals().collect::<Vec<_>>(), [3], "who ran before is not refused");
    order.check_invariants();
}

#[test]
fn what_is_left_to_compute_is_asked_before_one_is_given_up() {
    let late_at = |refuse_late, left: fn(u64) -> u32| {
        let config = OrderConfig { refuse_late, ..OrderConfig::default() };
        let deadline = |ticket, seconds| Ticket { deadline: Some(seconds * SECOND), tokens: 50, ..ticket };
        let mut order = Order::new(&config);
        order.set_pace(SECOND / 10);
        order.insert(deadline(ticket(0), 6));
        order.insert(deadline(ticket(1), 7));
        let late = order.take_late(SECOND * 3 / 2, left);
        order.begin_round(SECOND * 3 / 2, left);
        order.check_invariants();
        (late, order.next())
    };
    assert_eq!(late_at(true, |_| 50), (Some(0), Some(1)), "fifty tokens take five seconds");
    assert_eq!(late_at(true, |_| 44), (None, Some(0)), "a few of them are cached by now");
    assert_eq!(late_at(false, |_| 50), (None, Some(1)));
    assert_eq!(late_at(false, |_| 44), (None, Some(0)));
}

#[test]
fn a_request_is_passed_so_often_and_no_more() {
    let config = OrderConfig { bypass_limit: 3, ..OrderConfig::default() };
    let mut order = order(config, &(0..10).map(ticket).collect::<Vec<_>>());
    let mut overtaken = Vec::new();
    for _ in 0..5 {
        order.begin_round(0, |_| 10);
        while let Some(arrival) = order.next() {
            // 0 does not fit; of the others, one does in each round.
            if arrival > 0 && overtaken.last() != Some(&arrival) {
                order.take(arrival, 1);
                overtaken.push(arrival);
                break;
            }
        }
    }
    assert_eq!(overtaken, [1, 2, 3]);
    order.begin_round(0, |_| 10);
    assert_eq!((order.next(), order.next()), (Some(0), None), "it is offered, and nobody behind it");
    order.begin_round(0, |_| 10);
    assert_eq!(order.next(), Some(0));
    order.defer(0);
    assert_eq!(order.next(), Some(4), "but if it waits by itself the others needn't");
    order.begin_round(0, |_| 10);
    assert_eq!(order.next(), Some(0));
    order.take(0, 1);
    assert_eq!(order.next(), Some(4));
}

#[test]
fn a_round_is_bounded() {
    let mut order = order(OrderConfig::default(), &(0..200).map(ticket).collect::<Vec<_>>());
    order.begin_round(0, |_| 10);
    assert_eq!(std::iter::from_fn(|| order.next()).count(), Order::MAX_REFUSED);
    order.begin_round(0, |_| 10);
    let mut deferred = 0;
    while let Some(arrival) = order.next() {
        order.defer(arrival);
        deferred += 1;
    }
    assert_eq!(deferred, Order::MAX_DEFERRED);
}
