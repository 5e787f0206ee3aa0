//! Many times in little memory.

use serde::Serialize;

/// Buckets of one power of two: a value is known to one part in 2,048.
const BITS: u32 = 10;

/// Counts values in buckets whose width is a thousandth of their value. Whole numbers only, so that it is the same on
/// every machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Distribution {
    buckets: Vec<u64>,
    count: u64,
    sum: u128,
    max: u64,
}

/// A distribution in a few figures, in seconds. All are 0 if there is no value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Number of values.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Half of them are at most this: nearest rank, to 0.05 %.
    pub p50: f64,
    /// Nine in ten are at most this.
    pub p90: f64,
    /// Ninety-nine in a hundred are at most this.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Distribution {
    pub fn add(&mut self, value: u64) {
        let bucket = bucket_of(value);
        if bucket >= self.buckets.len() {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        self.sum += u128::from(value);
        self.max = self.max.max(value);
    }

    /// The smallest value that `percent` of all are not above.
    fn percentile(&self, percent: u64) -> u64 {
        let rank = (u128::from(self.count) * u128::from(percent)).div_ceil(100).max(1) as u64;
        let mut below = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            below += count;
            if below >= rank {
                return middle_of(bucket).min(self.max);
            }
        }
        self.max
    }

    pub fn figures(&self) -> Figures {
        if self.count == 0 {
            return Figures::default();
        }
        let seconds = |ns: u64| ns as f64 * 1e-9;
        Figures {
            count: self.count,
            mean: self.sum as f64 / self.count as f64 * 1e-9,
            p50: seconds(self.percentile(50)),
            p90: seconds(self.percentile(90)),
            p99: seconds(self.percentile(99)),
            max: seconds(self.max),
        }
    }
}

/// Values below 2 * 2^BITS have a bucket each; then 2^BITS buckets for each power of two.
fn bucket_of(value: u64) -> usize {
    let shift = (value | 1).ilog2().saturating_sub(BITS);
    ((u64::from(shift) << BITS) + (value >> shift)) as usize
}

fn middle_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket >> BITS).saturating_sub(1);
    let low = (bucket - (shift << BITS)) << shift;
    low + ((1 << shift) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_a_thousandth_wide() {
        for value in (0..5000).chain((1..54).map(|n| (1 << n) + n)).chain([u64::MAX >> 1]) {
            let middle = middle_of(bucket_of(value));
            assert!(middle.abs_diff(value) <= value >> 11, "{value}: {middle}");
        }
        let mut buckets: Vec<usize> = (0..100_000).map(bucket_of).collect();
        assert!(buckets.is_sorted());
        buckets.dedup();
        assert!(buckets.windows(2).all(|pair| pair[0] + 1 == pair[1]), "none is left out");
    }

    #[test]
    fn figures_are_those_of_the_values() {
        assert_eq!(Distribution::default().figures(), Figures::default());
        let mut distribution = Distribution::default();
        for second in (1..=100).rev() {
            distribution.add(second * 1_000_000_000);
        }
        let Figures { count, mean, p50, p90, p99, max } = distribution.figures();
        assert_eq!((count, max), (100, 100.0));
        assert!((mean - 50.5).abs() < 1e-9);
        for (figure, exact) in [(p50, 50.0), (p90, 90.0), (p99, 99.0)] {
            assert!((figure / exact - 1.0f64).abs() < 0.0005, "{figure} is not {exact}");
        }
    }
}
