//! Setups, and files that are gone after the test.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use lightllm_simulator::{Cdf, Error, Report, Setup, Timeline, run};
use serde_json::{Value, json};

/// A folder of one test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("lightllm-simulator-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("the folder is new");
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("the folder can be written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A setup of a source, with steps of 20 ms.
pub fn of_source(source: &Value) -> Value {
    json!({
        "workload": {"source": source},
        "cost": {"version": 1, "kind": "constant", "ms": 20.0},
        "scheduler": {"pages": 2048, "context": 8192},
    })
}

pub fn of_file(kind: &str, path: &Path) -> Value {
    of_source(&json!({"kind": kind, "path": path}))
}

/// A busy setup: 200 requests, in part over shared prefixes, with priorities and tenants, on few pages.
pub fn busy(seed: u64) -> Value {
    json!({
        "workload": {
            "source": {
                "kind": "synthetic",
                "prompt": {"kind": "log_normal", "mean": 300, "sigma": 1.0, "max": 2000},
                "output": {"kind": "uniform", "min": 1, "max": 200},
            },
            "arrivals": {"kind": "gamma", "shape": 0.3},
            "rate": 25,
            "max_tokens": 250,
            "shared_prefix": {"tokens": 100, "groups": 3},
            "tenants": 3,
            "priorities": [-1, 0, 5],
        },
        "cost": {"version": 1, "kind": "fitted", "base_ms": 8, "prefill_token_ms": 0.03, "decode_context_ms": 1e-4},
        "scheduler": {"pages": 250, "slots": 32, "context": 2500, "policy": {"name": "aggressive", "watermark": 1.0}},
        "slo": {"ttft_ms": 500, "itl_ms": 20},
        "limits": {"requests": 200},
        "seed": seed,
    })
}

pub fn setup(value: &Value) -> Setup {
    serde_json::from_value(value.clone()).expect("the test's setup can be read")
}

pub fn try_run(value: &Value) -> Result<Report, Error> {
    run(&setup(value), &mut |_| ControlFlow::Continue(()))
}

pub fn report(value: &Value) -> Report {
    try_run(value).expect("the setup can be simulated")
}

/// The figures of a report that fit on a few lines.
pub fn brief(report: &Report) -> String {
    let short = Report { timeline: Timeline::default(), cdf: Cdf::default(), ..report.clone() };
    format!("{short:?}")
}

/// `a` and `b` are equal but for rounding.
pub fn assert_close(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0), "{a} is not {b}");
}
