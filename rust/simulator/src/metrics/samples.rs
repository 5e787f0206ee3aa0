//! Times, and their quantiles.

use crate::report::Summary;

/// Samples that are kept one by one.
const EXACT: usize = 1_000_000;
/// Bits of a number that a bucket keeps: buckets are at most 1/1024 wide, and their middles at most 0.05 % off.
const BITS: u32 = 10;
const BUCKETS: usize = (64 - BITS as usize + 1) << BITS;

/// Nanoseconds. Exact quantiles up to a million samples; with more, they are put into buckets, and quantiles are
/// within 0.05 %. Mean and maximum are exact always.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    exact: Vec<u64>,
    /// Counts by bucket; empty while `exact` is in use.
    buckets: Vec<u64>,
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
}

impl Samples {
    pub fn push(&mut self, ns: u64) {
        self.min = if self.count == 0 { ns } else { self.min.min(ns) };
        self.count += 1;
        self.sum += u128::from(ns);
        self.max = self.max.max(ns);
        if self.buckets.is_empty() {
            if self.exact.len() < EXACT {
                self.exact.push(ns);
                return;
            }
            self.buckets = vec![0; BUCKETS];
            for sample in std::mem::take(&mut self.exact) {
                self.buckets[bucket(sample)] += 1;
            }
        }
        self.buckets[bucket(ns)] += 1;
    }

    /// Puts the samples in order, for [`quantiles`](Self::quantiles).
    pub fn sort(&mut self) {
        self.exact.sort_unstable();
    }

    /// The samples of which these parts of all (ascending) are at most as long: the nearest rank. 0 without samples.
    fn quantiles(&self, parts: impl Iterator<Item = f64>) -> Vec<u64> {
        let ranks = parts.map(|part| ((part * self.count as f64).ceil() as u64).clamp(1, self.count.max(1)));
        if self.buckets.is_empty() {
            return ranks.map(|rank| self.exact.get(rank as usize - 1).copied().unwrap_or(0)).collect();
        }
        let (mut below, mut at) = (0, 0);
        ranks
            .map(|rank| {
                while below + self.buckets[at] < rank {
                    below += self.buckets[at];
                    at += 1;
                }
                middle(at).clamp(self.min, self.max)
            })
            .collect()
    }

    /// After [`sort`](Self::sort): the figures, in milliseconds.
    pub fn summary(&self) -> Summary {
        let quantiles = self.quantiles([0.5, 0.9, 0.99].into_iter());
        Summary {
            count: self.count,
            mean: if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 * 1e-6 },
            p50: ms(quantiles[0]),
            p90: ms(quantiles[1]),
            p99: ms(quantiles[2]),
            max: ms(self.max),
        }
    }

    /// After [`sort`](Self::sort): quantiles in milliseconds. Empty without samples.
    pub fn cdf(&self, parts: &[f64]) -> Vec<f64> {
        if self.count == 0 { Vec::new() } else { self.quantiles(parts.iter().copied()).into_iter().map(ms).collect() }
    }
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// The number's highest bits, and how many bits come after them.
fn bucket(ns: u64) -> usize {
    if ns < 1 << BITS {
        return ns as usize;
    }
    let shift = ns.ilog2() - BITS;
    ((u64::from(shift + 1) << BITS) + ((ns >> shift) - (1 << BITS))) as usize
}

/// The middle of a bucket.
fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 1 << BITS {
        return bucket;
    }
    let shift = (bucket >> BITS) - 1;
    let low = ((bucket & ((1 << BITS) - 1)) + (1 << BITS)) << shift;
    low + ((1 << shift) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn a_bucket_holds_what_is_close_to_its_middle() {
        let mut random = Random::new(1, 1);
        for _ in 0..100_000 {
            let ns = random.next_u64() >> random.below(64);
            let off = middle(bucket(ns)).abs_diff(ns);
            assert!(off as f64 <= ns as f64 * 0.0005, "{ns} is {off} off");
            assert!(bucket(ns) < BUCKETS);
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn few_samples_have_exact_quantiles() {
        let mut samples = Samples::default();
        (1..=100_u64).rev().for_each(|ms| samples.push(ms * 1_000_000));
        samples.sort();
        let summary = samples.summary();
        assert_eq!((summary.p50, summary.p90, summary.p99, summary.max), (50.0, 90.0, 99.0, 100.0));
        assert_eq!((summary.count, summary.mean), (100, 50.5));
        assert_eq!(samples.cdf(&[0.0, 0.5, 1.0]), [1.0, 50.0, 100.0]);
    }

    #[test]
    fn many_samples_have_quantiles_within_a_thousandth() {
        let mut samples = Samples::default();
        let mut all = Vec::new();
        let mut random = Random::new(2, 1);
        for _ in 0..EXACT + EXACT / 2 {
            let ns = (1e6 * libm::exp(random.normal())) as u64;
            samples.push(ns);
            all.push(ns);
        }
        all.sort_unstable();
        samples.sort();
        let exact = |part: f64| all[(part * all.len() as f64).ceil() as usize - 1] as f64 * 1e-6;
        let summary = samples.summary();
        for (got, part) in [(summary.p50, 0.5), (summary.p90, 0.9), (summary.p99, 0.99)] {
            assert!((got / exact(part) - 1.0).abs() < 0.001, "{part}: {got} for {}", exact(part));
        }
        assert!((summary.max - exact(1.0)).abs() < 1e-9, "the maximum is exact");
    }

    #[test]
    fn no_samples_are_zeros() {
        let mut samples = Samples::default();
        samples.sort();
        assert_eq!(samples.summary(), Summary::default());
        assert!(samples.cdf(&[0.5]).is_empty());
    }
}
