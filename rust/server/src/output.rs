use std::collections::BTreeMap;

use lightllm_router::{Finish, Output, RequestId};
use lightllm_wire::{Admission, FINISH_LENGTH, FINISH_RUNNING, FINISH_STOP, Failed, OutputRow, RowExtra};

use crate::clients::{ClientId, Clients};

/// What one client gets out of one step.
#[derive(Default)]
pub struct ClientOutput {
    pub rows: Vec<OutputRow>,
    pub failed: Vec<Failed>,
}

/// Sorts a step's outputs by client. Requests that ended are forgotten.
///
/// `planned` names the request of each row of the plan; an extra of a row whose request is gone is dropped with it.
pub fn outputs_by_client(
    outputs: Vec<Output>,
    extras: Vec<RowExtra>,
    planned: &[RequestId],
    clients: &mut Clients,
) -> BTreeMap<ClientId, ClientOutput> {
    let mut extra_of: BTreeMap<RequestId, RowExtra> =
        extras.into_iter().filter_map(|extra| Some((*planned.get(extra.row as usize)?, extra))).collect();
    let mut by_client: BTreeMap<ClientId, ClientOutput> = BTreeMap::new();
    for output in outputs {
        let owner = match output.finish {
            Some(_) => clients.end(output.request).map(|live| (live.client, live.id)),
            None => clients.get(output.request).map(|live| (live.client, live.id)),
        };
        let Some((client, id)) = owner else { continue };
        let client = by_client.entry(client).or_default();
        let finish = match output.finish {
            None => FINISH_RUNNING,
            Some(Finish::Stop) => FINISH_STOP,
            Some(Finish::Length) => FINISH_LENGTH,
            Some(Finish::Failed(message)) => {
                client.failed.push(Failed { request: id, kind: "backend".to_owned(), message, retry_after: 0 });
                continue;
            }
        };
        let extra = extra_of.remove(&output.request);
        let (logprobs, prompt_start, prompt_logprobs) =
            extra.map_or((None, 0, None), |extra| (extra.logprobs, extra.prompt_start, extra.prompt_logprobs));
        client.rows.push(OutputRow {
            request: id,
            tokens: output.tokens.into(),
            finish,
            admission: output
                .admission
                .map(|a| Admission { cached_tokens: a.cached_tokens, queue_us: a.queue_ns / 1000 }),
            logprobs,
            prompt_start,
            prompt_logprobs,
        });
    }
    // A chunk in the middle of a prompt emits nothing, but may report the prompt's log-probabilities.
    for (request, extra) in extra_of {
        let (Some(live), Some(prompt_logprobs)) = (clients.get(request), extra.prompt_logprobs) else { continue };
        by_client.entry(live.client).or_default().rows.push(OutputRow {
            request: live.id,
            tokens: Vec::new().into(),
            finish: FINISH_RUNNING,
            admission: None,
            logprobs: None,
            prompt_start: extra.prompt_start,
            prompt_logprobs: Some(prompt_logprobs),
        });
    }
    by_client
}
