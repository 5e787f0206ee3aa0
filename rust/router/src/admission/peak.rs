//! The most that a batch will hold, if it is known how much each request still adds.

/// Requests that run together, each with what it holds and what it still adds, one token a step, before it leaves.
///
/// With requests sorted by what they add, largest first, the most that is ever held is the maximum over i of
/// `rest_i * i + held_1 + .. + held_i` (i from 1): when request i ends, those before it have grown by `rest_i` each,
/// and those after it have left. (The estimate of `LightLLM`'s router.) Sums and maxima from both ends are kept, so
/// that a candidate costs a binary search, and an admitted one a linear pass.
#[derive(Debug, Default)]
pub(crate) struct Peak {
    /// Sorted by `rest`, largest first.
    futures: Vec<Future>,
    /// One for each number of requests taken from the front, from none to all.
    bounds: Vec<Bound>,
}

/// One number, which sorts faster than two: what it adds, complemented to sort largest first, above what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Future(u64);

impl Future {
    fn new(held: u64, rest: u32) -> Self {
        // No KV index can name more.
        let held = u32::try_from(held).unwrap_or(u32::MAX);
        Self(u64::from(!rest) << 32 | u64::from(held))
    }

    fn rest(self) -> u32 {
        !((self.0 >> 32) as u32)
    }

    fn held(self) -> u64 {
        self.0 & u64::from(u32::MAX)
    }
}

/// With `n` requests in front of it.
#[derive(Clone, Copy, Debug, Default)]
struct Bound {
    /// Tokens that the `n` hold.
    held: u64,
    /// Peak over the ends of those `n`.
    before: u64,
    /// Peak over the ends of the others, if one more were in front of them that holds nothing itself.
    after: u64,
}

impl Peak {
    /// Starts anew with these requests: (held, rest).
    pub fn reset(&mut self, requests: impl Iterator<Item = (u64, u32)>) {
        self.futures.clear();
        self.futures.extend(requests.map(|(held, rest)| Future::new(held, rest)));
        self.futures.sort_unstable();
        self.rebuild();
    }

    /// The most that will be held.
    #[cfg(test)]
    pub fn now(&self) -> u64 {
        self.bounds.last().map_or(0, |bound| bound.before)
    }

    /// The most that would be held with one more request.
    pub fn with(&self, held: u64, rest: u32) -> u64 {
        let index = self.place(rest);
        let Some(bound) = self.bounds.get(index) else { return held + u64::from(rest) };
        let own = u64::from(rest) * (index as u64 + 1) + bound.held + held;
        let others = if index < self.futures.len() { bound.after + held } else { 0 };
        own.max(bound.before).max(others)
    }

    /// Steps until `room` is held, with one more request and before that one leaves; None if it never comes to that.
    pub fn reaches(&self, held: u64, rest: u32, room: u64) -> Option<u32> {
        let index = self.place(rest);
        let before = self.bounds.get(index).map_or(0, |bound| bound.held);
        // From the end at which `most` is held by `requests`, each of which has grown by one in every step before.
        let since = |rest: u32, requests: u64, most: u64| {
            (most >= room).then(|| rest - ((most - room) / requests).min(rest.into()) as u32)
        };
        let earlier = self.bounds.get(index..self.futures.len()).unwrap_or_default();
        match earlier.partition_point(|bound| bound.after + held >= room).checked_sub(1) {
            // The first in time of the ends at which it is too much is the last of them in the order kept here.
            Some(last) => {
                let index = index + last;
                let (rest, requests) = (self.futures[index].rest(), index as u64 + 2);
                since(rest, requests, u64::from(rest) * requests + self.bounds[index + 1].held + held)
            }
            None => since(rest, index as u64 + 1, u64::from(rest) * (index as u64 + 1) + before + held),
        }
    }

    /// Inserts all of these, (held, rest), if less than `room` is held at the peak with them; none otherwise.
    pub fn admit(&mut self, requests: impl Iterator<Item = (u64, u32)> + Clone, room: u64) -> bool {
        // The peak grows with each request: one that does not fit ends it.
        for (taken, (held, rest)) in requests.clone().enumerate() {
            if self.with(held, rest) >= room {
                for (held, rest) in requests.take(taken) {
                    self.remove(held, rest);
                }
                return false;
            }
            self.insert(held, rest);
        }
        true
    }

    /// One more request.
    pub fn insert(&mut self, held: u64, rest: u32) {
        let future = Future::new(held, rest);
        let index = self.futures.partition_point(|other| *other < future);
        self.futures.insert(index, future);
        self.rebuild();
    }

    /// One request less, that is there.
    pub fn remove(&mut self, held: u64, rest: u32) {
        let index = self.futures.binary_search(&Future::new(held, rest)).expect("it was inserted");
        self.futures.remove(index);
        self.rebuild();
    }

    fn place(&self, rest: u32) -> usize {
        self.futures.partition_point(|future| future.rest() >= rest)
    }

    fn rebuild(&mut self) {
        let bounds = &mut self.bounds;
        bounds.clear();
        let mut bound = Bound::default();
        bounds.push(bound);
        for (future, number) in self.futures.iter().zip(1..) {
            bound.held += future.held();
            bound.before = bound.before.max(u64::from(future.rest()) * number + bound.held);
            bounds.push(bound);
        }
        let mut after = 0;
        for (index, future) in self.futures.iter().enumerate().rev() {
            after = after.max(u64::from(future.rest()) * (index as u64 + 2) + bounds[index + 1].held);
            bounds[index].after = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use super::*;
    use proptest::prelude::*;

    /// From scratch, by what happens: all grow by a token a step, and leave after their last.
    fn simulated(requests: &[(u64, u32)]) -> u64 {
        let longest = requests.iter().map(|(_, rest)| *rest).max().unwrap_or(0);
        let held_after = |steps: u32| -> u64 {
            let there = requests.iter().filter(|(_, rest)| *rest >= steps);
            there.map(|(held, _)| held + u64::from(steps)).sum()
        };
        (0..=longest).map(held_after).max().unwrap_or(0)
    }

    /// From scratch, by the formula.
    fn naive(requests: &[(u64, u32)]) -> u64 {
        let mut sorted = requests.to_vec();
        sorted.sort_by_key(|(_, rest)| Reverse(*rest));
        let mut held = 0;
        let peaks = sorted.iter().zip(1..).map(|((own, rest), number)| {
            held += own;
            u64::from(*rest) * number + held
        });
        peaks.max().unwrap_or(0)
    }

    /// From scratch, by what happens.
    fn reached(requests: &[(u64, u32)], until: u32, room: u64) -> Option<u32> {
        let held_after = |steps: u32| -> u64 {
            let there = requests.iter().filter(|(_, rest)| *rest >= steps);
            there.map(|(held, _)| held + u64::from(steps)).sum()
        };
        (0..=until).find(|steps| held_after(*steps) >= room)
    }

    fn requests(most: usize) -> impl Strategy<Value = Vec<(u64, u32)>> {
        proptest::collection::vec((0..50_u64, 0..20_u32), 0..most)
    }

    proptest! {
        #[test]
        fn the_formula_is_the_peak_of_what_happens(requests in requests(12)) {
            prop_assert_eq!(naive(&requests), simulated(&requests));
        }

        #[test]
        fn room_is_reached_when_it_happens(requests in requests(12), held in 0..50_u64, rest in 0..20_u32, room in 1..400_u64) {
            let mut peak = Peak::default();
            peak.reset(requests.iter().copied());
            let mut all = requests;
            all.push((held, rest));
            prop_assert_eq!(peak.reaches(held, rest, room), reached(&all, rest, room));
        }

        #[test]
        fn any_sequence_of_changes_equals_the_formula(
            rounds in proptest::collection::vec((requests(12), requests(8), any::<u64>()), 1..6),
        ) {
            let mut peak = Peak::default();
            prop_assert_eq!(peak.now(), 0);
            for (running, candidates, choices) in rounds {
                let mut known = running.clone();
                peak.reset(running.into_iter());
                for (index, (held, rest)) in candidates.into_iter().enumerate() {
                    known.push((held, rest));
                    prop_assert_eq!(peak.with(held, rest), naive(&known));
                    match (choices >> (2 * index)) % 4 {
                        0 => {
                            known.pop();
                        }
                        1 => {
                            peak.insert(held, rest);
                            let (held, rest) = known.swap_remove((choices % known.len() as u64) as usize);
                            peak.remove(held, rest);
                        }
                        _ => peak.insert(held, rest),
                    }
                    prop_assert_eq!(peak.now(), naive(&known));
                }
            }
        }
    }
}
