//! Numbers that look random and are the same everywhere: integer arithmetic, and `libm` where a logarithm is needed.

/// `SplitMix64` of Steele, Lea and Flood (2014).
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// The stream `stream` of a seed. Streams of one seed do not depend on each other.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut of_seed = Self { state: seed };
        let start = of_seed.next_u64() ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self { state: Self { state: start }.next_u64() }
    }

    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to `bound - 1`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Between 0 and 1, neither of them included.
    pub fn unit(&mut self) -> f64 {
        ((self.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -libm::log(self.unit())
    }

    /// Normal with mean 0 and deviation 1: the polar method of Marsaglia (1964).
    pub fn normal(&mut self) -> f64 {
        loop {
            let (u, v) = (2.0 * self.unit() - 1.0, 2.0 * self.unit() - 1.0);
            let s = u * u + v * v;
            if s > 0.0 && s < 1.0 {
                return u * libm::sqrt(-2.0 * libm::log(s) / s);
            }
        }
    }

    /// Gamma with this shape and mean 1: Marsaglia and Tsang (2000).
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let boost = libm::pow(self.unit(), 1.0 / shape);
            return self.gamma(shape + 1.0) * (shape + 1.0) * boost / shape;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / libm::sqrt(9.0 * d);
        loop {
            let x = self.normal();
            let cube = 1.0 + c * x;
            if cube <= 0.0 {
                continue;
            }
            let v = cube * cube * cube;
            if libm::log(self.unit()) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return d * v / shape;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(mut draw: impl FnMut() -> f64) -> (f64, f64) {
        let values: Vec<f64> = (0..100_000).map(|_| draw()).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / values.len() as f64;
        (mean, variance)
    }

    #[test]
    fn the_first_numbers_are_those_of_the_paper() {
        let mut random = Random { state: 1_234_567 };
        assert_eq!(random.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(random.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn draws_have_the_moments_that_they_claim() {
        let mut random = Random::new(1, 1);
        for shape in [0.25, 1.0, 4.0] {
            let (mean, variance) = moments(|| random.gamma(shape));
            assert!((mean - 1.0).abs() < 0.03, "gamma({shape}): mean {mean}");
            assert!((variance * shape - 1.0).abs() < 0.06, "gamma({shape}): variance {variance}");
        }
        let (mean, variance) = moments(|| random.exponential());
        assert!((mean - 1.0).abs() < 0.02 && (variance - 1.0).abs() < 0.04, "exponential: {mean}, {variance}");
        let (mean, variance) = moments(|| random.normal());
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.04, "normal: {mean}, {variance}");
        let (mean, _) = moments(|| random.below(10) as f64);
        assert!((mean - 4.5).abs() < 0.05, "below: {mean}");
    }

    #[test]
    fn streams_differ() {
        let first = |seed, stream| Random::new(seed, stream).next_u64();
        assert_ne!(first(1, 0), first(1, 1));
        assert_ne!(first(1, 0), first(2, 0));
        assert_eq!(first(1, 7), first(1, 7));
    }
}
