//! Pseudo-random numbers that are the same on every machine.

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// A stream. Streams of neighbouring states share no prefix, but the one at `state` plus its increment is the
    /// rest of the one at `state`.
    pub fn new(state: u64) -> Self {
        Self { state }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// A whole number from `low` to `high`, both included.
    pub fn range(&mut self, low: u32, high: u32) -> u32 {
        let numbers = u128::from(high - low) + 1;
        low + ((u128::from(self.next_u64()) * numbers) >> 64) as u32
    }
}

/// A hash of 64 bits: all of its output depends on all of its input.
pub(crate) fn mix(input: u64) -> u64 {
    let mut z = input;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The draw of that name under a key, from 0 to 1 without 1. It is no stream: the order of draws does not matter.
pub(crate) fn uniform(key: u64, name: u64) -> f64 {
    let bits = mix(mix(name.wrapping_add(GOLDEN)) ^ key);
    (bits >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_stream() {
        // First outputs for the seed 1234567, as listed with the reference implementation.
        let mut stream = SplitMix64::new(1_234_567);
        assert_eq!(stream.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(stream.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn ranges_include_their_ends() {
        let mut stream = SplitMix64::new(7);
        let drawn: Vec<u32> = (0..200).map(|_| stream.range(3, 6)).collect();
        assert!((3..=6).all(|value| drawn.contains(&value)) && drawn.iter().all(|value| (3..=6).contains(value)));
    }

    #[test]
    fn draws_are_spread_evenly() {
        for key in [0, 1, 2] {
            let draws: Vec<f64> = (0..10_000).map(|name| uniform(key, name)).collect();
            assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
            let mean = draws.iter().sum::<f64>() / 10_000.0;
            assert!((mean - 0.5).abs() < 0.02, "{mean}");
        }
    }
}
