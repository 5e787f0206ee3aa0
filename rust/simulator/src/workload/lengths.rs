//! Lengths drawn at random.

use serde::{Deserialize, Serialize};

use super::request::MOST_TOKENS;
use crate::error::{Error, Result, shown};
use crate::random::Random;

/// A distribution of lengths in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Lengths {
    /// Always the same.
    Constant {
        /// The length.
        tokens: u32,
    },
    /// All between two, both included, are equally likely.
    Uniform {
        /// Shortest.
        min: u32,
        /// Longest.
        max: u32,
    },
    /// The logarithm is normally distributed.
    LogNormal {
        /// Mean length, before it is cut off.
        mean: f64,
        /// Standard deviation of the natural logarithm.
        sigma: f64,
        /// What is shorter is as long as this.
        #[serde(default = "shortest")]
        min: u32,
        /// What is longer is as long as this.
        #[serde(default = "longest")]
        max: u32,
    },
}

impl Lengths {
    pub(super) fn validate(&self, setting: &str) -> Result<()> {
        let (min, max) = match *self {
            Self::Constant { tokens } => (tokens, tokens),
            Self::Uniform { min, max } | Self::LogNormal { min, max, .. } => (min, max),
        };
        if min == 0 || min > max || u64::from(max) > MOST_TOKENS {
            let reason = format!("lengths must be from 1 to {MOST_TOKENS}, and min at most max: {min} to {max}");
            return Err(Error::setting(setting, reason));
        }
        if let Self::LogNormal { mean, sigma, .. } = *self {
            if !(1.0..=MOST_TOKENS as f64).contains(&mean) {
                return Err(Error::setting(setting, format!("mean: {} must be from 1 to {MOST_TOKENS}", shown(mean))));
            }
            if !(0.0..=10.0).contains(&sigma) {
                return Err(Error::setting(setting, format!("sigma: {} must be from 0 to 10", shown(sigma))));
            }
        }
        Ok(())
    }

    pub(super) fn draw(&self, random: &mut Random) -> u32 {
        match *self {
            Self::Constant { tokens } => tokens,
            Self::Uniform { min, max } => min + random.below(u64::from(max - min) + 1) as u32,
            Self::LogNormal { mean, sigma, min, max } => {
                let mu = libm::log(mean) - sigma * sigma / 2.0;
                let length = libm::exp(mu + sigma * random.normal());
                (libm::round(length).min(f64::from(max)) as u32).max(min)
            }
        }
    }
}

fn shortest() -> u32 {
    1
}

fn longest() -> u32 {
    MOST_TOKENS as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(lengths: Lengths) -> f64 {
        let mut random = Random::new(3, 0);
        (0..100_000).map(|_| f64::from(lengths.draw(&mut random))).sum::<f64>() / 100_000.0
    }

    #[test]
    fn means_are_as_asked() {
        assert!((mean(Lengths::Uniform { min: 10, max: 30 }) - 20.0).abs() < 0.1);
        let log_normal = Lengths::LogNormal { mean: 500.0, sigma: 1.0, min: 1, max: 1 << 24 };
        assert!((mean(log_normal) / 500.0 - 1.0).abs() < 0.03, "{}", mean(log_normal));
        let cut = Lengths::LogNormal { mean: 500.0, sigma: 1.0, min: 100, max: 200 };
        let mut random = Random::new(1, 1);
        assert!((0..1000).all(|_| (100..=200).contains(&cut.draw(&mut random))));
    }

    #[test]
    fn absurd_lengths_are_refused() {
        for lengths in [
            Lengths::Constant { tokens: 0 },
            Lengths::Uniform { min: 5, max: 4 },
            Lengths::LogNormal { mean: f64::NAN, sigma: 1.0, min: 1, max: 2 },
            Lengths::LogNormal { mean: 1.0, sigma: -1.0, min: 1, max: 2 },
        ] {
            assert!(lengths.validate("workload.source.prompt").is_err(), "{lengths:?}");
        }
    }
}
