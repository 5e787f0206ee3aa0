//! One workload under one policy.

use std::collections::VecDeque;

use lightllm_router::{AdmissionPolicy, Demand, PolicyConfig, Room};

use super::workload::Lengths;

/// Decode steps between two rounds of admission.
const STEPS_A_ROUND: u32 = 10;
/// A round ends when the prompts that it took are longer than this together.
const ROUND_TOKENS: u64 = 32_768;
/// Decode steps without an end after which none will come. While something runs, what was admitted first runs on, and
/// ends within 5,000; policies that draw may refuse for some rounds what fits.
const STUCK_STEPS: u64 = 1 << 20;
/// What requests say they want at most. They may well generate more.
const MAX_OUTPUT: u32 = 4096;

/// What came out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Figures {
    pub decode_steps: u64,
    pub evictions: u64,
    pub finished: u64,
    /// Mean of what was held after each step and each round, in tokens.
    pub mean_held: f64,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    id: u64,
    lengths: Lengths,
    generated: u32,
}

impl Request {
    fn held(&self) -> u64 {
        u64::from(self.lengths.prompt) + u64::from(self.generated)
    }

    fn demand(&self) -> Demand {
        Demand {
            id: self.id,
            held: self.held(),
            prompt: self.lengths.prompt,
            generated: self.generated,
            max_tokens: MAX_OUTPUT,
            expected: Some(self.lengths.output),
            ..Demand::default()
        }
    }

    /// As it is charged when it is not running. The paper's artifact forgets of what an evicted request has generated
    /// before: `aggressive` that it takes room, `past_future` that it says something of its length.
    fn candidate(&self, policy: &PolicyConfig) -> Demand {
        match policy {
            PolicyConfig::Aggressive { .. } => {
                Demand { held: self.lengths.prompt.into(), generated: 0, ..self.demand() }
            }
            PolicyConfig::PastFuture(_) => Demand { generated: 0, ..self.demand() },
            _ => self.demand(),
        }
    }
}

/// The machine of the replay: a pool of tokens, a batch in order of admission, and a queue.
pub(super) struct Replay<'a> {
    capacity: u64,
    config: PolicyConfig,
    policy: Box<dyn AdmissionPolicy>,
    workload: std::slice::Iter<'a, Lengths>,
    next_id: u64,
    batch: Vec<Request>,
    queue: VecDeque<Request>,
    /// Tokens that the batch holds.
    held: u64,
    /// Sum and number of the records of `held`.
    records: (u64, u64),
    figures: Figures,
    /// Decode steps until the last end.
    last_end: u64,
    demands: Vec<Demand>,
}

impl<'a> Replay<'a> {
    pub fn new(workload: &'a [Lengths], capacity: u64, config: PolicyConfig, seed: u64) -> Self {
        Self {
            capacity,
            config,
            policy: config.build(seed),
            workload: workload.iter(),
            next_id: 0,
            batch: Vec::new(),
            queue: VecDeque::new(),
            held: 0,
            records: (0, 0),
            figures: Figures::default(),
            last_end: 0,
            demands: Vec::new(),
        }
    }

    /// Runs until the workload is used up. What still runs then is not drained. None if a request never gets through:
    /// it is too long for the pool, or the policy does not let it in even alone.
    pub fn run(mut self) -> Option<Figures> {
        loop {
            for _ in 0..STEPS_A_ROUND {
                self.decode();
            }
            if !self.admit() {
                break;
            }
            if self.figures.decode_steps - self.last_end > STUCK_STEPS {
                return None;
            }
            self.record();
        }
        self.figures.mean_held = self.records.0 as f64 / self.records.1 as f64;
        Some(self.figures)
    }

    fn record(&mut self) {
        self.records.0 += self.held;
        self.records.1 += 1;
    }

    fn decode(&mut self) {
        self.figures.decode_steps += 1;
        let mut ended = false;
        for request in &mut self.batch {
            request.generated += 1;
            ended |= request.generated >= request.lengths.output;
        }
        self.held += self.batch.len() as u64;
        if ended {
            self.last_end = self.figures.decode_steps;
            let Self { batch, held, policy, figures, .. } = self;
            batch.retain(|request| {
                let stays = request.generated < request.lengths.output;
                if !stays {
                    *held -= request.held();
                    figures.finished += 1;
                    policy.finished(&request.demand());
                }
                stays
            });
        }
        self.record();
        while self.held > self.capacity {
            let victim = self.batch.pop().expect("an empty batch holds nothing");
            self.held -= victim.held();
            self.figures.evictions += 1;
            self.policy.evicted(&victim.demand());
            self.queue.push_front(victim);
        }
    }

    /// False if the workload is used up.
    fn admit(&mut self) -> bool {
        self.begin();
        let mut taken = 0;
        while taken < ROUND_TOKENS {
            if self.queue.is_empty() {
                let Some(&lengths) = self.workload.next() else { return false };
                self.queue.push_back(Request { id: self.next_id, lengths, generated: 0 });
                self.next_id += 1;
            }
            let head = self.queue.front().expect("it was just filled");
            let candidate = head.candidate(&self.config);
            if !self.policy.admits(&[candidate]) {
                break;
            }
            let head = self.queue.pop_front().expect("it is still there");
            taken += u64::from(head.lengths.prompt);
            self.held += head.held();
            self.batch.push(head);
            if candidate.held != head.held() {
                // What it really holds counts for the next.
                self.begin();
            }
        }
        true
    }

    fn begin(&mut self) {
        self.demands.clear();
        self.demands.extend(self.batch.iter().map(Request::demand));
        self.policy.begin(Room { capacity: self.capacity, shared: 0 }, &self.demands);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(workload: &[(u32, u32)], capacity: u64, policy: &str) -> Figures {
        let workload: Vec<Lengths> = workload.iter().map(|&(prompt, output)| Lengths { prompt, output }).collect();
        let config = PolicyConfig::from_name(policy).expect("a policy");
        Replay::new(&workload, capacity, config, 0).run().expect("all fit")
    }

    #[test]
    fn requests_enter_every_ten_steps_and_the_last_are_not_drained() {
        // The second doesn't fit beside the first, which leaves after 25 steps; then it does, and there is no third.
        let figures = replay(&[(90, 25), (90, 25)], 130, "oracle");
        assert_eq!((figures.decode_steps, figures.evictions, figures.finished), (40, 0, 1));
        // Ten steps with nothing, a round; 91 to 100, a round; 101 to 110, a round; 111 to 114 and six with nothing.
        let held = 90 + (91..=100).sum::<u64>() + 100 + (101..=110).sum::<u64>() + 110 + (111..=114).sum::<u64>();
        let records = 43.0;
        assert!((figures.mean_held - held as f64 / records).abs() < 1e-9, "{figures:?}");
    }

    #[test]
    fn the_last_admitted_leaves_when_the_pool_is_full_and_keeps_its_tokens() {
        // Two of 40 fit at first, and hold 100 after ten steps, 102 after eleven: the second goes, with 11 tokens. When
        // the first has left, after 25, it comes back and holds 51, which leaves 46 under the watermark of 97.
        for (third, steps, finished) in [(46, 40, 1), (47, 60, 2)] {
            let figures = replay(&[(40, 25), (40, 25), (third, 1)], 100, "aggressive");
            assert_eq!((figures.decode_steps, figures.evictions, figures.finished), (steps, 1, finished));
        }
    }
}
