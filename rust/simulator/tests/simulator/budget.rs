//! Time as a budget, on a machine that was measured.

use std::fmt::Write;
use std::path::Path;

use lightllm_simulator::Report;
use serde_json::{Value, json};

use crate::helpers::{Folder, of_file, of_source, report};

/// A server with a model of 8B parameters on an H100.
fn on_an_h100(setup: Value, step_ms: u64, lead_us: u64) -> Report {
    balanced(setup, step_ms, lead_us, 0)
}

fn balanced(mut setup: Value, step_ms: u64, lead_us: u64, balance_tokens: u32) -> Report {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/costs/h100-llama-3.1-8b.json");
    let cost = std::fs::read_to_string(path).expect("the cost model is there");
    setup["cost"] = serde_json::from_str(&cost).expect("it is JSON");
    setup["scheduler"] = json!({
        "pages": 28_000, "context": 40_000, "slots": 256, "step_tokens": 8192, "prefill_chunk": 8192,
        "step_ns": step_ms * 1_000_000, "plan_lead_ns": lead_us * 1000, "balance_tokens": balance_tokens,
    });
    report(&setup)
}

fn synthetic(prompt: u32, output: u32) -> Value {
    of_source(&json!({
        "kind": "synthetic",
        "prompt": {"kind": "constant", "tokens": prompt},
        "output": {"kind": "constant", "tokens": output},
    }))
}

/// So many clients, each with its next request when its last one has ended.
fn closed(prompt: u32, output: u32, clients: u32, requests: u32) -> Value {
    let mut setup = synthetic(prompt, output);
    setup["workload"]["arrivals"] = json!({"kind": "closed", "clients": clients, "think_ms": 1});
    setup["limits"] = json!({"requests": requests});
    setup
}

#[test]
fn long_prompts_hold_nobody_for_longer_than_the_budget() {
    let mut trace = "TIMESTAMP,ContextTokens,GeneratedTokens\n".to_owned();
    (0..64).for_each(|_| trace.push_str("2026-01-01 00:00:00,512,1500\n"));
    for second in [4, 7, 10, 13] {
        writeln!(trace, "2026-01-01 00:00:{second:02},32000,16").expect("a string takes it");
    }
    let folder = Folder::new();
    let trace = of_file("azure", &folder.file("long.csv", &trace));
    let free = on_an_h100(trace.clone(), 0, 0);
    assert!(free.itl_ms.max > 300.0 && free.itl_ms.p99 > 100.0, "{:?}", free.itl_ms);
    let bounded = on_an_h100(trace, 80, 2500);
    assert!(bounded.itl_ms.max < 100.0, "{:?}", bounded.itl_ms);
    assert!(bounded.ttft_ms.max < 1.3 * free.ttft_ms.max, "{:?}", bounded.ttft_ms);
    assert!(bounded.simulated_seconds < 1.01 * free.simulated_seconds);
}

#[test]
fn a_budget_costs_little_or_nothing_where_all_is_throughput() {
    for (prompt, output, clients, requests, least) in
        [(128, 512, 256, 512, 0.99), (1024, 256, 256, 512, 1.0), (4096, 16, 64, 128, 0.98)]
    {
        let setup = closed(prompt, output, clients, requests);
        let free = on_an_h100(setup.clone(), 0, 0).throughput.output_tokens_per_s;
        let bounded = on_an_h100(setup, 80, 2500).throughput.output_tokens_per_s;
        assert!(bounded > least * free, "{prompt}/{output}: {bounded} where it was {free} without");
    }
}

/// Prompts that come all at once would else be computed all at once, and then nothing but decoded.
#[test]
fn steps_in_balance_do_more() {
    for (prompt, output, clients, requests, least) in
        [(128, 512, 256, 512, 0.99), (1024, 256, 256, 768, 1.01), (4096, 16, 64, 128, 0.99)]
    {
        let setup = closed(prompt, output, clients, requests);
        let (free, even) = (balanced(setup.clone(), 80, 2500, 0), balanced(setup, 80, 2500, 1024));
        let (before, after) = (free.throughput.output_tokens_per_s, even.throughput.output_tokens_per_s);
        assert!(after > least * before, "{prompt}/{output}: {after} where it was {before} without");
        assert!(even.itl_ms.p99 < 1.05 * free.itl_ms.p99, "{:?} {:?}", free.itl_ms, even.itl_ms);
    }
}

/// Half a step instead of one and a half.
#[test]
fn plans_that_leave_late_have_arrivals_wait_for_less() {
    let mut setup = synthetic(512, 128);
    setup["workload"]["arrivals"] = json!({"kind": "poisson"});
    setup["workload"]["rate"] = json!(20);
    setup["limits"] = json!({"requests": 1000});
    let (early, late) = (on_an_h100(setup.clone(), 80, 0), on_an_h100(setup, 80, 2500));
    assert!(late.ttft_ms.mean < early.ttft_ms.mean - 4.0, "{:?} {:?}", early.ttft_ms, late.ttft_ms);
    assert!(late.ttft_ms.p99 < early.ttft_ms.p99, "{:?} {:?}", early.ttft_ms, late.ttft_ms);
    assert!(late.tpot_ms.mean < 1.01 * early.tpot_ms.mean, "{:?} {:?}", early.tpot_ms, late.tpot_ms);
    assert!(late.simulated_seconds < 1.001 * early.simulated_seconds, "the backend is never made to wait");
}

#[test]
fn what_rows_have_in_common_is_read_once() {
    let mut setup = closed(64, 100, 8, 32);
    setup["workload"]["shared_prefix"] = json!({"tokens": 2048, "groups": 1});
    setup["cost"] = json!({"version": 1, "kind": "fitted", "base_ms": 5, "decode_context_ms": 1e-3});
    let with = |shared_rows: u32| {
        let mut setup = setup.clone();
        setup["scheduler"] = json!({"pages": 2048, "context": 8192, "shared_rows": shared_rows});
        report(&setup).itl_ms.p50
    };
    let (apart, together) = (with(0), with(4));
    // Of eight rows, seven need not read 2,048 positions: 14.3 ms of 22 or so.
    assert!((13.5..15.0).contains(&(apart - together)), "{apart} {together}");
}
