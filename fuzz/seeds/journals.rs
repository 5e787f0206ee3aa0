//! Journals of short runs.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use lightllm_journal::{Key, Recorder};
use lightllm_router::{ImageSpan, PolicyConfig, Request, RequestId, RowResult, Scheduler, SchedulerConfig, StepResult};

pub fn journals() -> Vec<Vec<u8>> {
    let small = SchedulerConfig { pages: 12, page_size: 4, slots: 3, context: 40, ..SchedulerConfig::default() };
    let mut journals = vec![journal(small, false), journal(small, true)];
    for name in PolicyConfig::NAMES {
        let policy = PolicyConfig::from_name(name).expect("it is one of the names");
        journals.push(journal(SchedulerConfig { policy, page_size: 1, pages: 48, ..small }, false));
    }
    journals
}

/// A file in memory.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics while writing").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Requests that share beginnings, one of them aborted and one with a sibling, and steps that fail now and then.
fn journal(config: SchedulerConfig, tokens: bool) -> Vec<u8> {
    let file = Shared::default();
    let key = Key::new([1; 16]);
    let mut recorder = Recorder::new(Box::new(file.clone()), &config, key, tokens).expect("memory takes a header");
    let mut scheduler = Scheduler::new(config).expect("the settings are valid");
    for index in 0..6u32 {
        let id = u64::from(index) * 10 + 1;
        let request = Request {
            end_ids: vec![5],
            cache_salt: u128::from(index % 2),
            priority: index as i32 - 2,
            deadline: (index == 3).then_some(1_000_000_000),
            tenant: u64::from(index % 3),
            images: (index == 4).then_some(ImageSpan { start: 9, tokens: 3, ready: false }).into_iter().collect(),
            siblings: (index == 2).then_some(RequestId(id + 1)).into_iter().collect(),
            ..Request::new(RequestId(id), (0..5 + 3 * index).collect(), 6)
        };
        let add = recorder.add(&request, 0);
        add.done(&scheduler.add(request, 0)).expect("memory takes a request");
    }
    for round in 0..40u64 {
        let now = 20_000_000 * (round + 1);
        if round == 5 {
            let found = scheduler.image_ready(RequestId(41), 0, now).expect("it has an image");
            recorder.image_ready(RequestId(41), 0, now, found).expect("memory takes it");
        }
        let plan = scheduler.schedule(now);
        let refused = scheduler.take_refused();
        recorder.schedule(now, plan.as_ref(), &refused).expect("memory takes a plan");
        let Some(plan) = plan else { break };
        if round == 9 {
            let ended = scheduler.fail_step(plan.step);
            recorder.fail_step(plan.step, now, &ended).expect("memory takes a step");
            continue;
        }
        let emitting = plan.rows.iter().enumerate().filter(|(_, row)| row.emits);
        let row = |index: usize| RowResult { row: index as u32, tokens: [(round % 6) as u32][..].into(), failed: None };
        let rows = emitting.map(|(index, _)| row(index)).collect();
        let outputs = scheduler.update(StepResult { step: plan.step, rows }, now).expect("it fits the plan");
        recorder.update(plan.step, now, 19_000, &outputs).expect("memory takes a result");
        if round == 3 {
            let found = scheduler.abort(RequestId(31));
            recorder.abort(RequestId(31), now, found).expect("memory takes an abort");
            recorder.clear_cache(now, scheduler.clear_cache()).expect("memory takes it");
        }
    }
    recorder.flush().expect("memory takes all");
    file.0.lock().expect("nobody panics while writing").clone()
}
