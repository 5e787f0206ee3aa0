//! Many simulations, over several threads.

use std::any::Any;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use crate::engine::{Progress, run};
use crate::error::{Error, Result};
use crate::report::Report;
use crate::setup::Setup;

enum News {
    Progress(Progress),
    Done(usize, Box<Result<Report>>),
    Panicked(Box<dyn Any + Send>),
}

/// Simulates all setups on `threads` threads (0: as many as the machine has cores), and gives their reports in the
/// order of the setups. `progress` is called on the thread of the caller, and can stop all of them, which is
/// [`Error::Stopped`].
///
/// The first error, in the order of the setups, is the error of the sweep; then what was not begun stays undone.
pub fn sweep(
    setups: &[Setup],
    threads: usize,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Vec<Report>> {
    sweep_with(run, setups, threads, progress)
}

/// A simulation of one setup.
type Simulate = fn(&Setup, &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<Report>;

fn sweep_with(
    simulate: Simulate,
    setups: &[Setup],
    threads: usize,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Vec<Report>> {
    let cores = || thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = if threads == 0 { cores() } else { threads }.min(setups.len());
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut reports: Vec<Option<Result<Report>>> = setups.iter().map(|_| None).collect();
    let mut panicked = None;
    thread::scope(|scope| {
        let (send, receive) = mpsc::channel();
        for _ in 0..threads {
            let send = send.clone();
            let (next, stop) = (&next, &stop);
            scope.spawn(move || work(simulate, setups, next, stop, &send));
        }
        drop(send);
        for news in receive {
            match news {
                News::Progress(news) => {
                    if progress(news).is_break() {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
                News::Done(index, report) => {
                    if report.is_err() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    reports[index] = Some(*report);
                }
                News::Panicked(panic) => {
                    stop.store(true, Ordering::Relaxed);
                    panicked.get_or_insert(panic);
                }
            }
        }
    });
    if let Some(panic) = panicked {
        // On the thread of the caller, who may catch it, with its text.
        resume_unwind(panic);
    }
    let stopped = |error: &&Error| **error == Error::Stopped;
    let mut errors = reports.iter().flatten().filter_map(|report| report.as_ref().err());
    match errors.find(|error| !stopped(error)) {
        Some(error) => Err(error.clone()),
        None if stop.into_inner() => Err(Error::Stopped),
        None => {
            reports.into_iter().map(|report| report.expect("all were simulated, since nothing stopped them")).collect()
        }
    }
}

/// Simulates what nobody has begun yet, until there is nothing left.
fn work(simulate: Simulate, setups: &[Setup], next: &AtomicUsize, stop: &AtomicBool, send: &mpsc::Sender<News>) {
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= setups.len() || stop.load(Ordering::Relaxed) {
            return;
        }
        let mut tell = |progress| {
            // Nobody listens any more only if the caller's thread panics, which ends the program.
            let _ = send.send(News::Progress(Progress { index, ..progress }));
            if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        // What a panic leaves half changed is gone with it.
        let done = catch_unwind(AssertUnwindSafe(|| simulate(&setups[index], &mut tell)));
        let _ = send.send(done.map_or_else(News::Panicked, |report| News::Done(index, Box::new(report))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_a_thread_reaches_the_caller_with_its_text() {
        let setup = serde_json::json!({
            "workload": {"source": {"kind": "azure", "path": "nothing"}},
            "cost": {"version": 1, "kind": "constant", "ms": 1},
        });
        let setups = vec![Setup::read(setup).expect("a setup"); 3];
        let broken: Simulate = |_, _| panic!("made up");
        let caught = catch_unwind(|| sweep_with(broken, &setups, 2, &mut |_| ControlFlow::Continue(())));
        assert_eq!(caught.expect_err("it panics").downcast_ref(), Some(&"made up"));
    }
}
