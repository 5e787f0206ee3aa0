//! Workloads that are served before the one that is reported.

use serde_json::{Value, json};

use crate::helpers::{Folder, assert_close, brief, busy, of_file, report, try_run};

fn before(setup: &Value, earlier: &[&Value]) -> Value {
    let mut setup = setup.clone();
    let part = |one: &&Value| match one.get("limits") {
        Some(limits) => json!({"workload": one["workload"], "limits": limits}),
        None => json!({"workload": one["workload"]}),
    };
    setup["before"] = earlier.iter().map(part).collect();
    setup
}

/// Requests of one length whose clients wait for their answers.
fn closed(prompt: u32, output: u32, requests: u32) -> Value {
    let constant = |tokens: u32| json!({"kind": "constant", "tokens": tokens});
    json!({
        "workload": {
            "source": {"kind": "synthetic", "prompt": constant(prompt), "output": constant(output)},
            "arrivals": {"kind": "closed", "clients": 4},
        },
        "cost": {"version": 1, "kind": "constant", "ms": 20.0},
        "scheduler": {"pages": 2048, "context": 8192},
        "limits": {"requests": requests},
    })
}

#[test]
fn nothing_of_them_is_reported() {
    let alone = report(&closed(100, 10, 40));
    let after = report(&before(&closed(100, 10, 40), &[&closed(300, 50, 12), &closed(7, 3, 5)]));
    assert_close(after.simulated_seconds, alone.simulated_seconds);
    assert_close(after.e2e_ms.mean, alone.e2e_ms.mean);
    assert_close(after.throughput.output_tokens_per_s, alone.throughput.output_tokens_per_s);
    assert_close(after.utilization.backend, alone.utilization.backend);
    assert_eq!((after.arrived, after.finished, after.evictions), (40, 40, 0), "{}", brief(&after));
    assert!(after.prefix_hit_rate < 1e-9, "their prompts are others: {}", brief(&after));
    assert_close(after.timeline.seconds[0], 0.0);
}

#[test]
fn what_they_left_in_the_prefix_cache_is_there() {
    let mut one = closed(20, 5, 10);
    one["workload"]["shared_prefix"] = json!({"tokens": 640});
    let (alone, after) = (report(&one), report(&before(&one, &[&one])));
    assert!(after.prefix_hit_rate > alone.prefix_hit_rate, "{} {}", brief(&alone), brief(&after));
}

#[test]
fn arrivals_are_counted_from_the_end_of_the_one_before() {
    let folder = Folder::new();
    let header = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type";
    let trace = folder.file("trace.csv", &format!("{header}\n1,m,10,5,15,l\n3,m,10,5,15,l\n"));
    let mut setup = of_file("burstgpt", &trace);
    setup["csv"] = json!(folder.path("requests.csv"));
    let alone = report(&setup);
    let text = || std::fs::read_to_string(folder.path("requests.csv")).expect("it was written");
    let lines = text();
    let after = report(&before(&setup, &[&closed(100, 50, 8), &setup]));
    assert_close(after.simulated_seconds, alone.simulated_seconds);
    assert_eq!(text(), lines);
}

#[test]
fn a_busy_one_ends_and_is_the_same_again() {
    let setup = before(&busy(1), &[&busy(2), &closed(50, 5, 9)]);
    let first = report(&setup);
    assert_eq!(first.finished + first.refused.total, first.arrived);
    assert_eq!(first, report(&setup));
}

#[test]
fn what_is_wrong_with_them_is_said_before_anything_runs() {
    let endless = json!({"workload": closed(1, 1, 1)["workload"]});
    let error =
        try_run(&before(&closed(1, 1, 1), &[&closed(1, 1, 1), &endless])).expect_err("it has no end").to_string();
    assert!(error.starts_with("before[1].limits"), "{error}");
}

#[test]
fn what_is_wrong_with_a_request_of_one_names_it() {
    let mut setup = before(&closed(1, 1, 1), &[&closed(9000, 1, 1)]);
    setup["strict"] = json!(true);
    let error = try_run(&setup).expect_err("the context has 8192").to_string();
    assert!(error.starts_with("before[0].workload.source: the prompt has 9000 tokens"), "{error}");
}

#[test]
fn all_of_them_together_end_before_the_clock_does() {
    let mut slow = closed(1, 1, 1000);
    slow["workload"]["arrivals"] = json!({"kind": "constant"});
    slow["workload"]["rate"] = json!(1e-6); // 1,000 requests in 32 years
    let error = try_run(&before(&slow, &[&slow; 20])).expect_err("640 years are too many nanoseconds").to_string();
    assert!(error.starts_with("before[1].workload.rate: requests arrive after more than 36 years"), "{error}");
}
