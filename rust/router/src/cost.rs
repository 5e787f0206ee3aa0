//! How long steps take, learned from those that are done.
//!
//! A step's time is taken as linear in what it does:
//!
//! ```text
//! t = base + a tokens + b rows + c context + d pairs
//! ```
//!
//! The factors are fitted to recent steps by least squares of the relative error (each step weighs `1 / t^2`), older
//! steps counting less, none of them below zero: one factor after the other is set to its best value given the others
//! (Lawson and Hanson's problem, "Solving Least Squares Problems", 1974, chapter 23, by coordinate descent). Steps with
//! prompts and steps without are remembered apart, so that an hour of decoding forgets nothing of prompts. What was
//! never seen is taken from a GPU that was measured, scaled to what was. On top comes the mean error of the latest
//! steps of either kind: no machine is linear, but the next step is mostly like the last.
//!
//! Only sums, products, quotients and square roots: the same on every machine.

/// What a step does, as far as its time depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StepLoad {
    /// Tokens of prefill rows.
    pub tokens: u64,
    /// Decode rows.
    pub rows: u64,
    /// Positions that the decode rows attend to; those that rows of a group have in common count once.
    pub context: u64,
    /// Twice the pairs of a prefill token and a position that it attends to, less the tokens: whole numbers.
    pub pairs: u64,
}

impl StepLoad {
    /// Adds a decode row for this position.
    pub fn add_decode(&mut self, position: usize) {
        self.rows += 1;
        self.context += position as u64 + 1;
    }

    /// Adds a prefill row.
    pub fn add_prefill(&mut self, start: usize, tokens: usize) {
        let (start, tokens) = (start as u64, tokens as u64);
        self.tokens += tokens;
        self.pairs += tokens * (2 * start + tokens);
    }

    fn features(&self) -> [f64; FACTORS] {
        [1.0, self.tokens as f64, self.rows as f64, self.context as f64, self.pairs as f64]
    }
}

const FACTORS: usize = 5;
const BASE: usize = 0;
const TOKENS: usize = 1;
const PAIRS: usize = 4;

/// Nanoseconds of a model of 8B parameters in bf16 on an H100: the shape of what was not seen yet.
const MEASURED: [f64; FACTORS] = [6.3e6, 26_000.0, 12_000.0, 40.0, 0.7];

/// A factor that is as far from its start as the start itself costs as much as so many steps that are wrong by all of
/// their time.
const STIFFNESS: f64 = 0.01;

/// Half of the weight is gone after about 90 steps.
const DECAY: f64 = 1.0 - 1.0 / 128.0;

/// The mean error follows the latest steps faster.
const FOLLOW: f64 = 1.0 / 8.0;

/// Steps of a kind after which its estimates are relied on.
const ENOUGH: u32 = 32;

/// Longest step that is believed: an hour. A debugger, a suspended machine.
const LONGEST_NS: f64 = 3_600e9;

/// Remembered steps: what the least squares need of them.
#[derive(Clone, Debug, Default)]
struct Memory {
    /// Weighted sums of products of features, and of features and times.
    squares: [[f64; FACTORS]; FACTORS],
    times: [f64; FACTORS],
    /// Mean relative error of the fit, with its sign: added to estimates. And of what is left then, without.
    bias: f64,
    deviation: f64,
    steps: u32,
}

impl Memory {
    fn note(&mut self, features: &[f64; FACTORS], ns: f64) {
        let weight = 1.0 / (ns * ns);
        for (i, feature) in features.iter().enumerate() {
            for (j, other) in features.iter().enumerate() {
                self.squares[i][j] = self.squares[i][j] * DECAY + weight * feature * other;
            }
            self.times[i] = self.times[i] * DECAY + weight * feature * ns;
        }
        self.steps = self.steps.saturating_add(1);
    }

    fn follow(&mut self, fitted: f64, ns: f64) {
        let error = ns / fitted - 1.0;
        self.deviation += ((error - self.bias).abs().min(1.0) - self.deviation) * FOLLOW;
        self.bias += (error.clamp(-0.5, 1.0) - self.bias) * FOLLOW;
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct StepCost {
    factors: [f64; FACTORS],
    /// Of steps without prompts, and of steps with.
    memories: [Memory; 2],
    /// When the latest result came: the backend was free for the next step from then on.
    latest: u64,
}

impl Default for StepCost {
    fn default() -> Self {
        Self { factors: MEASURED, memories: [Memory::default(), Memory::default()], latest: 0 }
    }
}

impl StepCost {
    /// A step that was planned at `planned_ns` is done.
    pub fn note(&mut self, planned_ns: u64, now: u64, load: &StepLoad) {
        let ns = now.saturating_sub(self.begin(planned_ns)) as f64;
        self.latest = self.latest.max(now);
        if load.rows + load.tokens == 0 || !(1.0..=LONGEST_NS).contains(&ns) {
            return;
        }
        let features = load.features();
        let fitted = dot(&self.factors, &features);
        let memory = &mut self.memories[usize::from(load.tokens > 0)];
        // One that hangs now and then says little of the others.
        let ns = if memory.steps >= ENOUGH { ns.clamp(fitted / 4.0, fitted * 4.0) } else { ns };
        memory.follow(fitted, ns);
        memory.note(&features, ns);
        self.fit();
    }

    /// When a step begins that is planned at `planned_ns`, if all before it are done.
    fn begin(&self, planned_ns: u64) -> u64 {
        planned_ns.max(self.latest)
    }

    /// When a step ends that was planned at `planned_ns` and is the next to end.
    pub fn end(&self, planned_ns: u64, load: &StepLoad) -> u64 {
        self.begin(planned_ns).saturating_add(self.estimate(load) as u64)
    }

    /// Nanoseconds of a step.
    pub fn estimate(&self, load: &StepLoad) -> f64 {
        let bias = self.memories[usize::from(load.tokens > 0)].bias;
        dot(&self.factors, &load.features()) * (1.0 + bias)
    }

    /// Nanoseconds by which estimates of such a step are usually wrong. None before enough were seen.
    pub fn deviation(&self, load: &StepLoad) -> Option<f64> {
        let memory = &self.memories[usize::from(load.tokens > 0)];
        (memory.steps >= ENOUGH).then(|| self.estimate(load) * memory.deviation)
    }

    /// Tokens of a prompt from position `start` on that a step can take beside `load` in `ns` nanoseconds.
    pub fn tokens_within(&self, ns: f64, load: &StepLoad, start: usize) -> usize {
        let prefills = StepLoad { tokens: load.tokens.max(1), ..*load };
        let bias = 1.0 + self.memories[1].bias;
        let left = ns / bias - dot(&self.factors, &prefills.features());
        if left <= 0.0 {
            return 0;
        }
        // d n^2 + (a + 2 d start) n = left
        let square = self.factors[PAIRS];
        let linear = self.factors[TOKENS] + 2.0 * square * start as f64;
        // Twice the product form of the root: it holds for no square term too.
        let root = (linear * linear + 4.0 * square * left).sqrt();
        (2.0 * left / (linear + root).max(f64::MIN_POSITIVE)) as usize
    }

    /// A few rounds from the last solution: it moves little from step to step.
    fn fit(&mut self) {
        let [decodes, prefills] = &self.memories;
        let squares = |i: usize, j: usize| decodes.squares[i][j] + prefills.squares[i][j];
        let times = |i: usize| decodes.times[i] + prefills.times[i];
        // The start, scaled so that it fits best.
        let (mut with_time, mut with_self) = (0.0, 0.0);
        for (i, one) in MEASURED.iter().enumerate() {
            with_time += one * times(i);
            with_self += MEASURED.iter().enumerate().map(|(j, other)| one * squares(i, j) * other).sum::<f64>();
        }
        let scale = with_time / with_self;
        for _ in 0..4 {
            for (i, measured) in MEASURED.iter().enumerate() {
                let start = measured * scale;
                let stiffness = STIFFNESS / (start * start);
                let others: f64 = (0..FACTORS).filter(|j| *j != i).map(|j| squares(i, j) * self.factors[j]).sum();
                let best = (times(i) - others + stiffness * start) / (squares(i, i) + stiffness);
                self.factors[i] = best.max(0.0);
            }
        }
        // Never all nothing.
        self.factors[BASE] = self.factors[BASE].max(1.0);
    }
}

fn dot(factors: &[f64; FACTORS], features: &[f64; FACTORS]) -> f64 {
    factors.iter().zip(features).map(|(factor, feature)| factor * feature).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    /// An H100 is bound by memory below some 250 tokens and by arithmetic above.
    fn measured(load: &StepLoad) -> f64 {
        let matrices = (25_500.0 * load.tokens as f64 + 12_000.0 * load.rows as f64).max(6.3e6);
        matrices + 42.0 * load.context as f64 + 0.7 * load.pairs as f64
    }

    fn decodes(draws: &mut SplitMix64, most: u32) -> StepLoad {
        let mut load = StepLoad::default();
        for _ in 0..draws.range(1, most) {
            load.add_decode(draws.range(100, 2000) as usize);
        }
        load
    }

    /// Steps one after the other, each planned while the one before runs.
    fn run(cost: &mut StepCost, now: &mut u64, load: &StepLoad, ns: f64) {
        let planned = now.saturating_sub(1_000_000);
        *now += ns as u64;
        cost.note(planned, *now, load);
    }

    #[test]
    fn a_machine_of_any_speed_is_learned() {
        for speed in [0.02, 1.0, 50.0] {
            let (mut draws, mut cost, mut now) = (SplitMix64::new(3), StepCost::default(), 1_000_000_000);
            let (mut worst, mut sum): (f64, f64) = (0.0, 0.0);
            for step in 0..400 {
                let mut load = decodes(&mut draws, 200);
                if step % 3 == 0 {
                    load.add_prefill(draws.range(0, 30_000) as usize, draws.range(300, 3000) as usize);
                }
                let ns = measured(&load) * speed * f64::from(draws.range(98, 102)) / 100.0;
                if step > 200 {
                    let error = (cost.estimate(&load) / ns - 1.0).abs();
                    (worst, sum) = (worst.max(error), sum + error);
                }
                run(&mut cost, &mut now, &load, ns);
            }
            assert!(worst < 0.35 && sum < 0.06 * 199.0, "off by {worst} at most, by {sum} in all: {cost:?}");
            let deviation = cost.deviation(&decodes(&mut draws, 2)).expect("enough were seen");
            assert!(deviation < 0.1 * 7e6 * speed, "{deviation}");
        }
    }

    #[test]
    fn decoding_for_long_forgets_nothing_of_prompts() {
        let (mut draws, mut cost, mut now) = (SplitMix64::new(4), StepCost::default(), 0);
        let mixed = |draws: &mut SplitMix64| {
            let mut load = decodes(draws, 64);
            load.add_prefill(0, draws.range(500, 4000) as usize);
            load
        };
        for _ in 0..100 {
            let load = mixed(&mut draws);
            run(&mut cost, &mut now, &load, 10.0 * measured(&load));
        }
        for _ in 0..5000 {
            let load = decodes(&mut draws, 64);
            run(&mut cost, &mut now, &load, 10.0 * measured(&load));
        }
        let load = mixed(&mut draws);
        let error = cost.estimate(&load) / (10.0 * measured(&load)) - 1.0;
        assert!(error.abs() < 0.15, "{error}");
    }

    #[test]
    fn what_fits_is_what_the_estimate_says() {
        let mut draws = SplitMix64::new(5);
        let mut cost = StepCost::default();
        for round in 0..200 {
            let mut load = decodes(&mut draws, 100);
            let start = draws.range(0, 30_000) as usize;
            let ns = f64::from(draws.range(1, 200)) * 1e6;
            let with = |tokens: usize| {
                let mut load = load;
                load.add_prefill(start, tokens);
                cost.estimate(&load)
            };
            let tokens = cost.tokens_within(ns, &load, start);
            assert!(tokens == 0 || with(tokens) <= ns * 1.001, "{tokens} tokens in {ns}");
            assert!(with(tokens + 2) > ns * 0.999, "{tokens} tokens in {ns}");
            load.add_prefill(start, tokens.max(1));
            cost.note(round * 1_000_000_000, round * 1_000_000_000 + 100_000_000, &load);
        }
    }

    #[test]
    fn absurd_times_break_nothing() {
        let mut cost = StepCost::default();
        let load = StepLoad { tokens: u64::from(u32::MAX), pairs: 1 << 62, rows: 1, context: 1 << 40 };
        for now in [0, 1, 2, u64::MAX, 5, u64::MAX] {
            for load in [StepLoad::default(), load, StepLoad { rows: 1, ..StepLoad::default() }] {
                cost.note(now / 2, now, &load);
                assert!(cost.estimate(&load).is_finite() && cost.estimate(&load) > 0.0);
                assert!(cost.end(now, &load) >= now);
            }
        }
    }
}
