//! The requests that have not ended.

use std::collections::VecDeque;

use lightllm_router::RequestId;

use crate::metrics::{Ended, Served};
use crate::workload::END;

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Live {
    /// Number of the request in the workload.
    pub number: u64,
    pub arrival_ns: u64,
    pub prompt_tokens: u32,
    /// Tokens after which it ends.
    pub output_tokens: u32,
    /// What it generates.
    pub token: u32,
    /// Tokens that it may generate: where it ends by that, its last token is none of the end.
    pub max_tokens: u32,
    pub priority: i32,
    pub tenant: u64,
    pub class: u64,
    /// Its image is not ready.
    pub awaits_image: bool,
    /// Times it got a slot, but for those in which it ran ahead of its image.
    pub attached: u32,
    /// Set by its first output.
    pub served: Option<Served>,
}

/// Requests by id. Ids are counted from 0, so what lives is a window of them.
#[derive(Debug, Default)]
pub(super) struct LiveSet {
    /// Those from the oldest that lives; None for those that have ended.
    window: VecDeque<Option<Member>>,
    /// Id of the first in the window.
    first: u64,
    /// Members left of each group of more than one, by place.
    groups: Vec<u32>,
    free_groups: Vec<u32>,
}

#[derive(Debug)]
struct Member {
    live: Live,
    /// Place of its group; None for a request that is alone.
    group: Option<u32>,
}

impl Live {
    pub fn ended(&self, served: Option<Served>) -> Ended {
        Ended {
            number: self.number,
            arrival_ns: self.arrival_ns,
            prompt_tokens: self.prompt_tokens,
            priority: self.priority,
            tenant: self.tenant,
            class: self.class,
            served,
        }
    }
}

impl LiveSet {
    /// Adds a request, and others that are like it but for their output tokens.
    pub fn insert_all(&mut self, live: &Live, siblings: &[u32]) -> Vec<RequestId> {
        let group = (!siblings.is_empty()).then(|| self.new_group(1 + siblings.len() as u32));
        let others = siblings.iter().map(|output_tokens| Live { output_tokens: *output_tokens, ..live.clone() });
        std::iter::once(live.clone()).chain(others).map(|live| self.insert(live, group)).collect()
    }

    fn new_group(&mut self, n: u32) -> u32 {
        let group = self.free_groups.pop().unwrap_or_else(|| {
            self.groups.push(0);
            self.groups.len() as u32 - 1
        });
        self.groups[group as usize] = n;
        group
    }

    fn insert(&mut self, live: Live, group: Option<u32>) -> RequestId {
        self.window.push_back(Some(Member { live, group }));
        RequestId(self.first + self.window.len() as u64 - 1)
    }

    /// Takes one out, and says if it was the last of its group.
    pub fn remove(&mut self, id: RequestId) -> (Live, bool) {
        let place = &mut self.window[(id.0 - self.first) as usize];
        let Member { live, group } = place.take().expect("a request ends once");
        while let Some(None) = self.window.front() {
            self.window.pop_front();
            self.first += 1;
        }
        let Some(group) = group else { return (live, true) };
        let left = &mut self.groups[group as usize];
        *left -= 1;
        if *left == 0 {
            self.free_groups.push(group);
        }
        (live, *left == 0)
    }

    pub fn get_mut(&mut self, id: RequestId) -> &mut Live {
        let member = self.window[(id.0 - self.first) as usize].as_mut();
        &mut member.expect("news are of requests that have not ended").live
    }

    /// What a row that ends before position `end` samples. A plan is made of requests that have not ended.
    pub fn token(&self, id: RequestId, end: u32) -> u32 {
        let member = self.window[(id.0 - self.first) as usize].as_ref();
        let live = &member.expect("a row is of a request that has not ended").live;
        let outputs = end + 1 - live.prompt_tokens;
        if outputs >= live.output_tokens && outputs < live.max_tokens { END } else { live.token }
    }

    pub fn is_empty(&self) -> bool {
        self.window.is_empty()
    }
}
