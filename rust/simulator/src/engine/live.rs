//! The requests that have not ended.

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
    /// Its last token is the end token.
    pub ends_by_token: bool,
    pub priority: i32,
    pub tenant: u64,
    pub class: u64,
    /// Times it got a slot.
    pub attached: u32,
    /// Set by its first output.
    pub served: Option<Served>,
}

/// Requests by id. An id is a place and, above 32 bits, how often that place was taken before.
#[derive(Debug, Default)]
pub(super) struct LiveSet {
    places: Vec<Place>,
    free: Vec<u32>,
    /// Members left of each group of more than one, by place.
    groups: Vec<u32>,
    free_groups: Vec<u32>,
}

#[derive(Debug)]
struct Place {
    turn: u32,
    live: Option<Live>,
    /// Index of its group; None for a request that is alone.
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
    /// Adds `n` requests that are alike.
    pub fn insert_all(&mut self, live: &Live, n: u32) -> Vec<RequestId> {
        let group = (n > 1).then(|| self.new_group(n));
        (0..n).map(|_| self.insert(live.clone(), group)).collect()
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
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { turn: 0, live: None, group: None });
            self.places.len() as u32 - 1
        });
        let place = &mut self.places[index as usize];
        place.live = Some(live);
        place.group = group;
        RequestId(u64::from(place.turn) << 32 | u64::from(index))
    }

    /// Takes one out, and says if it was the last of its group.
    pub fn remove(&mut self, id: RequestId) -> (Live, bool) {
        let place = &mut self.places[id.0 as u32 as usize];
        assert_eq!(u64::from(place.turn), id.0 >> 32, "an id is used once");
        let live = place.live.take().expect("a request ends once");
        place.turn = place.turn.wrapping_add(1);
        self.free.push(id.0 as u32);
        let Some(group) = place.group else { return (live, true) };
        let left = &mut self.groups[group as usize];
        *left -= 1;
        if *left == 0 {
            self.free_groups.push(group);
        }
        (live, *left == 0)
    }

    pub fn get_mut(&mut self, id: RequestId) -> &mut Live {
        let place = &mut self.places[id.0 as u32 as usize];
        assert_eq!(u64::from(place.turn), id.0 >> 32, "news are of requests that have not ended");
        place.live.as_mut().expect("news are of requests that have not ended")
    }

    /// What a row that ends before position `end` samples. A plan is made of requests that have not ended.
    pub fn token(&self, id: RequestId, end: u32) -> u32 {
        let live = self.places[id.0 as u32 as usize].live.as_ref().expect("a row is of a live request");
        let outputs = end + 1 - live.prompt_tokens;
        if live.ends_by_token && outputs >= live.output_tokens { END } else { live.token }
    }

    pub fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }
}
