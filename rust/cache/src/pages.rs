use std::collections::{BTreeMap, BTreeSet};

/// Neighbouring pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Extent {
    /// Number of the first.
    pub first: u32,
    /// How many.
    pub pages: u32,
}

/// Which pages are free.
///
/// Any pages may serve an item, so that free pages are never in the wrong place. An item still gets neighbours where
/// there are some: each further extent costs its readers a mapping.
#[derive(Debug)]
pub struct Pages {
    /// Length of each run of free pages by its first page; no two runs touch.
    runs: BTreeMap<u32, u32>,
    /// The same as (length, first page).
    by_length: BTreeSet<(u32, u32)>,
    free: u32,
    total: u32,
}

impl Pages {
    /// All are free.
    pub fn new(total: u32) -> Self {
        let mut pages = Self { runs: BTreeMap::new(), by_length: BTreeSet::new(), free: total, total };
        pages.insert(0, total);
        pages
    }

    /// Pages that are free.
    pub fn free(&self) -> u32 {
        self.free
    }

    /// Pages there are.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// Takes `count` pages: of the shortest run that has so many, or else of the longest runs. None if so many are not
    /// free.
    pub fn take(&mut self, count: u32) -> Option<Vec<Extent>> {
        if count > self.free {
            return None;
        }
        let mut taken = Vec::new();
        let mut missing = count;
        while missing > 0 {
            let fitting = self.by_length.range((missing, 0)..).next();
            let (length, first) =
                *fitting.or_else(|| self.by_length.last()).expect("so many pages are free, and each is in a run");
            self.remove(first, length);
            let pages = length.min(missing);
            if length > pages {
                self.insert(first + pages, length - pages);
            }
            taken.push(Extent { first, pages });
            missing -= pages;
        }
        self.free -= count;
        Some(taken)
    }

    /// Gives pages back.
    pub fn give_back(&mut self, extents: &[Extent]) {
        for extent in extents {
            self.give_back_run(*extent);
        }
    }

    fn give_back_run(&mut self, Extent { first, pages }: Extent) {
        let (mut begin, mut length) = (first, pages);
        if let Some((&before, &before_length)) = self.runs.range(..first).next_back() {
            assert!(before + before_length <= first, "page {first} is given back twice");
            if before + before_length == first {
                self.remove(before, before_length);
                begin = before;
                length += before_length;
            }
        }
        if let Some((&after, &after_length)) = self.runs.range(first..).next() {
            assert!(after >= first + pages, "page {after} is given back twice");
            if after == first + pages {
                self.remove(after, after_length);
                length += after_length;
            }
        }
        self.insert(begin, length);
        self.free += pages;
    }

    fn insert(&mut self, first: u32, length: u32) {
        self.runs.insert(first, length);
        self.by_length.insert((length, first));
    }

    fn remove(&mut self, first: u32, length: u32) {
        self.runs.remove(&first);
        self.by_length.remove(&(length, first));
    }

    /// Panics unless every page is either free or in one of `held`, and only once.
    pub fn check(&self, held: impl IntoIterator<Item = Extent>) {
        let mut all: Vec<Extent> = self.runs.iter().map(|(&first, &pages)| Extent { first, pages }).collect();
        assert!(all.windows(2).all(|pair| pair[0].first + pair[0].pages < pair[1].first), "two runs touch");
        assert_eq!(all.iter().map(|run| run.pages).sum::<u32>(), self.free, "the count of free pages is wrong");
        let by_length: BTreeSet<(u32, u32)> = all.iter().map(|run| (run.pages, run.first)).collect();
        assert_eq!(by_length, self.by_length, "the two books of runs differ");
        all.extend(held);
        all.sort_unstable();
        let mut next = 0;
        for extent in all {
            assert_eq!(extent.first, next, "a page is lost, or has two owners");
            next = extent.first + extent.pages;
        }
        assert_eq!(next, self.total, "a page is lost");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_are_preferred_and_scattered_pages_serve_too() {
        let mut pages = Pages::new(10);
        let all: Vec<Vec<Extent>> = (0..10).map(|_| pages.take(1).expect("free")).collect();
        assert_eq!(pages.take(1), None);
        for index in [1, 3, 4, 8] {
            pages.give_back(&all[index]);
        }
        assert_eq!(pages.take(5), None, "nothing is taken unless all is");
        assert_eq!(pages.free(), 4);
        assert_eq!(pages.take(2), Some(vec![Extent { first: 3, pages: 2 }]));
        assert_eq!(pages.take(2), Some(vec![Extent { first: 8, pages: 1 }, Extent { first: 1, pages: 1 }]));
    }

    #[test]
    #[should_panic(expected = "given back twice")]
    fn a_page_given_back_twice_is_a_broken_invariant() {
        let mut pages = Pages::new(4);
        let taken = pages.take(2).expect("free");
        pages.give_back(&taken);
        pages.give_back(&taken);
    }

    proptest! {
        #[test]
        fn no_page_is_lost_or_given_twice(steps in prop::collection::vec((any::<bool>(), 0_u32..40), 1..200)) {
            let mut pages = Pages::new(64);
            let mut held: Vec<Vec<Extent>> = Vec::new();
            for (take, number) in steps {
                if take || held.is_empty() {
                    let free = pages.free();
                    match pages.take(number) {
                        Some(taken) => {
                            prop_assert_eq!(taken.iter().map(|extent| extent.pages).sum::<u32>(), number);
                            held.push(taken);
                        }
                        None => prop_assert!(number > free),
                    }
                } else {
                    let extents = held.swap_remove(number as usize % held.len());
                    pages.give_back(&extents);
                }
                pages.check(held.iter().flatten().copied());
            }
            for extents in &held {
                pages.give_back(extents);
            }
            prop_assert_eq!(pages.take(64), Some(vec![Extent { first: 0, pages: 64 }]), "what was free is one again");
        }
    }
}
