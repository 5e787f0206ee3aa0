use serde::{Deserialize, Serialize};

union! {
    /// What the health server hears.
    HealthMessage {
        /// Sent once a second by every process, by an idle router every other second.
        "heartbeat" => Heartbeat {
            #[allow(missing_docs)] process: String,
            /// Work is in flight.
            busy: bool,
            /// Any number that changes when work is done.
            progress: u64,
            /// The queue refuses new requests.
            full: bool,
        }
        /// From the supervisor.
        "state" => ServiceState {
            #[allow(missing_docs)] state: String,
            /// Why no image can be encoded; empty if one can, and for a model of text.
            images: String,
        }
        /// From an HTTP process.
        "health?" => HealthQuery { #[allow(missing_docs)] query: u64 }
    }
}

union! {
    /// What the metric server hears.
    MetricsMessage {
        /// Sent once a second by every process, less often by an idle router.
        "report" => Report {
            #[allow(missing_docs)] process: String,
            #[allow(missing_docs)] cpu_seconds: f64,
            #[allow(missing_docs)] samples: Vec<Sample>,
            #[allow(missing_docs)] observations: Vec<Observations>,
        }
        /// From an HTTP process.
        "metrics?" => MetricsQuery { #[allow(missing_docs)] query: u64 }
        /// From an HTTP process.
        "gauges?" => GaugesQuery { #[allow(missing_docs)] query: u64, #[allow(missing_docs)] names: Vec<String> }
    }
}

union! {
    /// What an HTTP process hears from the health and the metric server.
    TelemetryAnswer {
        /// Answer to [`HealthQuery`].
        "health" => HealthAnswer {
            #[allow(missing_docs)] query: u64,
            #[allow(missing_docs)] healthy: bool,
            #[allow(missing_docs)] ready: bool,
            #[allow(missing_docs)] reason: String,
        }
        /// Answer to [`MetricsQuery`], in Prometheus' text format.
        "metrics" => MetricsAnswer { #[allow(missing_docs)] query: u64, #[allow(missing_docs)] text: String }
        /// Answer to [`GaugesQuery`].
        "gauges" => GaugesAnswer { #[allow(missing_docs)] query: u64, #[allow(missing_docs)] values: Vec<f64> }
    }
}

/// One value: a gauge, or what a counter grew by since the last report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Sample {
    pub name: String,
    pub value: f64,
    pub labels: Vec<String>,
}

/// Values of a histogram since the last report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Observations {
    pub name: String,
    pub values: Vec<f64>,
    pub labels: Vec<String>,
}
