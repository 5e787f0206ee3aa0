//! When plans leave.

use lightllm_router::{Request, RequestId, RowResult, Scheduler, SchedulerConfig, StepPlan, StepResult};

const STEP: u64 = 10_000_000;
const LEAD: u64 = 2_500_000;

struct Server {
    scheduler: Scheduler,
    now: u64,
}

impl Server {
    fn new(plan_lead_ns: u64) -> Self {
        let config = SchedulerConfig { plan_lead_ns, slots: 4, ..SchedulerConfig::default() };
        Self { scheduler: Scheduler::new(config).expect("the configuration is valid"), now: 0 }
    }

    fn add(&mut self, id: u64) {
        self.scheduler.add(Request::new(RequestId(id), vec![7; 20], 400), self.now).expect("there is room");
    }

    fn schedule(&mut self) -> StepPlan {
        self.scheduler.schedule(self.now).expect("there is work")
    }

    /// The plan was carried out in 10 ms.
    fn answer(&mut self, plan: &StepPlan) {
        self.now += STEP;
        let emitting = plan.rows.iter().enumerate().filter(|(_, row)| row.emits);
        let rows = emitting.map(|(row, _)| RowResult { row: row as u32, tokens: [3][..].into(), failed: None });
        let result = StepResult { step: plan.step, rows: rows.collect() };
        self.scheduler.update(result, self.now).expect("a good result");
    }

    /// Nanoseconds for which the next plan is put off.
    fn put_off(&self) -> u64 {
        self.scheduler.plan_at(self.now) - self.now
    }

    fn steps(&mut self, count: usize) {
        for _ in 0..count {
            let plan = self.schedule();
            self.answer(&plan);
        }
    }
}

/// One whose steps are known, with a request that has just come to decode.
fn known() -> Server {
    let mut server = Server::new(LEAD);
    server.add(0);
    server.steps(60);
    server.add(1);
    server.steps(1);
    server
}

#[test]
fn a_plan_leaves_shortly_before_the_step_before_it_ends() {
    let mut server = known();
    assert_eq!(server.put_off(), 0, "nothing runs");
    server.schedule();
    let put_off = server.put_off();
    assert!((STEP - LEAD - STEP / 20..=STEP - LEAD + STEP / 100).contains(&put_off), "{put_off}");
    server.now += put_off - 1000;
    assert_eq!(server.put_off(), 1000, "whenever it is asked");
    server.now += STEP;
    assert_eq!(server.put_off(), 0, "it is overdue");
}

#[test]
fn nothing_is_put_off_without_a_lead() {
    let mut server = Server::new(0);
    server.add(0);
    server.steps(60);
    server.add(1);
    server.steps(1);
    server.schedule();
    assert_eq!(server.put_off(), 0);
}

#[test]
fn nothing_is_put_off_before_enough_is_known() {
    let mut server = Server::new(LEAD);
    server.add(0);
    for _ in 0..30 {
        let plan = server.schedule();
        assert_eq!(server.put_off(), 0);
        server.answer(&plan);
    }
}

#[test]
fn nothing_is_put_off_where_nobody_comes() {
    let mut server = known();
    server.steps(40);
    server.schedule();
    assert_eq!(server.put_off(), 0);
    server.add(2);
    assert!(server.put_off() > 0, "somebody came");
}

/// Who asks nevertheless gets a plan, and then there is nothing to put off.
#[test]
fn earlier_is_allowed() {
    let mut server = known();
    let first = server.schedule();
    let second = server.schedule();
    assert_eq!(server.put_off(), 0);
    server.answer(&first);
    assert!(server.put_off() > 0);
    server.answer(&second);
}
