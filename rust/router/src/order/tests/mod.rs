//! The order against the naive one, and by example.

mod examples;
mod naive;

use proptest::prelude::*;

use self::naive::Naive;
use super::{Order, OrderConfig, Ticket};

const SECOND: u64 = 1_000_000_000;

#[derive(Clone, Debug)]
enum Operation {
    /// A new request; its deadline as a distance from now.
    Insert(Ticket, Option<u64>),
    /// One that was taken comes back.
    Preempt(usize, u32),
    Remove(usize),
    Round {
        wait_ns: u64,
        ns_per_token: u64,
        decisions: Vec<Decision>,
    },
    Charge {
        tenant: u64,
        tokens: u64,
    },
}

#[derive(Clone, Copy, Debug)]
enum Decision {
    /// It turns out to cost so many tokens more than was thought, if that is negative less.
    Take(i64),
    Refuse,
    Defer,
    /// The candidate is aborted.
    Remove,
}

fn ticket() -> impl Strategy<Value = (Ticket, Option<u64>)> {
    let deadline = prop::option::weighted(0.5, prop_oneof![0..12 * SECOND, Just(90 * SECOND)]);
    let group = prop::option::of(0u64..3);
    (-1i32..3, deadline, 0u64..4, 1u32..60, group).prop_map(|(priority, deadline, tenant, tokens, group)| {
        let ticket =
            Ticket { arrival: 0, added_ns: 0, priority, deadline: None, tenant, tokens, group, resumes: false };
        (ticket, deadline)
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    let decision = prop_oneof![
        4 => (-9i64..9).prop_map(Decision::Take),
        4 => Just(Decision::Refuse),
        1 => Just(Decision::Defer),
        1 => Just(Decision::Remove),
    ];
    let decisions = prop::collection::vec(decision, 0..12);
    let round = (0..3 * SECOND, 0..SECOND / 20, decisions);
    prop_oneof![
        8 => ticket().prop_map(|(ticket, deadline)| Operation::Insert(ticket, deadline)),
        1 => (any::<usize>(), 1u32..60).prop_map(|(pick, tokens)| Operation::Preempt(pick, tokens)),
        1 => any::<usize>().prop_map(Operation::Remove),
        4 => round.prop_map(|(wait_ns, ns_per_token, decisions)| {
            Operation::Round { wait_ns, ns_per_token, decisions }
        }),
        2 => (0u64..5, 0u64..200).prop_map(|(tenant, tokens)| Operation::Charge { tenant, tokens }),
    ]
}

fn config() -> impl Strategy<Value = OrderConfig> {
    let target = prop_oneof![Just(0), SECOND..8 * SECOND];
    let age = prop_oneof![Just(0), SECOND / 2..4 * SECOND];
    (age, 1u32..80, target, any::<bool>(), 0u32..5).prop_map(
        |(priority_age_ns, tenant_quantum, ttft_target_ns, refuse_late, bypass_limit)| OrderConfig {
            priority_age_ns,
            tenant_quantum,
            ttft_target_ns,
            refuse_late,
            bypass_limit,
            ..OrderConfig::default()
        },
    )
}

/// Both orders, and what they were asked.
struct Pair {
    order: Order,
    naive: Naive,
    waiting: Vec<u64>,
    taken: Vec<Ticket>,
    now: u64,
    next_arrival: u64,
}

impl Pair {
    fn new(config: &OrderConfig) -> Self {
        let (order, naive) = (Order::new(config), Naive::new(config));
        Self { order, naive, waiting: Vec::new(), taken: Vec::new(), now: 0, next_arrival: 0 }
    }

    fn insert(&mut self, ticket: Ticket) {
        self.order.insert(ticket);
        self.naive.insert(ticket);
        self.waiting.push(ticket.arrival);
    }

    fn remove(&mut self, arrival: u64) {
        assert!(self.order.remove(arrival) && !self.order.remove(arrival));
        self.naive.remove(arrival);
        self.waiting.retain(|waiting| *waiting != arrival);
    }

    fn run(&mut self, operation: Operation) {
        match operation {
            Operation::Insert(ticket, deadline) => {
                let deadline = deadline.map(|deadline| self.now + deadline);
                self.insert(Ticket { arrival: self.next_arrival, added_ns: self.now, deadline, ..ticket });
                self.next_arrival += 1;
            }
            Operation::Preempt(pick, tokens) => {
                if !self.taken.is_empty() {
                    let ticket = self.taken.swap_remove(pick % self.taken.len());
                    self.insert(Ticket { tokens, resumes: true, ..ticket });
                }
            }
            Operation::Remove(pick) => {
                if let Some(arrival) = self.waiting.get(pick % self.waiting.len().max(1)) {
                    self.remove(*arrival);
                }
            }
            Operation::Round { wait_ns, ns_per_token, decisions } => {
                self.now += wait_ns;
                self.begin(ns_per_token);
                for decision in decisions {
                    self.decide(decision);
                }
            }
            Operation::Charge { tenant, tokens } => {
                self.order.charge(tenant, tokens);
                self.naive.charge(tenant, tokens);
            }
        }
        self.order.check_invariants();
        assert!(self.order.arrivals().count() == self.waiting.len());
    }

    fn begin(&mut self, ns_per_token: u64) {
        // What is cached comes and goes.
        let now = self.now;
        let left = move |arrival: u64| ((arrival * 7 + now / (SECOND / 2)) % 60) as u32;
        self.order.set_pace(ns_per_token);
        self.naive.set_pace(ns_per_token);
        loop {
            let late = self.order.take_late(self.now, left);
            assert_eq!(late, self.naive.take_late(self.now, left), "the next that is late");
            let Some(late) = late else { break };
            self.waiting.retain(|waiting| *waiting != late);
        }
        self.order.begin_round(self.now, left);
        self.naive.begin_round(self.now, left);
    }

    /// False if no candidate is left.
    fn decide(&mut self, decision: Decision) -> bool {
        let candidate = self.order.next();
        assert_eq!(candidate, self.naive.next(), "the next candidate");
        let Some(arrival) = candidate else { return false };
        match decision {
            Decision::Take(more) => {
                let tokens = 30u64.saturating_add_signed(more);
                self.order.take(arrival, tokens);
                self.taken.push(self.naive.take(arrival, tokens));
                self.waiting.retain(|waiting| *waiting != arrival);
            }
            Decision::Refuse => {}
            Decision::Defer => {
                self.order.defer(arrival);
                self.naive.defer(arrival);
            }
            Decision::Remove => self.remove(arrival),
        }
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever is called: the same candidates, in the same order, as by the written definition.
    #[test]
    fn the_order_is_the_naive_one(config in config(), operations in prop::collection::vec(operation(), 0..80)) {
        let mut pair = Pair::new(&config);
        for operation in operations {
            pair.run(operation);
        }
        pair.begin(0);
        while pair.decide(Decision::Take(0)) {}
        prop_assert_eq!(pair.waiting.len(), 0, "an order that always takes comes to an end");
        pair.order.check_invariants();
    }
}
