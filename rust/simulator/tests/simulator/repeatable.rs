//! The same setup gives the same report, wherever it runs.

use std::ops::ControlFlow;

use lightllm_simulator::{Error, sweep};
use serde_json::json;

use crate::helpers::{Folder, busy, report, setup};

#[test]
fn twice() {
    let folder = Folder::new();
    let text = |name: &str| {
        let mut setup = busy(7);
        setup["csv"] = json!(folder.path(name));
        let report = serde_json::to_string(&report(&setup)).expect("a report can be written");
        (report, std::fs::read_to_string(folder.path(name)).expect("it was written"))
    };
    assert_eq!(text("a.csv"), text("b.csv"));
}

#[test]
fn seeds_count() {
    let (a, b) = (report(&busy(1)), report(&busy(2)));
    assert_ne!(a.ttft_ms, b.ttft_ms);
}

#[test]
fn on_one_thread_and_on_two() {
    let setups: Vec<_> = (0..5).map(|seed| setup(&busy(seed))).collect();
    let mut finished = Vec::new();
    let mut note = |progress: lightllm_simulator::Progress| {
        if progress.finished {
            finished.push(progress.index);
        }
        ControlFlow::Continue(())
    };
    let two = sweep(&setups, 2, &mut note).expect("the setups can be simulated");
    finished.sort_unstable();
    assert_eq!(finished, [0, 1, 2, 3, 4]);
    let one = sweep(&setups, 1, &mut |_| ControlFlow::Continue(())).expect("the setups can be simulated");
    assert_eq!(one, two);
    assert_eq!(one[3], report(&busy(3)));
}

#[test]
fn the_first_error_is_the_error_of_a_sweep() {
    let mut bad = setup(&busy(1));
    bad.limits.requests = Some(0);
    let setups = [setup(&busy(0)), bad, setup(&busy(2))];
    let error = sweep(&setups, 2, &mut |_| ControlFlow::Continue(())).expect_err("one setup is wrong");
    assert!(matches!(error, Error::Setting { .. }), "{error}");
    let stopped = sweep(&setups[..1], 1, &mut |_| ControlFlow::Break(())).expect_err("it was stopped");
    assert_eq!(stopped, Error::Stopped);
}
