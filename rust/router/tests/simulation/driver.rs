//! Drives a scheduler and the backend, and checks all that can be seen from outside after each call.

use std::collections::{BTreeMap, VecDeque};

use lightllm_router::{
    Error, Finish, Output, PageId, Request, RequestId, ScheduleMode, Scheduler, SchedulerConfig, SlotId, StepPlan,
};

use crate::backend::{Backend, Fault, ideal};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Live,
    Finished(Finish),
    /// Aborted, or in a step that failed as a whole.
    Gone,
    /// Refused while it waited.
    Late,
}

/// What is known of a request outside the scheduler.
#[derive(Debug)]
pub struct Track {
    pub request: Request,
    pub outputs: Vec<u32>,
    pub state: State,
    /// Times it was attached: one, and one more after each preemption.
    pub attachments: usize,
    pub told_admission: bool,
    /// Rows that emitted, in vain or not.
    pub emitting_rows: usize,
    /// All requests with the same prompt, itself included.
    pub group: Vec<RequestId>,
    /// Images whose features the backend has; shared by siblings.
    pub ready: Vec<bool>,
    /// Images that rows of its latest attachment may read.
    pub attached_images: std::ops::Range<u32>,
}

impl Track {
    fn new(request: Request, group: Vec<RequestId>) -> Self {
        Self {
            group,
            ready: request.images.iter().map(|image| image.ready).collect(),
            request,
            outputs: Vec::new(),
            state: State::Live,
            attachments: 0,
            told_admission: false,
            emitting_rows: 0,
            attached_images: 0..0,
        }
    }
}

#[derive(Debug)]
pub struct Driver {
    pub scheduler: Scheduler,
    pub backend: Backend,
    pub requests: BTreeMap<RequestId, Track>,
    /// Plans that the backend has not carried out.
    pub plans: VecDeque<StepPlan>,
    /// Slots that are attached once all plans are carried out.
    slots: BTreeMap<SlotId, RequestId>,
    now: u64,
    next_id: u64,
    /// Requests whose deadline had passed when they were added, and that were refused for it.
    came_late: u64,
    /// Groups of rows with pages in common, over all plans.
    pub groups: u64,
    /// Plans that were made while a request could only wait for an image.
    pub parked: u64,
}

impl Driver {
    pub fn new(config: SchedulerConfig) -> Self {
        Self {
            scheduler: Scheduler::new(config).expect("the test's configuration is valid"),
            backend: Backend::new(config.pages, config.page_size),
            requests: BTreeMap::new(),
            plans: VecDeque::new(),
            slots: BTreeMap::new(),
            now: 0,
            next_id: 0,
            came_late: 0,
            groups: 0,
            parked: 0,
        }
    }

    /// Adds a request under the next id, its siblings under those that follow. None if it was refused, as it should
    /// have been.
    pub fn add(&mut self, mut request: Request) -> Option<RequestId> {
        self.now += 1_000_000;
        request.id = RequestId(self.next_id);
        let members = 1 + request.siblings.len() as u64;
        request.siblings = (self.next_id + 1..self.next_id + members).map(RequestId).collect();
        let config = *self.scheduler.config();
        let (prompt, max_tokens) = (request.prompt.len() as u64, request.max_tokens);
        let (total, stats) = (prompt + u64::from(max_tokens), self.scheduler.stats());
        let result = self.scheduler.add(request.clone(), self.now);
        let may_wait = config.queue_requests + config.slots as usize - stats.running;
        let waiting = stats.queued + members as usize;
        let queue_full = waiting > may_wait.max(members as usize) || stats.queued_tokens + prompt > config.queue_tokens;
        let page_size = u64::from(config.page_size);
        let shared = if request.prompt_logprobs { 0 } else { (prompt - 1) / page_size };
        let pages = shared + members * (total.div_ceil(page_size) - shared);
        if let Err(error) = result {
            match error {
                Error::PromptTooLong { .. } => assert!(prompt > u64::from(config.context)),
                Error::ContextExceeded { .. } => assert!(total > u64::from(config.context)),
                Error::TooLargeForPool { needed, pages: total_pages } => {
                    assert_eq!(needed, pages);
                    assert!(needed > u64::from(config.pages) && total_pages == config.pages);
                }
                Error::QueueFull { requests, tokens, retry_after_s } => {
                    assert_eq!((requests, tokens), (stats.queued, stats.queued_tokens));
                    assert!(queue_full && (1..=60).contains(&retry_after_s));
                }
                Error::TooManySiblings { requests, slots } => {
                    assert_eq!((requests as u64, slots), (members, config.slots));
                    assert!(members > u64::from(slots));
                }
                Error::DeadlineMissed { retry_after_s: 1..=60 } => {
                    let passed = request.deadline.is_some_and(|deadline| deadline < self.now);
                    assert!(passed && config.order.refuse_late);
                    self.came_late += members;
                }
                Error::NothingToDo => assert!(max_tokens == 0 && !request.prompt_logprobs),
                other => panic!("{other}"),
            }
            return None;
        }
        assert!(!queue_full && total <= u64::from(config.context) && pages <= u64::from(config.pages));
        let id = request.id;
        self.next_id += members;
        let group: Vec<RequestId> = std::iter::once(id).chain(request.siblings.iter().copied()).collect();
        for id in group.iter().copied() {
            let alone = Request { id, siblings: Vec::new(), ..request.clone() };
            self.requests.insert(id, Track::new(alone, group.clone()));
        }
        Some(id)
    }

    /// Asks for a plan. False if there was none.
    pub fn schedule(&mut self) -> bool {
        self.now += 1_000;
        let may_plan = self.plans.len() < Scheduler::MAX_UNANSWERED;
        let plan = self.scheduler.schedule(self.now);
        self.take_refused();
        let Some(plan) = plan else {
            let ended = self.slots.values().find(|request| self.requests[request].state != State::Live);
            assert!(!may_plan || ended.is_none(), "the slot of {ended:?} is not detached");
            return false;
        };
        assert!(may_plan, "too many plans");
        self.check_plan(&plan);
        self.plans.push_back(plan);
        true
    }

    fn check_plan(&mut self, plan: &StepPlan) {
        let config = *self.scheduler.config();
        for slot in &plan.detach {
            assert!(self.slots.remove(slot).is_some(), "slot {slot} is detached but was not attached");
        }
        for attach in &plan.attach {
            let track = self.requests.get_mut(&attach.request).expect("a known request is attached");
            assert_eq!(attach.prompt_len as usize, track.request.prompt.len());
            let known = [track.request.prompt.as_slice(), &track.outputs].concat();
            assert_eq!(attach.history, track.request.wants_history.then_some(known));
            track.attachments += 1;
            track.attached_images = attach.images.clone();
            let ready = &track.ready[attach.images.start as usize..attach.images.end as usize];
            assert!(ready.iter().all(|ready| *ready), "an image is said to be ready that is not");
            assert!(self.slots.insert(attach.slot, attach.request).is_none(), "slot {} is taken", attach.slot);
            assert!(plan.rows.iter().any(|row| row.slot == attach.slot), "what is attached has a row");
        }
        let stats = self.scheduler.stats();
        assert_eq!(self.slots.len(), stats.running - stats.forking, "attached slots are running requests");
        assert!(stats.running <= config.slots as usize, "the limit on running requests");
        for request in self.slots.values() {
            assert_eq!(self.requests[request].state, State::Live, "{request} has ended, and its slot is detached");
        }
        let tokens: u32 = plan.rows.iter().map(|row| row.tokens).sum();
        assert!(tokens <= config.step_tokens, "the step's budget");
        assert!(plan.rows.iter().is_sorted_by_key(|row| !row.from_last), "decode rows come first");
        self.groups += plan.groups.len() as u64;
        self.parked += u64::from(stats.awaiting_images > 0);
        for group in &plan.groups {
            assert!(group.rows >= config.shared_rows && group.pages * config.page_size >= config.shared_tokens);
        }
        let mixed = plan.rows.iter().any(|row| row.from_last) && plan.rows.iter().any(|row| !row.from_last);
        assert!(!mixed || config.mode == ScheduleMode::Chunked, "a step prefills or decodes");
        for row in &plan.rows {
            assert!(row.tokens > 0, "a row has a token");
            assert!(row.from_last || row.tokens <= config.prefill_chunk, "the chunk's bound");
            let track = self.requests.get_mut(&row.request).expect("a known request has a row");
            track.emitting_rows += usize::from(row.emits);
            let end = u64::from(row.start + row.tokens);
            for (index, image) in track.request.images.iter().enumerate() {
                if image.end() > u64::from(row.start) && u64::from(image.start) < end {
                    assert!(track.ready[index], "a row of {} reads image {index}, which is not ready", row.request);
                    assert!(
                        track.attached_images.contains(&(index as u32)),
                        "the backend was not told of image {index}"
                    );
                }
            }
        }
    }

    /// The backend carries out the oldest plan and answers. False if there is none.
    pub fn answer(&mut self, fault: Fault) -> bool {
        self.now += 20_000_000;
        let Some(plan) = self.plans.pop_front() else { return false };
        let requests = &self.requests;
        let result = self.backend.execute(&plan, fault, |request| requests[&request].request.cache_salt);
        if fault.step {
            for request in self.scheduler.fail_step(plan.step) {
                assert!(plan.rows.iter().any(|row| row.request == request), "a request of the step");
                self.track(request).state = State::Gone;
            }
            for row in &plan.rows {
                assert!(!self.scheduler.contains(row.request), "all requests of the step have ended");
            }
            return true;
        }
        for output in self.scheduler.update(result, self.now).expect("the result fits the plan") {
            self.take(&plan, output, fault);
        }
        true
    }

    fn track(&mut self, request: RequestId) -> &mut Track {
        let track = self.requests.get_mut(&request).expect("a known request has an output");
        assert_eq!(track.state, State::Live, "{request} has ended");
        track
    }

    fn take(&mut self, plan: &StepPlan, output: Output, fault: Fault) {
        let prompt_len = self.requests[&output.request].request.prompt.len();
        let track = self.track(output.request);
        assert_eq!(output.admission.is_some(), !track.told_admission, "the first output tells of the admission");
        if let Some(admission) = output.admission {
            track.told_admission = true;
            assert!((admission.cached_tokens as usize) < prompt_len, "one token is computed at least");
            assert!(!track.request.prompt_logprobs || admission.cached_tokens == 0, "all of the prompt is computed");
            let waits = track.request.images.iter().any(|image| !image.ready);
            assert!(waits || admission.image_wait_ns == 0, "nothing waits for images that are ready");
        }
        track.outputs.extend(&output.tokens);
        match output.finish {
            None => assert_eq!(output.tokens.len(), 1),
            Some(Finish::Failed(reason)) => {
                let row = fault.row.expect("a row was made to fail");
                assert_eq!(plan.rows[row].request, output.request);
                assert_eq!(reason, format!("row {row} is not finite"));
                track.state = State::Finished(Finish::Failed(reason));
            }
            Some(finish) => track.state = State::Finished(finish),
        }
    }

    /// The features of an image are there: each choice of the prompt is told. False if all of them were before.
    pub fn image_ready(&mut self, request: RequestId, image: usize) -> bool {
        self.now += 500;
        let arrivals = self.requests[&request].group.clone();
        let mut told = false;
        for id in arrivals {
            let track = self.requests.get_mut(&id).expect("a known request");
            told |= !std::mem::replace(&mut track.ready[image], true);
            let live = track.state == State::Live;
            assert_eq!(self.scheduler.image_ready(id, image as u32, self.now), Ok(live));
        }
        told
    }

    /// The images of live requests that are not ready.
    pub fn missing_images(&self) -> Vec<(RequestId, usize)> {
        let live = self.requests.iter().filter(|(_, track)| track.state == State::Live);
        let missing = live.flat_map(|(id, track)| {
            let images = track.ready.iter().enumerate().filter(|(_, ready)| !**ready);
            images.map(|(index, _)| (*id, index))
        });
        missing.collect()
    }

    /// Aborts a request in whatever state it is.
    pub fn abort(&mut self, request: RequestId) {
        let track = self.requests.get_mut(&request).expect("a known request is aborted");
        assert_eq!(self.scheduler.abort(request), track.state == State::Live);
        assert!(!self.scheduler.contains(request));
        if track.state == State::Live {
            track.state = State::Gone;
        }
    }

    /// Takes those that were given up while they waited.
    pub fn take_refused(&mut self) {
        for (request, error) in self.scheduler.take_refused() {
            assert!(matches!(error, Error::DeadlineMissed { retry_after_s: 1..=60 }), "{error}");
            assert!(!self.scheduler.contains(request));
            self.track(request).state = State::Late;
        }
    }

    /// What holds after any call.
    pub fn check(&self) {
        self.scheduler.check_invariants();
        assert_eq!(self.scheduler.unanswered(), self.plans.len());
        let stats = self.scheduler.stats();
        let live = self.requests.values().filter(|track| track.state == State::Live).count();
        assert_eq!(live, stats.running + stats.queued, "every live request is somewhere");
        assert!(stats.awaiting_images <= stats.queued, "who waits for an image is in the queue");
        assert_eq!(stats.total_pages, stats.free_pages + stats.cached_pages + stats.private_pages);
    }

    /// Runs until all is done, and checks that nothing is lost: no text, no page, no slot.
    pub fn finish(&mut self, depth: usize) {
        let mut rounds = 0;
        while self.scheduler.has_work() || !self.plans.is_empty() || self.scheduler.stats().awaiting_images > 0 {
            while self.plans.len() < depth && self.schedule() {}
            let answered = self.answer(Fault::default());
            assert!(answered || !self.scheduler.has_work(), "there is work, but no plan");
            self.check();
            if let Some((request, image)) = self.missing_images().first().filter(|_| !answered || rounds % 3 == 0) {
                self.image_ready(*request, *image);
                self.check();
            }
            rounds += 1;
            assert!(rounds < 20_000, "it does not come to an end: {:?}", self.scheduler.stats());
        }
        for (id, track) in &self.requests {
            self.check_text(*id, track);
        }
        assert_eq!(self.backend.attached(), 0, "all slots are detached");
        let stats = self.scheduler.stats();
        assert_eq!((stats.running, stats.queued, stats.queued_tokens), (0, 0, 0));
        assert_eq!((stats.private_pages, stats.evictable_pages), (0, stats.cached_pages), "nobody holds a page");
        assert_eq!(self.scheduler.clear_cache(), stats.cached_pages);
        assert_eq!(self.scheduler.stats().free_pages, stats.total_pages, "no page leaked");
        self.check_totals();
        self.check();
    }

    fn check_text(&self, id: RequestId, track: &Track) {
        let expected = ideal(&track.request);
        match &track.state {
            State::Live => panic!("request {id} has not ended"),
            State::Gone | State::Late | State::Finished(Finish::Failed(_)) => {
                assert!(expected.starts_with(&track.outputs), "the text of {id} until it broke off");
                return;
            }
            State::Finished(finish) => {
                assert_eq!(track.outputs, expected, "the text of {id}");
                let request = &track.request;
                let last_may_end = track.outputs.len() > request.min_tokens as usize;
                let ended = last_may_end && track.outputs.last().is_some_and(|last| request.end_ids.contains(last));
                assert_eq!(*finish, if ended { Finish::Stop } else { Finish::Length });
                if *finish == Finish::Length {
                    assert_eq!(track.emitting_rows, track.outputs.len(), "an end by length costs no row");
                }
            }
        }
        if track.request.prompt_logprobs {
            let computed = &self.backend.computed[&id];
            let missing = (0..track.request.prompt.len() as u32).find(|position| !computed.contains(position));
            assert_eq!(missing, None, "a prompt position of {id} was never computed");
        }
    }

    fn check_totals(&self) {
        let totals = self.scheduler.stats().totals;
        let count =
            |wanted: fn(&State) -> bool| self.requests.values().filter(|track| wanted(&track.state)).count() as u64;
        assert_eq!(totals.finished_stop, count(|state| *state == State::Finished(Finish::Stop)));
        assert_eq!(totals.finished_length, count(|state| *state == State::Finished(Finish::Length)));
        let failed = count(|state| matches!(state, State::Finished(Finish::Failed(_))));
        assert_eq!(totals.finished_failed + totals.aborted, failed + count(|state| *state == State::Gone));
        assert_eq!(totals.refused_late, self.came_late + count(|state| *state == State::Late));
        let tokens: usize = self.requests.values().map(|track| track.outputs.len()).sum();
        assert_eq!(totals.generated_tokens, tokens as u64);
    }

    /// Requests that have a slot, as of the latest plan.
    pub fn attached(&self) -> Vec<RequestId> {
        self.slots.values().copied().collect()
    }

    /// Pages of all rows of the oldest plan without a result.
    pub fn pages_of_oldest_plan(&self) -> Vec<PageId> {
        self.plans[0].rows.iter().flat_map(|row| row.new_pages.iter().copied()).collect()
    }
}
