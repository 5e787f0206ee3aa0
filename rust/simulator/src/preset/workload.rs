//! The requests of the replay.

use lightllm_router::SplitMix64;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lengths {
    /// Tokens of its prompt.
    pub prompt: u32,
    /// Tokens that it really generates.
    pub output: u32,
}

/// Uniform whole numbers, ends included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Distribution {
    pub name: &'static str,
    prompt: (u32, u32),
    output: (u32, u32),
}

/// The three of the paper: long outputs, balanced, long prompts.
pub(super) const DISTRIBUTIONS: [Distribution; 3] = [
    Distribution { name: "dist-1", prompt: (32, 4096), output: (2048, 4096) },
    Distribution { name: "dist-2", prompt: (3000, 5000), output: (3000, 5000) },
    Distribution { name: "dist-3", prompt: (2048, 4096), output: (32, 4096) },
];

/// Requests of a workload.
const REQUESTS: usize = 3000;

impl Distribution {
    /// The workload of this seed. `number` counts the distributions from 1.
    pub fn draw(&self, number: u64, seed: u64) -> Vec<Lengths> {
        let mut stream = SplitMix64::new(seed.wrapping_mul(1000).wrapping_add(number));
        let mut range = |(low, high)| stream.range(low, high);
        (0..REQUESTS).map(|_| Lengths { prompt: range(self.prompt), output: range(self.output) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_requests_are_those_of_the_definition() {
        let drawn = DISTRIBUTIONS[0].draw(1, 1);
        let first = [(1353, 2518), (960, 3039), (2092, 3459)].map(|(prompt, output)| Lengths { prompt, output });
        assert_eq!((drawn.len(), &drawn[..3]), (3000, &first[..]));
    }
}
