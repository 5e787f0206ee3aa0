//! Policies on a trace (or `dist-1`), under a KV cache that is too small for it.
//!
//! `cargo run --release -p lightllm-simulator --example admission_traces -- TRACE KV_TOKENS RATE_SCALE MAX_TOKENS
//! POLICY[:parameter=value[,..]]..`
//!
//! The step times are those of a model of 8B parameters on a GPU of 80 GB, by arithmetic.

#![allow(clippy::print_stdout, reason = "figures are printed")]

use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;

use lightllm_router::PolicyConfig;
use lightllm_simulator::{Setup, run};
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [trace, kv_tokens, rate_scale, max_tokens, policies @ ..] = arguments.as_slice() else {
        return Err("give TRACE KV_TOKENS RATE_SCALE MAX_TOKENS POLICY..".into());
    };
    let is_csv = Path::new(trace).extension().is_some_and(|extension| extension == "csv");
    let (source, arrivals) = match (trace.as_str(), is_csv) {
        // The first workload of the Past-Future paper, all of it at once.
        ("dist-1", _) => {
            let lengths = |min: u32| json!({"kind": "uniform", "min": min, "max": 4096});
            let source = json!({"kind": "synthetic", "prompt": lengths(32), "output": lengths(2048)});
            (source, json!({"kind": "at_once"}))
        }
        (_, true) => (json!({"kind": "azure", "path": trace}), json!({"kind": "trace"})),
        (_, false) => (json!({"kind": "mooncake", "path": trace}), json!({"kind": "trace"})),
    };
    let requests = if trace == "dist-1" { json!({"requests": 2000}) } else { json!({}) };
    println!(
        "| policy | seconds | output tok/s | TTFT mean, p99 (s) | ITL p99 (ms) | E2E mean (s) | evicted % | KV % | running |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for specification in policies {
        let policy = read(specification)?;
        let setup: Setup = serde_json::from_value(json!({
            "workload": {
                "source": source,
                "arrivals": arrivals,
                "rate_scale": if trace == "dist-1" { None } else { Some(rate_scale.parse::<f64>()?) },
                "max_tokens": max_tokens.parse::<u32>()?,
            },
            "cost": {
                "version": 1, "kind": "roofline",
                "gpu": {"bandwidth_gbs": 3000, "tflops": 600, "overhead_ms": 1.0},
                "model": {
                    "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8,
                    "intermediate_size": 14336, "vocab_size": 128_256,
                },
            },
            "scheduler": {
                "pages": kv_tokens.parse::<u32>()? / 16, "queue_requests": 1_000_000,
                "queue_tokens": 1_000_000_000_000_u64, "policy": policy,
            },
            "limits": requests,
            "seed": 1,
        }))?;
        let report = run(&setup, &mut |_| ControlFlow::Continue(()))?;
        println!(
            "| {specification} | {:.0} | {:.0} | {:.2}, {:.2} | {:.1} | {:.2} | {:.2} | {:.1} | {:.1} |",
            report.simulated_seconds,
            report.throughput.output_tokens_per_s,
            report.ttft_ms.mean / 1000.0,
            report.ttft_ms.p99 / 1000.0,
            report.itl_ms.p99,
            report.e2e_ms.mean / 1000.0,
            report.evicted_percent,
            100.0 * report.utilization.kv_mean,
            report.utilization.running_mean,
        );
    }
    Ok(())
}

fn read(specification: &str) -> Result<PolicyConfig, Box<dyn Error>> {
    let (name, parameters) = specification.split_once(':').unwrap_or((specification, ""));
    let mut policy = PolicyConfig::from_name(name)?;
    for parameter in parameters.split(',').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or("parameters are name=value")?;
        policy = policy.with(name, value.parse()?)?;
    }
    Ok(policy)
}
