//! When requests arrive.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::random::Random;

/// A process of arrivals. All but `trace`, `closed` and `at_once` need [`Workload::rate`](super::Workload::rate).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Arrivals {
    /// As the source says.
    #[default]
    Trace,
    /// Independent of each other: times between arrivals are exponential.
    Poisson,
    /// Bursts: times between arrivals are gamma distributed with this shape, and their coefficient of variation is
    /// one over its square root. 1 is Poisson; less means more bursts.
    Gamma {
        /// Above 0.
        shape: f64,
    },
    /// At equal distances.
    Constant,
    /// All at the start.
    AtOnce,
    /// So many clients, each of which sends its next request when its last one has ended (closed loop).
    Closed {
        /// Number of clients.
        clients: u32,
        /// Milliseconds that a client waits between an answer and its next request.
        #[serde(default)]
        think_ms: f64,
        /// Milliseconds over which the clients send their first requests, at equal distances.
        #[serde(default)]
        ramp_ms: f64,
    },
}

impl Arrivals {
    pub(super) fn validate(&self) -> Result<()> {
        match *self {
            Self::Gamma { shape } if !(0.001..=1000.0).contains(&shape) => {
                Err(Error::setting("workload.arrivals.shape", format!("{shape} must be from 0.001 to 1000")))
            }
            Self::Closed { clients, .. } if !(1..=1 << 20).contains(&clients) => {
                Err(Error::setting("workload.arrivals.clients", format!("{clients} must be from 1 to {}", 1 << 20)))
            }
            Self::Closed { think_ms, ramp_ms, .. } => {
                for (name, ms) in [("think_ms", think_ms), ("ramp_ms", ramp_ms)] {
                    if !(0.0..=86_400_000.0).contains(&ms) {
                        let reason = format!("{ms} must be from 0 to 86400000");
                        return Err(Error::setting(format!("workload.arrivals.{name}"), reason));
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether [`gap`](Self::gap) makes the times.
    pub(super) fn has_gaps(&self) -> bool {
        matches!(self, Self::Poisson | Self::Gamma { .. } | Self::Constant)
    }

    /// Time between two arrivals, the mean being 1.
    pub(super) fn gap(&self, random: &mut Random) -> f64 {
        match *self {
            Self::Poisson => random.exponential(),
            Self::Gamma { shape } => random.gamma(shape),
            _ => 1.0,
        }
    }
}
