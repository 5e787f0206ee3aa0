use lightllm_router::{self as scheduler, Request};
use lightllm_wire::{Add, ClientHello, ClientMessage, Failed, ImageReady, PROTOCOL, RouterHello, decode, encode};

use crate::Result;
use crate::clients::{ClientId, Shared};
use crate::images;
use crate::ranks::Capacity;
use crate::router::Router;
use crate::salt::cache_key;

impl Router<'_> {
    /// A frame of an HTTP process.
    pub fn hear_client(&mut self, identity: &[u8], frame: &[u8]) -> Result<()> {
        let Ok(message) = decode(frame) else {
            self.telemetry.bad_frame();
            return Ok(());
        };
        if let ClientMessage::ClientHello(hello) = message {
            return self.hello(identity, &hello);
        }
        let Some(client) = self.clients.find(identity) else {
            self.telemetry.bad_frame();
            return Ok(());
        };
        match message {
            ClientMessage::ClientHello(_) => unreachable!("it was answered above"),
            ClientMessage::Add(add) => self.add(client, add),
            ClientMessage::ImageReady(ready) => self.image_ready(client, &ready),
            ClientMessage::Abort(abort) => {
                for id in abort.requests {
                    if let Some(request) = self.clients.abort(client, id) {
                        self.abort(request);
                    }
                }
            }
            ClientMessage::Received(received) => {
                for id in self.clients.received(client, received.total) {
                    let message = "the HTTP process fell too far behind with its output";
                    self.tell_failed(client, id, "overrun", message, 1);
                }
            }
        }
        Ok(())
    }

    fn hello(&mut self, identity: &[u8], hello: &ClientHello) -> Result<()> {
        if hello.protocol == PROTOCOL {
            for orphan in self.clients.hello(identity, &hello.name) {
                self.abort(orphan);
            }
        } else {
            self.telemetry.bad_frame(); // it will see from our hello that we do not understand each other
        }
        let Capacity { pages, page_size, slots, vocab, context, images } = self.capacity;
        let answer = encode(&RouterHello { protocol: PROTOCOL, vocab, context, pages, page_size, slots, images });
        self.sockets.requests.send(identity, &answer)?; // not counted: the client counts from here
        Ok(())
    }

    fn add(&mut self, client: ClientId, add: Add) {
        let mut ids: Vec<u64> = vec![add.request];
        ids.extend(add.siblings.iter().map(|sibling| sibling.request));
        if let Err((kind, failed)) = self.try_add(client, add) {
            self.telemetry.rejected(kind);
            for request in ids {
                self.tell(client, &Failed { request, ..failed.clone() });
            }
        }
    }

    /// Queues a request with its siblings. An error is the refusal of all of them.
    fn try_add(&mut self, client: ClientId, add: Add) -> Result<(), Refusal> {
        let refuse = |kind: &'static str, message: String, retry_after: u32| {
            Err((kind, Failed { request: add.request, kind: kind.to_owned(), message, retry_after }))
        };
        if self.clients.overrun(client) {
            return refuse("overrun", "the HTTP process has fallen too far behind with its output".to_owned(), 1);
        }
        let spans = match images::check(&add, &self.capacity) {
            Ok(spans) => spans,
            Err(message) => return refuse("invalid", message, 0),
        };
        let now = self.clock.now();
        let (end_ids, min_tokens) = (add.sampling.end_ids.0.clone(), add.sampling.min_tokens);
        let (wants_history, prompt_logprobs) = (add.sampling.wants_history(), add.sampling.prompt_logprobs >= 0);
        let shared = Shared { sampling: add.sampling, images: add.images, position_offset: add.position_offset };
        let members = match self.clients.add(client, add.request, shared, &add.siblings) {
            Ok(members) => members,
            Err(id) => return refuse("invalid", format!("request id {id} is in use"), 0),
        };
        let request = Request {
            end_ids,
            min_tokens,
            cache_salt: cache_key(&add.cache_salt),
            wants_history,
            prompt_logprobs,
            priority: add.priority,
            deadline: (add.deadline_ms > 0).then(|| now.saturating_add(add.deadline_ms.saturating_mul(1_000_000))),
            tenant: add.tenant,
            class: add.class_label,
            siblings: members[1..].to_vec(),
            images: spans,
            ..Request::new(members[0], add.prompt.0, add.max_tokens)
        };
        self.queue(request, now).map_err(|error| {
            for member in members {
                self.clients.end(member);
            }
            failure(add.request, &error)
        })
    }

    /// An image is there that a request may wait for. One that has ended is nobody's fault: its end may be under way.
    fn image_ready(&mut self, client: ClientId, ready: &ImageReady) {
        let Some(request) = self.clients.find_request(client, ready.request) else { return };
        let now = self.clock.now();
        match self.scheduler.image_ready(request, ready.image, now) {
            Ok(found) => self.journal.record(|recorder| recorder.image_ready(request, ready.image, now, found)),
            Err(error) => {
                self.clients.end(request);
                self.abort(request);
                let (kind, failed) = failure(ready.request, &error);
                self.telemetry.rejected(kind);
                self.tell(client, &failed);
            }
        }
    }

    /// Gives the scheduler a request, and the journal what it said.
    fn queue(&mut self, request: Request, now: u64) -> scheduler::Result<()> {
        let Some(recorder) = self.journal.recorder() else { return self.scheduler.add(request, now) };
        let record = recorder.add(&request, now);
        let answer = self.scheduler.add(request, now);
        let outcome = record.done(&answer);
        self.journal.note(outcome);
        answer
    }
}

/// Why a request is refused, for the metrics and for the client.
pub type Refusal = (&'static str, Failed);

/// What a client is told when the scheduler refuses its request.
pub fn failure(request: u64, error: &scheduler::Error) -> Refusal {
    let (kind, retry_after) = match error {
        scheduler::Error::QueueFull { retry_after_s, .. } => ("queue_full", *retry_after_s as u32),
        scheduler::Error::DeadlineMissed { retry_after_s } => ("deadline", *retry_after_s as u32),
        scheduler::Error::PromptTooLong { .. } | scheduler::Error::ContextExceeded { .. } => ("context_exceeded", 0),
        scheduler::Error::TooLargeForPool { .. } => ("too_large", 0),
        _ => ("invalid", 0),
    };
    (kind, Failed { request, kind: kind.to_owned(), message: error.to_string(), retry_after })
}
