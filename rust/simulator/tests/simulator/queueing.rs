//! Cases whose figures are known beforehand.

use lightllm_router::PolicyConfig;
use serde_json::{Value, json};

use crate::helpers::{assert_close, brief, busy, of_source, report, try_run};

/// Prompts and outputs of one length, steps of 20 ms.
fn uniform(arrivals: &Value, prompt: u32, output: u32, requests: u32) -> Value {
    let mut setup = of_source(&json!({
        "kind": "synthetic",
        "prompt": {"kind": "constant", "tokens": prompt},
        "output": {"kind": "constant", "tokens": output},
    }));
    setup["workload"]["arrivals"] = arrivals.clone();
    setup["limits"] = json!({"requests": requests});
    setup
}

#[test]
fn one_request_alone() {
    let report = report(&uniform(&json!({"kind": "at_once"}), 100, 10, 1));
    assert_close(report.ttft_ms.mean, 20.0);
    assert_close(report.itl_ms.mean, 20.0);
    assert_close(report.e2e_ms.mean, 200.0);
    assert_close(report.simulated_seconds, 0.2);
    assert_eq!(report.steps, 11, "and one plan that tells of the empty slot");
    assert_close(report.utilization.backend, 1.0);
}

#[test]
fn a_step_that_no_other_hides_takes_longer() {
    let mut setup = uniform(&json!({"kind": "constant"}), 100, 10, 3);
    setup["workload"]["rate"] = json!(1.0);
    setup["cost"]["idle_ms"] = json!(3.0);
    let report = report(&setup);
    // The first step of each begins on an idle backend, the others are planned while one runs.
    assert_close(report.ttft_ms.mean, 23.0);
    assert_close(report.itl_ms.mean, 20.0);
    setup["cost"]["idle_ms"] = json!(-1.0);
    let error = try_run(&setup).expect_err("no time is below 0").to_string();
    assert!(error.contains("cost.idle_ms"), "{error}");
}

#[test]
fn a_prompt_of_several_chunks() {
    let mut setup = uniform(&json!({"kind": "at_once"}), 1000, 2, 1);
    setup["scheduler"]["prefill_chunk"] = json!(300);
    assert_close(report(&setup).ttft_ms.mean, 80.0);
}

#[test]
fn an_arrival_waits_for_the_step_that_runs_and_the_one_behind_it() {
    let mut setup = uniform(&json!({"kind": "constant"}), 10, 100, 2);
    setup["workload"]["rate"] = json!(1000.0 / 510.0);
    // The second arrives after 510 ms, in the middle of the 26th step, while the 27th is planned: it is in the 28th,
    // which ends after 560 ms.
    let report = report(&setup);
    assert_close(report.ttft_ms.max, 50.0);
    assert_close(report.ttft_ms.p50, 20.0);
}

#[test]
fn a_closed_loop_keeps_its_clients_busy() {
    let mut setup = uniform(&json!({"kind": "closed", "clients": 4, "think_ms": 100}), 10, 10, 40);
    let closed = report(&setup);
    assert_eq!(closed.finished, 40);
    // Each client: 10 steps, then 100 ms; a round begins while nothing runs.
    assert_close(closed.simulated_seconds, 10.0 * 0.2 + 9.0 * 0.1);
    assert_close(closed.timeline.running.iter().fold(0.0, |a: f64, b| a.max(*b)), 4.0);
    setup["limits"] = json!({"seconds": 1.0});
    // A round takes 0.3 s: they begin at 0, 0.3, 0.6 and 0.9 s.
    assert_eq!(report(&setup).finished, 16);
}

#[test]
fn clients_may_begin_one_after_the_other() {
    let of = |ramp_ms: f64| uniform(&json!({"kind": "closed", "clients": 4, "ramp_ms": ramp_ms}), 10, 200, 4);
    assert_close(report(&of(0.0)).simulated_seconds, 4.0);
    // They come at 0, 1, 2 and 3 s, at the end of a step; the next one is planned by then.
    let apart = report(&of(4000.0));
    assert_close(apart.simulated_seconds, 3.0 + 0.02 + 4.0);
    assert!(apart.ttft_ms.max <= 40.0, "{:?}", apart.ttft_ms);
    let error = try_run(&of(-1.0)).expect_err("no time is below 0").to_string();
    assert!(error.contains("workload.arrivals.ramp_ms"), "{error}");
}

#[test]
fn clients_that_are_refused_come_back_later() {
    let mut setup = uniform(&json!({"kind": "closed", "clients": 8}), 10, 10, 30);
    setup["scheduler"]["slots"] = json!(1);
    setup["scheduler"]["queue_requests"] = json!(2);
    let report = report(&setup);
    assert_eq!(report.finished + report.refused.queue_full, 30);
    assert!(report.refused.queue_full > 0 && report.finished > 0);
    assert!(report.simulated_seconds >= 1.0, "a refused client waits for a second at least");
}

#[test]
fn a_server_that_is_too_slow_grows_a_queue() {
    let mut setup = uniform(&json!({"kind": "poisson"}), 64, 50, 300);
    setup["scheduler"]["slots"] = json!(10);
    // Ten slots serve ten requests a second.
    for (rate, load) in [(5, 0.5), (20, 2.0)] {
        setup["workload"]["rate"] = json!(rate);
        let report = report(&setup);
        let at_end = report.simulated_seconds - 300.0 / f64::from(rate);
        if load < 1.0 {
            assert!(report.queue_ms.p50 < 50.0 && at_end < 5.0, "{}", brief(&report));
        } else {
            assert!(report.queue_ms.p50 > 1000.0 && at_end > 10.0, "{}", brief(&report));
        }
        assert_close(report.throughput.requests_per_s, 300.0 / report.simulated_seconds);
    }
}

#[test]
fn rates_are_set_or_multiplied() {
    let seconds = |change: &dyn Fn(&mut Value)| {
        let mut setup = uniform(&json!({"kind": "constant"}), 10, 1, 101);
        setup["workload"]["rate"] = json!(10);
        change(&mut setup);
        report(&setup).simulated_seconds - 0.02
    };
    assert_close(seconds(&|_| ()), 10.0);
    assert_close(seconds(&|setup| setup["workload"]["rate_scale"] = json!(2)), 5.0);
    let folder = crate::helpers::Folder::new();
    let rows: Vec<String> = (0..101).map(|row| format!("{},m,10,1,11,l", row * 3)).collect();
    let header = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type";
    let text = format!("{header}\n{}", rows.join("\n"));
    let path = folder.file("trace.csv", &text);
    let of_trace = |change: &dyn Fn(&mut Value)| {
        seconds(&|setup| {
            setup["workload"] = json!({"source": {"kind": "burstgpt", "path": path}});
            change(setup);
        })
    };
    assert_close(of_trace(&|_| ()), 300.0);
    assert_close(of_trace(&|setup| setup["workload"]["rate_scale"] = json!(3)), 100.0);
    assert_close(of_trace(&|setup| setup["workload"]["rate"] = json!(4)), 25.0);
    // Its lengths, at other times.
    let again = of_trace(&|setup| {
        setup["workload"]["arrivals"] = json!({"kind": "constant"});
        setup["workload"]["rate"] = json!(20);
    });
    assert_close(again, 5.0);
}

#[test]
fn bursts_wait_longer() {
    let p99 = |arrivals: &Value| {
        let mut setup = uniform(arrivals, 64, 50, 2000);
        setup["scheduler"]["slots"] = json!(10);
        setup["workload"]["rate"] = json!(7);
        report(&setup).queue_ms.p99
    };
    let (steady, random) = (p99(&json!({"kind": "constant"})), p99(&json!({"kind": "poisson"})));
    let bursts = p99(&json!({"kind": "gamma", "shape": 0.2}));
    assert!(steady < random && random < bursts, "{steady} {random} {bursts}");
}

#[test]
fn shared_prefixes_are_found() {
    let mut setup = uniform(&json!({"kind": "constant"}), 16, 1, 100);
    setup["workload"]["rate"] = json!(5);
    assert_close(report(&setup).prefix_hit_rate, 0.0);
    setup["workload"]["shared_prefix"] = json!({"tokens": 112, "groups": 2});
    // All but the first of each group find 112 of their 128 tokens.
    assert_close(report(&setup).prefix_hit_rate, 98.0 * 112.0 / 12_800.0);
}

/// A step takes 20 ms whatever it does: text before the image is computed while the image is made ready.
#[test]
fn images_are_waited_for_and_hold_nothing_up() {
    let ttft = |image: Option<(u32, f64)>, prefix_cache: bool| {
        let mut setup = uniform(&json!({"kind": "constant"}), 640, 2, 10);
        setup["workload"]["rate"] = json!(1);
        setup["scheduler"] = json!({"pages": 400, "prefill_chunk": 64, "prefix_cache": prefix_cache});
        if let Some((after, delay_ms)) = image {
            setup["workload"]["image"] = json!({"after": after, "tokens": 64, "delay_ms": delay_ms});
        }
        let report = report(&setup);
        assert_eq!((report.finished, report.evictions), (10, 0));
        report.ttft_ms.mean
    };
    assert_close(ttft(None, true), 200.0);
    assert_close(ttft(Some((320, 0.0)), true), 220.0);
    assert_close(ttft(Some((0, 150.0)), true), 370.0);
    assert_close(ttft(Some((320, 150.0)), true), 270.0); // five of eleven steps are done by then
    assert_close(ttft(Some((320, 150.0)), false), 370.0);
    // Whom an image keeps waiting keeps nobody else: two kinds of requests in one slot.
    let mut setup = uniform(&json!({"kind": "at_once"}), 64, 1, 30);
    setup["scheduler"]["slots"] = json!(1);
    setup["workload"]["image"] = json!({"after": 0, "tokens": 64, "delay_ms": 5000.0});
    assert_close(report(&setup).simulated_seconds, 5.6);
}

#[test]
fn what_can_never_run_is_refused() {
    let mut setup = uniform(&json!({"kind": "at_once"}), 100, 10, 3);
    setup["scheduler"] = json!({"pages": 4, "context": 8192});
    assert_eq!(report(&setup).refused.pool, 3);
    setup["scheduler"] = json!({"pages": 400, "context": 105});
    assert_eq!(report(&setup).refused.context, 3);
    setup["strict"] = json!(true);
    let error = try_run(&setup).expect_err("the first is too large");
    assert!(error.to_string().contains("the context has 105"), "{error}");
    setup["strict"] = json!(false);
    // A client that does not know its length asks for what the context allows.
    setup["workload"]["max_tokens"] = json!(50);
    let cut = report(&setup);
    assert_eq!((cut.finished, cut.itl_ms.count), (3, 12));
}

#[test]
fn deadlines_are_refused_only_if_asked() {
    let mut setup = uniform(&json!({"kind": "at_once"}), 64, 50, 40);
    setup["scheduler"]["slots"] = json!(4);
    setup["workload"]["deadline_ms"] = json!(2500);
    assert_eq!(report(&setup).refused.total, 0);
    setup["scheduler"]["order"] = json!({"refuse_late": true});
    let refusing = report(&setup);
    assert!(refusing.refused.deadline > 0 && refusing.finished > 0, "{}", brief(&refusing));
    assert_eq!(refusing.refused.deadline + refusing.finished, 40);
}

#[test]
fn groups_get_all_their_outputs() {
    let mut setup = uniform(&json!({"kind": "constant"}), 100, 10, 20);
    setup["workload"]["rate"] = json!(1);
    setup["workload"]["n"] = json!(4);
    let report = report(&setup);
    assert_eq!((report.arrived, report.finished), (80, 80));
    assert_eq!(report.itl_ms.count, 80 * 9);
}

#[test]
fn every_policy_serves_everybody() {
    for policy in PolicyConfig::NAMES {
        for mode in ["chunked", "prefill_first", "decode_first"] {
            let mut setup = busy(4);
            setup["scheduler"]["policy"] = json!(policy);
            setup["scheduler"]["mode"] = json!(mode);
            let report = report(&setup);
            assert_eq!((report.finished, report.policy.as_str()), (200, policy), "{mode}");
            if policy == "conservative" {
                assert_eq!(report.evictions, 0);
            }
        }
    }
}
