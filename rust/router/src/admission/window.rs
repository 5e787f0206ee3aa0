//! Lengths of the requests that finished last.

use std::collections::VecDeque;

/// The last so many lengths, in order of arrival and sorted.
#[derive(Debug)]
pub(crate) struct Window {
    size: usize,
    arrivals: VecDeque<u32>,
    sorted: Vec<u32>,
}

impl Window {
    /// Of `size` lengths at most, one at least; at the start `prior` times `length`.
    pub fn new(size: usize, prior: usize, length: u32) -> Self {
        let prior = prior.min(size);
        let (mut arrivals, mut sorted) = (VecDeque::with_capacity(size), Vec::with_capacity(size));
        arrivals.resize(prior, length);
        sorted.resize(prior, length);
        Self { size, arrivals, sorted }
    }

    /// One more; the oldest goes if it is full.
    pub fn push(&mut self, length: u32) {
        if self.arrivals.len() == self.size {
            let oldest = self.arrivals.pop_front().expect("its size is not 0");
            let index = self.sorted.partition_point(|other| *other < oldest);
            self.sorted.remove(index);
        }
        self.arrivals.push_back(length);
        let index = self.sorted.partition_point(|other| *other < length);
        self.sorted.insert(index, length);
    }

    /// All, shortest first.
    pub fn sorted(&self) -> &[u32] {
        &self.sorted
    }

    /// Those longer than `length`, shortest first.
    pub fn longer_than(&self, length: u32) -> &[u32] {
        &self.sorted[self.sorted.partition_point(|other| *other <= length)..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_last_ones_sorted(size in 1..8_usize, prior in 0..10_usize, pushed in prop::collection::vec(0..9_u32, 0..30)) {
            let mut window = Window::new(size, prior, 4);
            let mut all = vec![4; prior.min(size)];
            for length in pushed {
                window.push(length);
                all.push(length);
                let mut last = all[all.len().saturating_sub(size)..].to_vec();
                last.sort_unstable();
                prop_assert_eq!(window.sorted(), &last);
                let longer: Vec<u32> = last.into_iter().filter(|other| *other > 4).collect();
                prop_assert_eq!(window.longer_than(4), &longer);
            }
        }
    }
}
