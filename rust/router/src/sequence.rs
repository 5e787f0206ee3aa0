//! One request from `add` to its end, whether it waits or runs.

use std::ops::Range;

use crate::error::Result;
use crate::ids::RequestId;
use crate::images::{self, ImageSpan};
use crate::memory::Memory;
use crate::radix::Match;
use crate::request::{Admission, Finish, Request};

/// A request and what has come of it. What each step touches comes first: see [`Running`](crate::running::Running).
#[allow(clippy::struct_excessive_bools, reason = "they are independent of each other")]
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Sequence {
    pub max_tokens: u32,
    /// Rows without a result.
    pub unanswered: u32,
    /// When it was added, as a count: its place in the queue, and what tells it from a later request of the same id.
    pub arrival: u64,
    pub id: RequestId,
    pub prompt_len: usize,
    /// Prompt and outputs.
    pub tokens: Vec<u32>,
    /// Positions whose results have come, whatever became of their pages.
    computed: usize,
    end_ids: EndIds,
    pub tenant: u64,
    min_tokens: u32,
    /// An output has told of the admission.
    pub told_admission: bool,
    /// Its pages are published, for others to share.
    pub publishes: bool,
    pub wants_history: bool,
    pub prompt_logprobs: bool,
    /// It waited for another's prefix, and that was counted.
    pub was_deferred: bool,
    pub priority: i32,
    pub deadline: Option<u64>,
    pub class: u64,
    pub expected_tokens: Option<u32>,
    pub salt: u128,
    /// Requests with the same prompt that wait with this one, to be admitted together.
    pub siblings: Vec<Sibling>,
    /// When it was added, in nanoseconds.
    pub added_ns: u64,
    /// How it first came to run; None until then.
    pub admission: Option<Admission>,
    /// The cached prefix, as of the last look.
    pub found: Option<Match>,
    /// Positions up to which it would be computed if it were admitted now, as of the last look: all, or whole pages
    /// before an image that is not ready. No more than are cached: there is nothing to compute until an image is ready.
    pub reach: usize,
    /// It ran, and gave its pages to another.
    pub resumes: bool,
    pub images: Vec<ImageSpan>,
    /// Since when there is nothing to compute until an image is ready.
    pub waits_since: Option<u64>,
    /// Nanoseconds of such times before.
    pub image_wait_ns: u64,
}

/// Token ids that end an output. They are compared with each token, so few of them are kept in place.
#[derive(Clone, Debug)]
enum EndIds {
    /// The first so many.
    Few(u8, [u32; Self::FEW]),
    Many(Vec<u32>),
}

impl EndIds {
    const FEW: usize = 5;

    fn new(ids: Vec<u32>) -> Self {
        let mut few = [0; Self::FEW];
        match few.get_mut(..ids.len()) {
            Some(place) => {
                place.copy_from_slice(&ids);
                Self::Few(ids.len() as u8, few)
            }
            None => Self::Many(ids),
        }
    }

    fn contains(&self, token: u32) -> bool {
        match self {
            Self::Few(count, ids) => ids[..usize::from(*count)].contains(&token),
            Self::Many(ids) => ids.contains(&token),
        }
    }
}

/// One of several requests with the same prompt (n > 1), until the prompt is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sibling {
    pub id: RequestId,
    pub arrival: u64,
}

impl Sequence {
    /// `arrival` is the request's own; its siblings have those that follow.
    pub fn new(request: Request, arrival: u64, added_ns: u64) -> Self {
        let siblings = request.siblings.into_iter().zip(arrival + 1..);
        Self {
            arrival,
            id: request.id,
            prompt_len: request.prompt.len(),
            tokens: request.prompt,
            max_tokens: request.max_tokens,
            end_ids: EndIds::new(request.end_ids),
            min_tokens: request.min_tokens,
            salt: request.cache_salt,
            wants_history: request.wants_history,
            prompt_logprobs: request.prompt_logprobs,
            priority: request.priority,
            deadline: request.deadline,
            tenant: request.tenant,
            class: request.class,
            expected_tokens: request.expected_tokens,
            siblings: siblings.map(|(id, arrival)| Sibling { id, arrival }).collect(),
            publishes: false,
            added_ns,
            admission: None,
            told_admission: false,
            was_deferred: false,
            computed: 0,
            unanswered: 0,
            found: None,
            reach: 0,
            resumes: false,
            images: request.images,
            waits_since: None,
            image_wait_ns: 0,
        }
    }

    /// The request of a sibling as it was added, without siblings of its own.
    pub fn of_sibling(&self, sibling: Sibling) -> Self {
        Self {
            arrival: sibling.arrival,
            id: sibling.id,
            tokens: self.prompt().to_vec(),
            end_ids: self.end_ids.clone(),
            siblings: Vec::new(),
            images: self.images.clone(),
            reach: self.prompt_len,
            told_admission: false,
            computed: 0,
            unanswered: 0,
            found: None,
            ..*self
        }
    }

    /// This one as a sibling of another.
    pub fn as_sibling(&self) -> Sibling {
        Sibling { id: self.id, arrival: self.arrival }
    }

    pub fn prompt(&self) -> &[u32] {
        &self.tokens[..self.prompt_len]
    }

    /// Requests that it stands for in the queue: itself and its siblings.
    pub fn members(&self) -> usize {
        1 + self.siblings.len()
    }

    /// It ran before: its next admission is not its first.
    pub fn was_admitted(&self) -> bool {
        self.admission.is_some()
    }

    /// Tokens generated so far.
    pub fn outputs(&self) -> u32 {
        (self.tokens.len() - self.prompt_len) as u32
    }

    /// Tokens that a cached prefix may cover. One is left to compute, since a row needs one; and where the prompt's
    /// log-probabilities are wanted, each position is computed once.
    pub fn most_cached(&self) -> usize {
        let limit = self.tokens.len() - 1;
        if self.prompt_logprobs { limit.min(self.computed) } else { limit }
    }

    /// Brings the match with the cached pages up to date, where its pages are shared at all, and how far it could be
    /// computed.
    pub fn look_up(&mut self, memory: &Memory) {
        if self.publishes {
            let most = self.most_cached();
            match &mut self.found {
                Some(found) => memory.refresh(found, self.salt, &self.tokens, most),
                None => self.found = Some(memory.find(self.salt, &self.tokens, most)),
            }
        }
        let cached = self.cached_pages() * memory.page_size();
        self.reach = match images::open_until(&self.images, cached) {
            None => self.tokens.len(),
            // What is computed ahead has to stay while nobody holds it.
            Some(open) if memory.keeps_prefixes() => open / memory.page_size() * memory.page_size(),
            Some(_) => 0,
        };
    }

    /// Pages of the cached prefix, as of the last look.
    pub fn cached_pages(&self) -> usize {
        self.found.map_or(0, |found| found.pages)
    }

    /// If it were admitted now, it would compute a part of its prompt ahead, and then wait for an image.
    pub fn is_ahead(&self) -> bool {
        self.reach < self.tokens.len()
    }

    /// An image is ready. An error if it has no such image.
    pub fn set_ready(&mut self, image: u32) -> Result<()> {
        images::set_ready(&mut self.images, self.id, image)
    }

    /// Images that rows from `start` to `end` read.
    pub fn images_in(&self, start: usize, end: usize) -> Range<u32> {
        let first = self.images.partition_point(|image| image.end() <= start as u64);
        let after = self.images.partition_point(|image| (image.start as usize) < end);
        first as u32..after.max(first) as u32
    }

    /// The admission, for the first output only.
    pub fn tell_admission(&mut self) -> Option<Admission> {
        let first = !std::mem::replace(&mut self.told_admission, true);
        let admission = if first { self.admission } else { None };
        admission.map(|admission| Admission { image_wait_ns: self.image_wait_ns, ..admission })
    }

    /// A good result of a row that ends before position `end`, with the token it emitted. Says if that was the last.
    pub fn advance(&mut self, end: usize, token: Option<u32>) -> Option<Finish> {
        self.computed = self.computed.max(end);
        let Some(token) = token else {
            return (self.max_tokens == 0 && end == self.prompt_len).then_some(Finish::Length);
        };
        let may_end = self.outputs() >= self.min_tokens;
        self.tokens.push(token);
        if may_end && self.end_ids.contains(token) {
            return Some(Finish::Stop);
        }
        (self.outputs() >= self.max_tokens).then_some(Finish::Length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_ids_end_an_output() {
        for count in [0, 1, 5, 6, 50] {
            let ends = EndIds::new((10..10 + count).collect());
            assert!((10..10 + count).all(|id| ends.contains(id)), "{count}");
            assert!(!ends.contains(0) && !ends.contains(9) && !ends.contains(10 + count), "{count}");
        }
    }
}
