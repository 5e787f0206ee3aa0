//! The engine's plans are those of a scheduler that is driven by hand with the same requests.

use std::collections::VecDeque;

use lightllm_journal::{Reader, Record, digest};
use lightllm_router::{Request, RequestId, RowResult, Scheduler, StepPlan, StepResult};
use serde_json::json;

use crate::helpers::{Folder, brief, report, setup};

const END: u32 = u32::MAX;
const STEP_NS: u64 = 20_000_000;
const LENGTHS: [(u32, u32, u32); 7] =
    [(0, 900, 90), (0, 40, 95), (15, 700, 88), (40, 305, 90), (41, 1800, 70), (400, 10, 1), (900, 600, 60)];
const MAX_TOKENS: u32 = 100;

#[test]
fn by_hand() {
    let folder = Folder::new();
    let rows: Vec<String> =
        LENGTHS.iter().map(|(ms, prompt, output)| format!("0.{ms:03},m,{prompt},{output},0,l")).collect();
    let header = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type";
    let text = format!("{header}\n{}", rows.join("\n"));
    let path = folder.path("journal");
    let value = json!({
        "workload": {"source": {"kind": "burstgpt", "path": folder.file("trace.csv", &text)}, "max_tokens": MAX_TOKENS},
        "cost": {"version": 1, "kind": "constant", "ms": 20},
        "scheduler": {"pages": 130, "slots": 4, "step_tokens": 512, "context": 2000, "policy": {"name": "aggressive", "watermark": 1.0}},
        "journal": path,
        "seed": 9,
    });
    let report = report(&value);
    assert!(report.evictions > 0, "a tight pool: {}", brief(&report));

    let mut plans = Vec::new();
    for entry in Reader::open(&path).expect("it was written") {
        if let (_, Record::Schedule(schedule)) = entry.expect("a good journal")
            && schedule.step.is_some()
        {
            plans.push((schedule.now, schedule.digest));
        }
    }
    // Only the requests' own tokens differ, which the digest of a journal without tokens leaves out.
    let config = setup(&value).scheduler;
    let by_hand = drive(Scheduler::new(lightllm_router::SchedulerConfig { seed: 9, ..config }).expect("valid"));
    assert_eq!(plans.len(), by_hand.len());
    assert_eq!(plans, by_hand);
}

/// A clock in milliseconds, two plans at most, and a backend that takes 20 ms for each.
fn drive(mut scheduler: Scheduler) -> Vec<(u64, u64)> {
    let mut plans = Vec::new();
    let mut queue: VecDeque<(u64, StepPlan)> = VecDeque::new();
    let mut arrivals = LENGTHS.iter().enumerate().peekable();
    let mut idle_from = 0;
    for now in (0..60_000_u64).map(|ms| ms * 1_000_000) {
        while queue.front().is_some_and(|(end, _)| *end == now) {
            let (_, plan) = queue.pop_front().expect("just seen");
            scheduler.update(result(&plan), now).expect("the result fits the plan");
        }
        while let Some((number, (_, prompt, _))) = arrivals.next_if(|(_, (ms, ..))| u64::from(*ms) * 1_000_000 == now) {
            let prompt = vec![1000 + number as u32; *prompt as usize];
            let mut request = Request::new(RequestId(number as u64), prompt, MAX_TOKENS);
            request.end_ids = vec![END];
            scheduler.add(request, now).expect("the queue has room");
        }
        while queue.len() < 2 && scheduler.has_work() {
            let Some(plan) = scheduler.schedule(now) else { break };
            plans.push((now, digest(&plan, false)));
            idle_from = idle_from.max(now) + if plan.rows.is_empty() { 0 } else { STEP_NS };
            queue.push_back((idle_from, plan));
        }
        // A plan without rows takes no time, and its room is there at once.
        while queue.front().is_some_and(|(end, _)| *end <= now) {
            let (_, plan) = queue.pop_front().expect("just seen");
            scheduler.update(result(&plan), now).expect("the result fits the plan");
            while queue.len() < 2 && scheduler.has_work() {
                let Some(plan) = scheduler.schedule(now) else { break };
                plans.push((now, digest(&plan, false)));
                idle_from = idle_from.max(now) + if plan.rows.is_empty() { 0 } else { STEP_NS };
                queue.push_back((idle_from, plan));
            }
        }
    }
    assert!(!scheduler.has_work() && arrivals.next().is_none(), "all is done after a minute");
    plans
}

fn result(plan: &StepPlan) -> StepResult {
    let mut rows = Vec::new();
    for (index, row) in plan.rows.iter().enumerate().filter(|(_, row)| row.emits) {
        let (_, prompt, output) = LENGTHS[row.request.0 as usize];
        let generated = row.start + row.tokens - prompt + 1;
        let token = if generated == output { END } else { 1000 + row.request.0 as u32 };
        rows.push(RowResult { row: index as u32, tokens: [token][..].into(), failed: None });
    }
    StepResult { step: plan.step, rows }
}
