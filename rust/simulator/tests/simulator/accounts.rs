//! Figures agree with each other, and with those of the journal of the same run.

use std::collections::BTreeMap;

use lightllm_journal::{OnDifference, Reader, replay, summary};
use serde_json::json;

use crate::helpers::{Folder, assert_close, brief, busy, report};

#[test]
fn requests_are_accounted_for_one_by_one() {
    let folder = Folder::new();
    let csv = folder.path("requests.csv");
    let mut setup = busy(5);
    setup["csv"] = json!(csv);
    setup["scheduler"]["queue_requests"] = json!(4);
    let report = report(&setup);
    assert!(report.refused.queue_full > 0 && report.goodput.requests > 0, "{}", brief(&report));
    assert!(report.goodput.requests < report.finished);
    assert_eq!(report.arrived, 200);
    assert_eq!(report.finished + report.refused.total, 200);

    let text = std::fs::read_to_string(csv).expect("it was written");
    let names: Vec<&str> = text.lines().next().expect("a header").split(',').collect();
    let rows: Vec<BTreeMap<&str, &str>> =
        text.lines().skip(1).map(|line| names.iter().copied().zip(line.split(',')).collect()).collect();
    let column = |name: &str| -> Vec<f64> {
        rows.iter().filter(|row| row["outcome"] == "finished").filter_map(|row| row[name].parse().ok()).collect()
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    assert_eq!(rows.len(), 200);
    assert_eq!(rows.iter().filter(|row| row["outcome"] == "queue_full").count() as u64, report.refused.queue_full);
    assert_close(column("good").iter().sum::<f64>(), report.goodput.requests as f64);
    // Whoever is evicted while the last token is on its way does not start again; there are few of them.
    let started_again = column("evictions").iter().sum::<f64>();
    assert!(started_again > 0.9 * report.evictions as f64 && started_again <= report.evictions as f64);
    for (name, summary) in [
        ("ttft_ms", report.ttft_ms),
        ("e2e_ms", report.e2e_ms),
        ("tpot_ms", report.tpot_ms),
        ("queue_ms", report.queue_ms),
    ] {
        let mut values = column(name);
        assert_eq!(values.len() as u64, summary.count, "{name}");
        assert!(
            (mean(&values) - summary.mean).abs() < 1e-6 * summary.mean,
            "{name}: {} {}",
            mean(&values),
            summary.mean
        );
        values.sort_by(f64::total_cmp);
        assert_close(values[(values.len() * 9).div_ceil(10) - 1], summary.p90);
        assert_close(*values.last().expect("some"), summary.max);
    }
    let tokens = column("output_tokens").iter().sum::<f64>();
    assert_close(report.throughput.output_tokens_per_s * report.simulated_seconds, tokens);
    assert_eq!(report.itl_ms.count, tokens as u64 - report.finished, "one a token but the first");
    assert_eq!(report.cdf.part.len(), report.cdf.itl_ms.len());
    assert!(report.timeline.kv.iter().all(|part| (0.0..=1.0).contains(part)));
    assert!(report.utilization.kv_max <= 1.0 && report.utilization.kv_mean <= report.utilization.kv_max);
}

/// The journal is measured by another crate, from the calls of the scheduler alone.
#[test]
fn the_journal_says_the_same_and_replays() {
    for n in [1, 3] {
        let folder = Folder::new();
        let path = folder.path("journal");
        let mut setup = busy(11);
        setup["journal"] = json!(path);
        setup["workload"]["n"] = json!(n);
        let report = report(&setup);
        let open = || Reader::open(&path).expect("it was written");
        let summary = summary(open()).expect("a good journal");
        assert_eq!((summary.requests, summary.finished), (report.arrived, report.finished));
        let prompt_tokens = report.throughput.prompt_tokens_per_s * report.simulated_seconds;
        if n == 1 {
            assert_close(prompt_tokens, summary.prompt_tokens as f64);
        }
        for (figures, ours) in
            [(summary.ttft, report.ttft_ms), (summary.itl, report.itl_ms), (summary.e2e, report.e2e_ms)]
        {
            assert_eq!(figures.count, ours.count);
            assert_close(figures.mean * 1e3, ours.mean);
            assert_close(figures.max * 1e3, ours.max);
        }
        let replayed = replay(open(), OnDifference::Stop).expect("a good journal");
        assert!(replayed.identical() && replayed.steps == report.steps, "{replayed:?}");
    }
}
