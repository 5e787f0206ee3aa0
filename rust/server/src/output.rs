use std::collections::BTreeMap;

use lightllm_router::{Finish, Output, RequestId};
use lightllm_wire::{
    Admission, FINISH_LENGTH, FINISH_RUNNING, FINISH_STOP, Failed, OutputRow, RowExtra, StepOutput, Words, encode_into,
};

use crate::clients::{ClientId, Clients};
use crate::outbox::Outbox;

/// Writes the outputs of steps for the clients that asked. It keeps its memory: this happens at each step.
#[derive(Default)]
pub struct OutputWriter {
    clients: Vec<ClientOutput>,
}

/// What one client gets out of one step.
struct ClientOutput {
    client: ClientId,
    /// Encoded [`OutputRow`]s, one after the other.
    rows: Vec<u8>,
    count: u32,
    failed: Vec<Failed>,
}

impl OutputWriter {
    /// Puts a step's outputs into the outbox, a frame a client. Requests that ended are forgotten.
    ///
    /// `planned` names the request of each row of the plan; an extra of a row whose request is gone is dropped with it.
    pub fn write(
        &mut self,
        outputs: Vec<Output>,
        extras: Vec<RowExtra>,
        planned: &[RequestId],
        clients: &mut Clients,
        outbox: &mut Outbox,
    ) {
        let mut extra_of: BTreeMap<RequestId, RowExtra> =
            extras.into_iter().filter_map(|extra| Some((*planned.get(extra.row as usize)?, extra))).collect();
        let mut tokens = Words::default(); // one for all rows
        for output in outputs {
            let owner = match output.finish {
                Some(_) => clients.end(output.request).map(|live| (live.client, live.id)),
                None => clients.get(output.request).map(|live| (live.client, live.id)),
            };
            let Some((client, request)) = owner else { continue };
            let finish = match output.finish {
                None => FINISH_RUNNING,
                Some(Finish::Stop) => FINISH_STOP,
                Some(Finish::Length) => FINISH_LENGTH,
                Some(Finish::Failed(message)) => {
                    let failed = Failed { request, kind: "backend".to_owned(), message, retry_after: 0 };
                    self.of(client).failed.push(failed);
                    continue;
                }
            };
            let extra = if extra_of.is_empty() { None } else { extra_of.remove(&output.request) };
            let (logprobs, prompt_start, prompt_logprobs) =
                extra.map_or((None, 0, None), |extra| (extra.logprobs, extra.prompt_start, extra.prompt_logprobs));
            let admission = output.admission.map(|admission| Admission {
                cached_tokens: admission.cached_tokens,
                queue_us: admission.queue_ns / 1000,
                image_wait_us: admission.image_wait_ns / 1000,
            });
            tokens.0.clear();
            tokens.0.extend_from_slice(&output.tokens);
            let row = OutputRow { request, tokens, finish, admission, logprobs, prompt_start, prompt_logprobs };
            self.of(client).push(&row);
            tokens = row.tokens;
        }
        // A chunk in the middle of a prompt emits nothing, but may report the prompt's log-probabilities.
        for (request, extra) in extra_of {
            let (Some(live), Some(prompt_logprobs)) = (clients.get(request), extra.prompt_logprobs) else { continue };
            let row = OutputRow {
                request: live.id,
                tokens: Vec::new().into(),
                finish: FINISH_RUNNING,
                admission: None,
                logprobs: None,
                prompt_start: extra.prompt_start,
                prompt_logprobs: Some(prompt_logprobs),
            };
            self.of(live.client).push(&row);
        }
        self.flush(outbox);
    }

    fn of(&mut self, client: ClientId) -> &mut ClientOutput {
        let index = self.clients.iter().position(|output| output.client == client).unwrap_or_else(|| {
            self.clients.push(ClientOutput { client, rows: Vec::new(), count: 0, failed: Vec::new() });
            self.clients.len() - 1
        });
        &mut self.clients[index]
    }

    fn flush(&mut self, outbox: &mut Outbox) {
        // A client without news may be gone for good.
        self.clients.retain(|output| output.count > 0 || !output.failed.is_empty());
        for output in &mut self.clients {
            if output.count > 0 {
                outbox.push_with(output.client, |frame| StepOutput::frame_of(frame, &output.rows, output.count));
            }
            for failed in output.failed.drain(..) {
                outbox.push(output.client, &failed);
            }
            output.rows.clear();
            output.count = 0;
        }
    }
}

impl ClientOutput {
    fn push(&mut self, row: &OutputRow) {
        encode_into(&mut self.rows, row);
        self.count += 1;
    }
}
